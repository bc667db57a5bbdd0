"""Classes that describe answers, of every library that users have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime  # noqa: TC003 - pydantic reads the annotations
from enum import StrEnum
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from pydantic import BaseModel, ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass


class Mood(StrEnum):
    GOOD = "good"
    BAD = "bad"


class Address(BaseModel):
    zip: str = Field(pattern=r"^\d{5}$", description="Five digits")


class Review(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sentiment: Literal["positive", "mixed", "negative"]
    topics: list[str] = Field(max_length=5)
    contact: bool
    mood: Mood | None = None
    score: int = Field(gt=0, le=10)
    ratio: float = Field(ge=0, lt=1)
    when: date | None
    at: datetime
    address: Address = Field(description="Where")
    other: int | str | None = 3
    kind: Literal[1]
    pair: tuple[int, int]
    tags: set[str]


class Node(BaseModel):
    name: str
    children: list[Node] = []


class Endless(BaseModel):
    name: str
    child: Endless


class Counts(BaseModel):
    counts: dict[str, int]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool


class Pet(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


@pydantic_dataclass
class Checked:
    number: int


@dataclass
class Plain:
    number: int
    text: str | None = None


class Typed(TypedDict):
    plain: list[Plain]


class Struct(msgspec.Struct):
    number: Annotated[int, msgspec.Meta(ge=1)]


class Inside:
    class Model(BaseModel):
        x: int


class Anything(BaseModel):
    value: Any


PETS = list[Cat | Dog]
PLAINS = list[Plain]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
NUMBER = 5
