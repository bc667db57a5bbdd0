"""Rows of Python values, written down as JSON lines with the type that each column has."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Mapping
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any

import msgspec

from gemini_batch.errors import UsageError
from gemini_batch.stopping import check
from gemini_batch.tables.sources.csv_text import check_names

if TYPE_CHECKING:
    from collections.abc import Iterable

_INT64 = 2**63
#: Integers up to here are the same as doubles.
_EXACT = 2**53
_DIGITS = 38


class Spool:
    """Takes rows one by one, and says at the end what type each column has (a type of duckdb).

    Values that no column of one type can hold unchanged make the column text; lists, objects and mixtures with them
    make it JSON.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name = file, name
        self.rows = 0
        self._kinds: dict[str, set[str]] = {}
        self._digits: dict[str, list[int]] = {}

    def add(self, row: object) -> None:
        """Write one row: a mapping, or an object with fields. Raises UsageError for anything else."""
        check()
        self.rows += 1
        written: dict[str, object] = {}
        for name, value in _fields(row, self._name, self.rows).items():
            kinds = self._kinds.setdefault(name, set())
            if value is None:
                continue
            kind, kept = self._kept(name, value)
            kinds.add(kind)
            written[name] = kept
        try:
            self._file.write(msgspec.json.encode(written, enc_hook=_as_json) + b"\n")
        except (UnicodeEncodeError, ValueError, TypeError, RecursionError) as error:
            raise self._cannot(f"row {self.rows}: {error}") from error

    def columns(self) -> dict[str, str]:
        """The columns in order of appearance, with their types. Raises UsageError for names that are not distinct."""
        check_names(list(self._kinds), self._name)
        return {name: self._type(name, kinds) for name, kinds in self._kinds.items()}

    def _type(self, name: str, kinds: set[str]) -> str:
        if "wide" in kinds and "float" not in kinds:
            kinds = kinds - {"wide"} | {"integer"}
        match sorted(kinds):
            case ["integer"]:
                return "BIGINT"
            case ["integer", "long"] | ["long"]:
                return f"DECIMAL({_DIGITS},0)"
            case ["float"] | ["float", "integer"]:
                return "DOUBLE"
            case ["decimal"] | ["decimal", "integer"] | ["decimal", "long"] | ["decimal", "integer", "long"]:
                whole, fraction = self._digits.get(name, [0, 0])
                whole = _DIGITS if "long" in kinds else max(whole, 19 if "integer" in kinds else 0)
                return f"DECIMAL({_DIGITS},{fraction})" if whole + fraction <= _DIGITS else "VARCHAR"
            case [("BOOLEAN" | "DATE" | "TIMESTAMP" | "TIMESTAMPTZ" | "TIME" | "UUID" | "BLOB" | "JSON") as only]:
                return only
            case _:
                return "JSON" if "JSON" in kinds else "VARCHAR"

    def _kept(self, name: str, value: object) -> tuple[str, object]:  # noqa: C901, PLR0911, PLR0912 - a table
        match value:
            case enum.Enum():
                return self._kept(name, value.value)
            case bool():
                return "BOOLEAN", value
            case int():
                if -_INT64 <= value < _INT64:
                    # What a double cannot hold: with fractions in the column, before or after it, only text keeps both.
                    return ("integer" if abs(value) <= _EXACT else "wide"), value
                return ("long" if abs(value) < 10**_DIGITS else "text"), str(value)
            case float():
                return "float", value if abs(value) < float("inf") else str(value)
            case str():
                return "text", str(value)
            case decimal.Decimal():
                return self._decimal(name, value)
            case dt.datetime():
                return ("TIMESTAMPTZ" if value.tzinfo else "TIMESTAMP"), value.isoformat(" ")
            case dt.date():
                return "DATE", value.isoformat()
            case dt.time():
                return ("text" if value.tzinfo else "TIME"), value.isoformat()
            case dt.timedelta() | PurePath():
                return "text", str(value)
            case uuid.UUID():
                return "UUID", str(value)
            case bytes() | bytearray() | memoryview():
                return "BLOB", bytes(value).hex()
            case _ if callable(plain := getattr(value, "item", None)) and not hasattr(value, "__len__"):
                return self._kept(name, plain())  # a scalar of numpy
            case _:
                return "JSON", value

    def _decimal(self, name: str, value: decimal.Decimal) -> tuple[str, object]:
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int):  # NaN and Infinity
            return "text", str(value)
        digits = len(value.as_tuple().digits)
        fraction = max(0, -exponent)
        whole = max(1, digits + exponent)
        kept = self._digits.setdefault(name, [0, 0])
        kept[0], kept[1] = max(kept[0], whole), max(kept[1], fraction)
        return "decimal", format(value, "f")

    def _cannot(self, why: str) -> UsageError:
        return UsageError(
            f"The rows cannot be written down: {why}.",
            file=self._name,
            code="bad_row",
            next="Use text, numbers, dates, lists and objects as values.",
        )


def _fields(row: object, name: str, number: int) -> Mapping[str, object]:
    found: object = row
    if isinstance(row, msgspec.Struct):
        found = msgspec.structs.asdict(row)
    elif dataclasses.is_dataclass(row) and not isinstance(row, type):
        found = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    elif callable(dump := getattr(row, "model_dump", None)):
        found = dump()
    elif callable(plain := getattr(row, "_asdict", None)):
        found = plain()
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        raise UsageError(
            f"Row {number} has the type {type(row).__name__}; a row is a mapping from column names to values, or an "
            "object with fields.",
            file=name,
            code="bad_row",
            next="Give dicts, dataclasses or pydantic objects, or a data frame.",
        )
    return found


def _as_json(value: Any) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if callable(dump := getattr(value, "model_dump", None)):
        return dump()
    if isinstance(value, PurePath):
        return str(value)
    if callable(listed := getattr(value, "tolist", None)):  # arrays and scalars of numpy
        return listed()
    raise TypeError(f"{type(value).__name__} is not a value of a table")


def spool(rows: Iterable[object], file: IO[bytes], name: str) -> dict[str, str]:
    """Write all rows; returns the columns with their types. Raises UsageError."""
    made = Spool(file, name)
    for row in rows:
        made.add(row)
    return made.columns()
