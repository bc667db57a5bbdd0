#!/usr/bin/env python3
"""Rows in, checked objects out: python pydantic_reviews.py. Needs pydantic and gemini-batch[tables]."""

from typing import Literal

import pydantic

import gemini_batch


class Review(pydantic.BaseModel):
    """What is to be known of a review."""

    sentiment: Literal["positive", "mixed", "negative"]
    topics: list[str]
    wants_contact: bool


if __name__ == "__main__":  # --schema pydantic_reviews:Review imports this file
    rows = [
        {"id": 101, "review": "Bright, light, lasts all night."},
        {"id": 102, "review": None},
        {"id": 103, "review": "Broke on the second day. Please call me."},
    ]
    found = gemini_batch.run(
        rows, prompt="Classify this review: {{ review }}", schema=Review, key="id", output="reviews.csv"
    )
    for row in found.rows():
        print(row.key, row.verdict, row.value.sentiment if row.value else row.problem)
