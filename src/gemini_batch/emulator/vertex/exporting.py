"""The output of a job, as Vertex AI writes it: objects under a prefix, or rows of a table.

The engine's line is an answer or an error, with the input line as its metadata. Here it becomes
``{"status", "processed_time", "request", "response"}``; a failed row has its reason in ``status``, and no key. A line
that a fault has made unreadable is copied as it is.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch import jsonl
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.state.clock import SECOND
from gemini_batch.emulator.vertex import names
from gemini_batch.emulator.vertex.storage.failures import CloudFailure
from gemini_batch.emulator.vertex.tables import Place, columns_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gemini_batch.emulator.engine.engine import Engine
    from gemini_batch.emulator.vertex.storage.objects import Objects
    from gemini_batch.emulator.vertex.tables import Tables

_PIECE = 1 << 20


class _Metadata(msgspec.Struct, gc=False):
    key: Any = None
    line: dict[str, msgspec.Raw] = {}


class _Failed(msgspec.Struct, gc=False):
    code: int = 13
    message: str = ""
    details: list[dict[str, Any]] = []


class _Answer(msgspec.Struct, gc=False):
    response: msgspec.Raw = msgspec.Raw()
    error: _Failed | None = None
    status: _Failed | None = None
    metadata: _Metadata | None = None


_answer = msgspec.json.Decoder(_Answer)


class Exports:
    """Writes the outputs of one emulator's jobs."""

    def __init__(self, engine: Engine, objects: Objects, tables: Tables) -> None:
        self._engine = engine
        self._objects = objects
        self._tables = tables

    def __call__(self, row: sqlite3.Row, output: Path) -> None:
        """Export the output of a job. Raises :class:`errors.ApiFailure` if there is no such bucket or dataset."""
        job = json.loads(row["vertex"])
        asked = job["outputConfig"]
        if prefix := (asked.get("gcsDestination") or {}).get("outputUriPrefix"):
            info = self._to_objects(row, output, prefix)
        else:
            info = self._to_table(row, output, asked["bigqueryDestination"]["outputUri"])
        with self._engine.store.transaction() as db:
            text = json.dumps({**job, "outputInfo": info})
            db.execute("UPDATE batches SET vertex = ? WHERE id = ?", (text, row["id"]))

    def _to_objects(self, row: sqlite3.Row, output: Path, prefix: str) -> dict[str, Any]:
        place = names.gs(prefix, "output_config.gcs_destination.output_uri_prefix")
        inside = f"{place.name.rstrip('/')}/" if place.name.strip("/") else ""
        folder = f"{inside}prediction-model-{_stamp(row['due'])}"
        for name, lines in self._files(row, output):
            self._objects.write(
                place.bucket, f"{folder}/{name}", _together(lines), contentType="application/octet-stream"
            )
        return {"gcsOutputDirectory": f"gs://{place.bucket}/{folder}"}

    def _files(self, row: sqlite3.Row, output: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
        """One file; or, if a fault says so, several of as many lines as it says, two of them if it says nothing.

        Next to several, there is an earlier copy of the first lines.
        """
        changes = self._engine.faults.changes(row) if self._engine.faults.output else []
        split = next((one for one in changes if one.output == "split"), None)
        lines = self._lines(row, output)
        if split is None:
            yield "predictions.jsonl", lines
            return
        size = split.rows or -(-row["total"] // 2)
        yield "incremental_predictions.jsonl", islice(self._lines(row, output), size)
        with output.open("rb") as source:
            files = -(-sum(1 for _ in source) // size)
        for number in range(files):
            yield f"predictions.jsonl-{number:05d}-of-{files:05d}", islice(lines, size)

    def _lines(self, row: sqlite3.Row, output: Path) -> Iterator[bytes]:
        at = jsonl.encode(self._now())
        with output.open("rb") as source:
            for data in source:
                yield _line(data, at, embeds=row["kind"] == "embed")

    def _to_table(self, row: sqlite3.Row, output: Path, uri: str) -> dict[str, Any]:
        project, dataset, table = names.bq(uri, "output_config.bigquery_destination.output_uri")
        stamp = _stamp(row["due"]).replace("-", "_").replace(":", "_").replace(".", "_").rstrip("Z")
        if not dataset:
            dataset = f"prediction_model_{stamp}"
            with contextlib.suppress(CloudFailure):  # it was made before a crash
                self._tables.add_dataset(project, dataset, {})
        place = Place(project, dataset, table or f"predictions_{stamp}")
        if self._tables.find(place) is None:
            self._tables.add(place, self._columns(row), {})
        self._tables.append(place, self._rows(output))
        return {"bigqueryOutputDataset": f"bq://{project}.{dataset}", "bigqueryOutputTable": place.table}

    def _columns(self, row: sqlite3.Row) -> list[dict[str, Any]]:
        """Those of the input, and what was added."""
        asked = json.loads(row["vertex"])["inputConfig"].get("bigquerySource")
        source = None
        if asked:
            source = self._tables.find(Place(*names.bq(asked["inputUri"], "input_config.bigquery_source.input_uri")))
        columns = columns_of(source) if source is not None else [{"name": "request", "type": "JSON"}]
        added = {"response": "JSON", "status": "STRING", "processed_time": "TIMESTAMP"}
        kept = [column for column in columns if column["name"] not in added]
        return [*kept, *({"name": name, "type": kind, "mode": "NULLABLE"} for name, kind in added.items())]

    def _rows(self, output: Path) -> Iterator[Mapping[str, Any]]:
        at = self._now()
        with output.open("rb") as source:
            for data in source:
                try:
                    answer = _answer.decode(data)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    continue  # a damaged line is no row
                metadata = answer.metadata or _Metadata()
                columns = {name: jsonl.decode(bytes(value)) for name, value in metadata.line.items()}
                response = jsonl.decode(bytes(answer.response)) if answer.response else {}
                yield {**columns, "status": _status(answer), "processed_time": at, "response": response}

    def _now(self) -> str:
        moment = dt.datetime.fromtimestamp(self._engine.clock.now() // 1000 / 1_000_000, dt.UTC)
        return moment.isoformat(timespec="microseconds")


def _line(data: bytes, at: bytes, *, embeds: bool) -> bytes:
    text = data.rstrip(b"\r\n")
    ending = data[len(text) :]
    try:
        answer = _answer.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return data
    parts = [b'{"status":', jsonl.encode(_status(answer)), b',"processed_time":', at]
    line = answer.metadata.line if answer.metadata else {}
    if request := bytes(line.get("request", b"")) or _stranger(answer):
        parts += [b',"request":', request]
    if answer.response:
        parts += [b',"response":', bytes(answer.response)]
    elif answer.error or answer.status:
        parts.append(b',"response":{}')
    if embeds and "key" in line:
        parts += [b',"key":', bytes(line["key"])]
    return b"".join((*parts, b"}", ending))


def _stranger(answer: _Answer) -> bytes:
    """The request of a row that was never sent; empty for a row that has lost its request."""
    if answer.metadata is None:
        return b""
    return jsonl.encode({"contents": [{"role": "user", "parts": [{"text": str(answer.metadata.key)}]}]})


def _status(answer: _Answer) -> str:
    """Empty for an answer; else the phrase of its HTTP status, and the error as it would answer a call."""
    failed = answer.error or answer.status
    if failed is None:
        return ""
    failure = errors.of_row(failed.code, failed.message)
    failure.details = tuple(failed.details)
    phrase = "Client Closed Request" if failure.status == 499 else HTTPStatus(failure.status).phrase
    return f"{phrase}: {json.dumps(failure.body(), ensure_ascii=False)}"


def _together(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Lines, about a megabyte at a time."""
    held, size = [], 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= _PIECE:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def _stamp(moment: int) -> str:
    at = dt.datetime.fromtimestamp(moment // SECOND, dt.UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{moment % SECOND // 1000:06d}Z"
