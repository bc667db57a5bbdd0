"""Answers as instances of a class: what is wrong with one is one sentence."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

from gemini_batch.answers.typed import row_of


class Item(pydantic.BaseModel):
    price: Decimal


class Basket(pydantic.BaseModel):
    items: list[Item]
    total: Decimal = Decimal(0)

    @pydantic.model_validator(mode="after")
    def some(self) -> Basket:
        if not self.items:
            raise ValueError("it is empty")
        return self


@dataclasses.dataclass
class Point:
    x: int


class Place(TypedDict):
    x: int


class Spot(msgspec.Struct):
    x: int


def line(answer: Any) -> dict[str, Any]:
    text = json.dumps(answer)
    return {"key": "a", "verdict": "succeeded", "response": {"text": text, "parsed": answer}, "attempt": 1}


@pytest.mark.parametrize(
    ("model", "answer", "problem"),
    [
        (Basket, {"items": [{"price": "1.10"}, {"price": "a\nb"}]}, "items[1].price: Input should be a valid decimal"),
        (Basket, {"items": [{"price": "x"}], "total": "y"}, "valid decimal (and 1 more)"),
        (Basket, {"items": []}, "Basket: Value error, it is empty"),
        (list[Item], [{"price": "x"}], "[0].price: "),
        (Point, {"x": "y"}, "Point: "),
        (Place, {"x": "y"}, "Place: "),
        (Spot, {"x": "y"}, "Spot: "),
    ],
    ids=str,
)
def test_why_an_answer_does_not_fit_is_one_line(model: Any, answer: Any, problem: str) -> None:
    row = row_of(line(answer), model)

    assert (row.verdict, row.value) == ("invalid", None)
    assert row.problem is not None
    assert problem in row.problem
    assert row.problem.startswith("The answer does not fit ")
    assert "\n" not in row.problem
    assert "http" not in row.problem


def test_an_answer_that_fits_is_an_instance() -> None:
    row = row_of(line({"items": [{"price": "1.10"}]}), Basket)

    assert (row.verdict, row.problem) == ("succeeded", None)
    assert row.value == Basket(items=[Item(price=Decimal("1.10"))])
