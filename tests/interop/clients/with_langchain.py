"""langchain-google-genai: an answer to each row, whole and as a stream, a structured one, embeddings. No batches."""

import json
import os
import sys

from langchain_google_genai import (  # type: ignore[import-not-found, unused-ignore]
    ChatGoogleGenerativeAI,
    GoogleGenerativeAIEmbeddings,
)
from pydantic import BaseModel  # type: ignore[import-not-found, unused-ignore]

BASE = os.environ["GOOGLE_GEMINI_BASE_URL"]


class Answer(BaseModel):
    text: str
    score: int


def main() -> None:
    rows = json.load(sys.stdin)
    model = ChatGoogleGenerativeAI(model="gemini-3.8-flash", base_url=BASE)
    answers = [one.text for one in model.batch([row["text"] for row in rows])]
    for row, answer in zip(rows, answers, strict=True):
        assert "".join(chunk.text for chunk in model.stream(row["text"])) == answer
    structured = model.with_structured_output(Answer, method="json_schema").invoke("Say hello.")
    assert isinstance(structured, Answer), structured
    embed = GoogleGenerativeAIEmbeddings(model="models/gemini-embedding-001", base_url=BASE)
    assert len(embed.embed_query("One.")) == 3072
    assert model.get_num_tokens("One, two, three.") > 0
    json.dump({row["key"]: answer for row, answer in zip(rows, answers, strict=True)}, sys.stdout)


main()
