"""langasync: a LangChain chain over three inputs as one batch, by its own HTTP client (inline)."""

import asyncio
import json
import os
import sys

os.environ["GOOGLE_BASE_URL"] = os.environ["GOOGLE_GEMINI_BASE_URL"] + "/v1beta"  # read when it is imported

from langasync import batch_chain  # type: ignore[import-not-found]
from langchain_core.output_parsers import StrOutputParser  # type: ignore[import-not-found]
from langchain_core.prompts import ChatPromptTemplate  # type: ignore[import-not-found]
from langchain_google_genai import ChatGoogleGenerativeAI  # type: ignore[import-not-found]


async def main() -> None:
    rows = json.load(sys.stdin)
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{text}")])
    chain = prompt | ChatGoogleGenerativeAI(model="gemini-3.8-flash") | StrOutputParser()
    job = await batch_chain(chain).submit([{"text": row["text"]} for row in rows])
    while not (found := await job.get_results()).results:
        await asyncio.sleep(0.5)
    answers = [str(one) for one in found.results]
    json.dump({row["key"]: answer for row, answer in zip(rows, answers, strict=True)}, sys.stdout)


asyncio.run(main())
