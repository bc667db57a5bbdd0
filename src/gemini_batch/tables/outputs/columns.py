"""The columns that a run adds to a table, known before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gemini_batch.errors import UsageError
from gemini_batch.tables.outputs.kinds import BIGINT, DOUBLE, FLOAT, VARCHAR, Kind, list_of
from gemini_batch.tables.outputs.shapes import properties

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Column:
    """A new column: its name in the table, its type, and what it holds.

    ``fact`` names what fills it: ``text``, ``embedding``, ``media``, ``verdict``, ``problem``, a detail; or, if
    ``is_property``, a property of the answer.
    """

    name: str
    kind: Kind
    fact: str
    is_property: bool = False


#: The first column of a table that has no source: the keys of the requests.
KEY = Column("key", VARCHAR, "key")

#: What ``--details`` adds to each row of a table; in result lines, all but the attempt, which each line has.
DETAILS: tuple[tuple[str, Kind], ...] = (
    ("tokens_input", BIGINT),
    ("tokens_output", BIGINT),
    ("tokens_thoughts", BIGINT),
    ("usd", DOUBLE),
    ("finish_reason", VARCHAR),
    ("model", VARCHAR),
    ("attempt", BIGINT),
)


def answer_columns(
    schema: Mapping[str, Any] | None,
    *,
    method: Literal["generate", "embed"],
    media: bool = False,
    details: bool = False,
    prefix: str | None = None,
    taken: Sequence[str] = (),
    dimensions: int | None = None,
) -> tuple[Column, ...]:
    """The new columns in their order.

    First what was asked for: one column for each property of ``schema`` (a schema of an object), else ``text``;
    ``embedding`` for embeddings, of a fixed length if ``dimensions`` is given; with ``media``, the paths of pictures
    and sound. Then ``verdict`` and ``problem``; with ``details``, tokens, usd, finish reason, model and attempt.
    ``prefix`` precedes every name (``NAME_text``). ``taken``: the columns of the source.

    Raises UsageError ``column_collision`` if two columns would have the same name; upper and lower case are the same.
    """
    fields = properties(schema) if method == "generate" else None
    if method == "embed":
        found = [Column("embedding", list_of(FLOAT, dimensions), "embedding")]
    elif fields is not None:
        found = [Column(name, kind, name, is_property=True) for name, kind in fields]
    else:
        found = [Column("text", VARCHAR, "text")]
    if media:
        found.append(Column("media", list_of(VARCHAR), "media"))
    added = (("verdict", VARCHAR), ("problem", VARCHAR), *(DETAILS if details else ()))
    found.extend(Column(name, kind, name) for name, kind in added)
    if prefix:
        found = [Column(f"{prefix}_{one.name}", one.kind, one.fact, one.is_property) for one in found]
    _check(found, taken, prefix)
    return tuple(found)


def _check(columns: Sequence[Column], taken: Sequence[str], prefix: str | None) -> None:
    new: dict[str, Column] = {}
    for column in columns:
        other = new.setdefault(column.name.casefold(), column)
        if other is not column:
            raise _collision(
                f"The schema has the properties {other.fact!r} and {column.fact!r}, which differ in case only."
                if column.is_property
                else f"The schema has a property {other.fact!r}, and a column of this name is added to each table.",
                "Rename the property in the schema.",
            )
        if not column.fact:
            raise _collision("The schema has a property without a name.", "Name the property in the schema.")
    theirs = [name for name in taken if name.casefold() in new]
    if theirs:
        names = ", ".join(repr(name) for name in theirs)
        several = len(theirs) > 1
        raise _collision(
            f"The table already has {'columns' if several else 'a column'} {names}, and the answers would add "
            f"{'columns of these names' if several else 'one of this name'}.",
            f"Choose {'another' if prefix else 'a'} prefix for the new columns with --as: --as answer adds "
            f"answer_{new[theirs[0].casefold()].fact}.",
        )


def _collision(message: str, following: str) -> UsageError:
    return UsageError(message, field="--as", code="column_collision", next=following)
