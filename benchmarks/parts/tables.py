"""3. Tables in and out: requests made of rows, and answers joined to rows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.lines import MEGABYTE, Goal, compared
from benchmarks.measure import alternating

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.lines import Line
    from benchmarks.measure import Ended, Place
    from benchmarks.sizes import Sizes

_MAKING, _JOINING = Goal(ratio=3.0, memory=800 * MEGABYTE), Goal(ratio=2.0, memory=400 * MEGABYTE)


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """CSV and Parquet, both ways."""
    yield from _making(place, sizes)
    yield from _joining(place, sizes)


def _making(place: Place, sizes: Sizes) -> Iterator[Line]:
    rows = sizes.table_rows
    for ending, kind in (("csv", "CSV"), ("parquet", "Parquet")):
        table, output = place.folder / f"made.{ending}", place.folder / "requests.jsonl"
        _step(place, rows, "table", table, rows)
        steps: dict[str, list[Path | str]] = {
            "id": ["make", table, output, "id"],
            "derived": ["make", table, output, "derived"],
            "jinja2": ["jinja2", table, output, "id"],
            "duckdb": ["duckdb_make", table, output],
            "read": ["read", table],
        }
        taken = _alternating(place, rows, steps, sizes.few)
        name = f"make {rows:,} requests of {kind}"
        loop = f"{'csv' if ending == 'csv' else 'pyarrow'}, jinja2, json.dumps"
        yield compared(name, taken["id"], loop, taken["jinja2"], work=rows, goal=_MAKING)
        yield compared(f"{name}, derived keys", taken["derived"], loop, taken["jinja2"], work=rows, goal=_MAKING)
        yield compared(name, taken["id"], "duckdb alone, without checks", taken["duckdb"], work=rows)
        yield compared(name, taken["id"], "duckdb reading alone", taken["read"], work=rows)
        for file in (table, output):
            file.unlink()


def _joining(place: Place, sizes: Sizes) -> Iterator[Line]:
    rows, table, answers = sizes.table_rows, place.folder / "join.parquet", place.folder / "join.jsonl"
    _step(place, rows, "table", table, rows)
    _step(place, rows, "answers", answers, rows)
    for ending, kind in (("parquet", "Parquet"), ("csv", "CSV")):
        steps: dict[str, list[Path | str]] = {
            step: [step, table, answers, place.folder / f"{step}-out.{ending}"] for step in _JOINS
        }
        taken = _alternating(place, rows, steps, sizes.few)
        name = f"join {rows:,} answers, to {kind}"
        yield compared(name, taken["join"], "pyarrow loop", taken["pyarrow"], work=rows, goal=_JOINING)
        yield compared(name, taken["join"], "duckdb alone, without checks", taken["duckdb_join"], work=rows)
    for file in (table, answers):
        file.unlink()


_JOINS = ("join", "pyarrow", "duckdb_join")


def _alternating(
    place: Place, rows: int, steps: Mapping[str, Sequence[Path | str]], rounds: int
) -> dict[str, list[Ended]]:
    return alternating({name: partial(_step, place, rows, *step) for name, step in steps.items()}, rounds)


def _step(place: Place, rows: int, step: Path | str, *values: Path | int | str) -> Ended:
    """Raises RuntimeError where it has another number of rows."""
    ended = place.script("table_steps", step, *values)
    if int(ended.stdout) != rows:
        raise RuntimeError(f"{step} has {ended.stdout} rows instead of {rows:,}.")
    return ended
