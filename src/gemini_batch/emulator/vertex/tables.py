"""A stand-in for BigQuery: datasets, tables, rows in and rows out. It runs no query, and keeps no history.

It is here so that a batch job can read a table and write one. A table's rows are lines of JSON in one blob, which only
grows; the database says how many bytes of it count.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gemini_batch import jsonl
from gemini_batch.emulator.state.clock import SECOND
from gemini_batch.emulator.state.files import new_id
from gemini_batch.emulator.vertex.storage.failures import CloudFailure

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from gemini_batch.emulator.state.clock import Clock
    from gemini_batch.emulator.state.store import Store

Kind = Literal["STRING", "JSON", "TIMESTAMP"]


class Place(NamedTuple):
    """A table's name in three parts."""

    project: str
    dataset: str
    table: str

    @property
    def shown(self) -> str:
        """As BigQuery's messages write it."""
        return f"{self.project}:{self.dataset}.{self.table}"


class Tables:
    """The datasets and tables of one data folder."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock

    def add_dataset(self, project: str, name: str, given: Mapping[str, Any]) -> None:
        """Create a dataset. Raises :class:`CloudFailure` (409)."""
        with self.store.transaction() as db:
            values = (project, name, json.dumps(dict(given)), self.clock.now())
            if not db.execute("INSERT OR IGNORE INTO datasets VALUES (?, ?, ?, ?)", values).rowcount:
                raise CloudFailure(409, "duplicate", f"Already Exists: Dataset {project}:{name}")

    def dataset(self, project: str, name: str) -> sqlite3.Row:
        """A dataset. Raises :class:`CloudFailure` (404)."""
        row = self.store.row("SELECT * FROM datasets WHERE project = ? AND id = ?", (project, name))
        if row is None:
            raise CloudFailure(404, "notFound", f"Not found: Dataset {project}:{name}")
        return row

    def add(self, place: Place, columns: list[dict[str, Any]], given: Mapping[str, Any]) -> sqlite3.Row:
        """Create a table without rows. Raises :class:`CloudFailure` (404 for the dataset, 409)."""
        self.dataset(place.project, place.dataset)
        blob, now = f"table-{new_id(24)}", self.clock.now()
        jsonl.private_open(self.store.blob(blob), "xb").close()
        with self.store.transaction() as db:
            made = db.execute(
                "INSERT OR IGNORE INTO bigquery_tables VALUES (?, ?, ?, ?, ?, 0, 0, ?, ?, ?)",
                (*place, json.dumps(dict(given)), json.dumps(columns), now, now, blob),
            ).rowcount
        if not made:
            self.store.blob(blob).unlink()
            raise CloudFailure(409, "duplicate", f"Already Exists: Table {place.shown}")
        return self.get(place)

    def find(self, place: Place) -> sqlite3.Row | None:
        """A table, or None."""
        return self.store.row("SELECT * FROM bigquery_tables WHERE project = ? AND dataset = ? AND id = ?", place)

    def get(self, place: Place) -> sqlite3.Row:
        """A table. Raises :class:`CloudFailure` (404)."""
        self.dataset(place.project, place.dataset)
        row = self.find(place)
        if row is None:
            raise CloudFailure(404, "notFound", f"Not found: Table {place.shown}")
        return row

    def delete(self, place: Place) -> None:
        """Delete a table. Raises :class:`CloudFailure` (404)."""
        row = self.get(place)
        with self.store.transaction() as db:
            db.execute("DELETE FROM bigquery_tables WHERE project = ? AND dataset = ? AND id = ?", place)
        self.store.blob(row["blob"]).unlink(missing_ok=True)

    def append(self, place: Place, rows: Iterable[Mapping[str, Any]]) -> int:
        """Add rows at the end, all or none; returns how many. The transaction holds until the bytes are there.

        Raises :class:`CloudFailure` (404).
        """
        row = self.get(place)
        with self.store.transaction() as db:
            (size,) = db.execute("SELECT size FROM bigquery_tables WHERE blob = ?", (row["blob"],)).fetchone()
            count = 0
            with self.store.blob(row["blob"]).open("r+b") as file:
                file.seek(size)
                file.truncate()
                for one in rows:
                    file.write(jsonl.encode(one) + b"\n")
                    count += 1
                size = file.tell()
                file.flush()
                os.fsync(file.fileno())
            db.execute(
                "UPDATE bigquery_tables SET rows = rows + ?, size = ?, updated = ? WHERE blob = ?",
                (count, size, self.clock.now(), row["blob"]),
            )
        return count

    def read(self, row: sqlite3.Row, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows from a byte of the blob on, each with the byte after it."""
        with self.store.blob(row["blob"]).open("rb") as file:
            file.seek(offset)
            for line in jsonl.read_lines(file, offset=offset):
                if line.offset >= row["size"]:
                    return
                value: dict[str, Any] = jsonl.decode(line.data)
                yield line.offset + len(line.data) + 1, value


def columns_of(row: sqlite3.Row) -> list[dict[str, Any]]:
    """The schema of a table."""
    columns: list[dict[str, Any]] = json.loads(row["columns"])
    return columns


def cells(columns: list[dict[str, Any]], row: Mapping[str, Any], *, whole_seconds: bool) -> list[dict[str, Any]]:
    """A row as ``tabledata.list`` writes it. ``whole_seconds``: times are microseconds as integers."""
    return [{"v": _cell(column, row.get(column["name"]), whole_seconds)} for column in columns]


def _cell(column: Mapping[str, Any], value: Any, whole_seconds: bool) -> Any:
    if column.get("mode") == "REPEATED":
        one = {**column, "mode": "NULLABLE"}
        return [{"v": _cell(one, item, whole_seconds)} for item in value or ()]
    if value is None:
        return None
    match column["type"]:
        case "RECORD" | "STRUCT":
            return {"f": cells(column.get("fields") or [], value, whole_seconds=whole_seconds)}
        case "JSON":
            return jsonl.encode(value).decode()
        case "BOOLEAN" | "BOOL":
            return "true" if value in (True, "true", "TRUE", "True") else "false"
        case "TIMESTAMP":
            return _moment(value, whole_seconds)
        case _:
            return value if isinstance(value, str) else json.dumps(value)


def _moment(value: Any, whole_seconds: bool) -> str:
    moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else dt.datetime.fromtimestamp(value, dt.UTC)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    micros = round((moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(microseconds=1))
    return str(micros) if whole_seconds else f"{micros / 1_000_000!r}"


def milliseconds(moment: int) -> str:
    """A time of the emulator as BigQuery shows it."""
    return str(moment * 1000 // SECOND)
