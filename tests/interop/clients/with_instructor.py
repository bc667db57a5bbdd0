"""instructor: each row answered as a class, by its Gemini provider. Its batches know other services only."""

import json
import sys

import instructor  # type: ignore[import-not-found]
from pydantic import BaseModel  # type: ignore[import-not-found, unused-ignore]


class Answer(BaseModel):
    text: str
    score: int


def main() -> None:
    rows = json.load(sys.stdin)
    client = instructor.from_provider("google/gemini-3.8-flash")
    answers = {
        row["key"]: client.create(response_model=Answer, messages=[{"role": "user", "content": row["text"]}])
        for row in rows
    }
    assert all(isinstance(answer, Answer) for answer in answers.values())
    json.dump({key: answer.text for key, answer in answers.items()}, sys.stdout)


main()
