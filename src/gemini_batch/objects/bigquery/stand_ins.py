"""Parquet files in the place of tables while a command works: read before, loaded after."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.errors import Error, StateError, UsageError
from gemini_batch.jsonl import atomic_write, decode_as, private_folder, private_open, sha256_of
from gemini_batch.objects import names
from gemini_batch.objects.bigquery.policy import Loaded, content_of, job_id, judge, snapshot_time
from gemini_batch.objects.reading import changed, replaced
from gemini_batch.tables.sources.order import write_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemini_batch.objects.bigquery.policy import JobSeen, TableAddress, TableSeen
    from gemini_batch.objects.bigquery.service import BigQuery

    Told = Callable[[str, int, int], object]


@dataclass(frozen=True)
class _Output:
    """A table that is written. ``there``: what it was; ``before``: the hash of the file that stood in for that;
    ``note``: a file of the state folder for what is known of it."""

    address: TableAddress
    location: str | None
    there: TableSeen | None
    before: str | None
    note: Path


class StandIns:
    """Files in ``folder``, which is private, and removed at the end. ``now``: the time, in seconds since 1970."""

    def __init__(self, folder: Path, service: BigQuery, now: Callable[[], float]) -> None:
        self._folder, self._service, self._now = Path(os.path.realpath(folder)), service, now
        self._files: list[Path] = []
        self._outputs: dict[Path, _Output] = {}

    def close(self) -> None:
        """Remove the files, which stand in for nothing any more."""
        names.forget(self._files)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _file(self, address: TableAddress) -> Path:
        path = self._folder / str(len(self._files)) / f"{address.table}.parquet"
        private_folder(path.parent)
        self._files.append(path)
        names.stand_in(path, str(address))
        return path

    def fetch(self, address: TableAddress, key: Sequence[str], told: Told) -> Path:
        """Read a table as it is now, in the order of its keys. Raises UsageError, ServiceError, OSError.

        BigQuery gives rows in no order that holds; the same rows become the same file.
        """
        seen = self._service.look(address)
        if seen is None:
            raise UsageError(
                "There is no such table in the dataset.",
                file=str(address),
                code="file_not_found",
                next="Check the address.",
            )
        _check_readable(address, seen)
        path = self._file(address)
        raw = path.with_name("rows")
        size = self._copy(address, seen, raw, told)
        write_in_order(raw, path, key, raw.parent, str(address), size=size)
        raw.unlink()
        return path

    def _copy(self, address: TableAddress, seen: TableSeen, path: Path, told: Told) -> int:
        """Write the rows as they come; returns their bytes in memory."""
        from pyarrow import parquet

        moment = None if seen.kind == "SNAPSHOT" else snapshot_time(seen, self._now())
        rows, size, writer = 0, 0, None
        with private_open(path, "wb") as file:
            try:
                for batch in self._service.batches(address, moment):
                    writer = writer or parquet.ParquetWriter(file, batch.schema, compression="zstd")
                    if batch.num_rows:
                        writer.write_batch(batch)
                    rows, size = rows + batch.num_rows, size + batch.nbytes
                    told("reading", rows, seen.rows)
            finally:
                if writer is not None:
                    writer.close()
        if rows != seen.rows:
            raise changed(address, "table")
        return size

    def fetch_to_write(self, address: TableAddress, note: Path) -> Path:
        """The file for a table that may be written. If there is a table, a short file stands in for it, which has the
        hash of what was loaded there, if that is what it still holds.

        Raises UsageError, ServiceError, OSError.
        """
        location, known, job = self._service.location(address), _known(note), None
        if known.loading:
            job = self._last_job(address, known.loading, location)
        there, path, before = self._service.look(address), self._file(address), None
        if there is not None:
            with private_open(path, "wb") as file:
                file.write(f"{address}\n{there}\n".encode())
            before = sha256_of(path)
            if (content := content_of(known, there, job)) is not None:
                names.has_content(before, content)
                _remember(note, Loaded(sha256=content, modified=there.modified))
        self._outputs[path] = _Output(address, location, there, before, note)
        return path

    def _last_job(self, address: TableAddress, sha256: str, location: str | None) -> JobSeen | None:
        """The last job that loads a file, once it is done: one that still works writes the table sooner or later."""
        found = None
        number = 0
        while (job := self._service.job(address, name := job_id(str(address), sha256, number), location)) is not None:
            found = job if job.done else self._service.wait(address, name, location)
            number += 1
        return found

    def put_all(self, told: Told) -> None:
        """Load the files that were written into their tables. Raises StateError, UsageError, ServiceError, OSError."""
        for path, output in self._outputs.items():
            if path.exists() and (content := sha256_of(path)) != output.before:
                self._put(path, content, output, told)

    def _put(self, path: Path, content: str, output: _Output, told: Told) -> None:
        address, there = output.address, output.there
        if there is not None and output.before is not None and names.content(output.before) == content:
            return
        now, size = self._service.look(address), path.stat().st_size
        if now is not None and (there is None or not now.is_same_as(there)):
            raise replaced(address, "table")
        known = _known(output.note)
        _remember(output.note, msgspec.structs.replace(known, loading=content))
        told("writing", 0, size)
        now = self._loaded(path, content, output)
        _remember(output.note, Loaded(sha256=content, modified=now.modified))
        told("writing", size, size)

    def _loaded(self, path: Path, content: str, output: _Output) -> TableSeen:
        """Load a file, by one job that is known by its id; the table afterwards."""
        address, location, number = output.address, output.location, 0
        while True:
            name = job_id(str(address), content, number)
            job, table = self._service.job(address, name, location), self._service.look(address)
            found = judge(job, table)
            if found == "written" and table is not None:
                return table
            if found == "next":
                number += 1
                continue
            if found == "load":
                try:
                    self._service.load(address, path, name, location, replace=output.there is not None)
                except Error:
                    if self._service.job(address, name, location) is None:
                        raise
            job = self._service.wait(address, name, location)
            table = self._service.look(address)
            if job.error or table is None:
                raise _not_loaded(address, job.error)
            return table


def _check_readable(address: TableAddress, seen: TableSeen) -> None:
    if not seen.columns and seen.kind in {"TABLE", "SNAPSHOT"}:
        raise UsageError(
            "The table has no columns.", file=str(address), code="empty", next="Name a table that has columns and rows."
        )
    if seen.kind not in {"TABLE", "SNAPSHOT"}:
        raise UsageError(
            f"This is a {seen.kind.replace('_', ' ').lower()}, whose rows are not stored in BigQuery as a table.",
            file=str(address),
            code="not_a_table",
            next="Write its rows to a table: CREATE TABLE … AS SELECT * FROM …",
        )
    if seen.streaming:
        raise UsageError(
            "Rows are streamed into this table, and those that are not stored yet belong to no state of it that can be "
            "read twice.",
            file=str(address),
            code="file_changed",
            next="Copy its rows to another table: CREATE TABLE … AS SELECT * FROM …",
        )


def _known(note: Path) -> Loaded:
    try:
        return decode_as(note.read_bytes(), Loaded)
    except (FileNotFoundError, ValueError):
        return Loaded()


def _remember(note: Path, known: Loaded) -> None:
    with atomic_write(note, private=True) as file:
        file.write(msgspec.json.encode(known))


def _not_loaded(address: TableAddress, said: str) -> StateError:
    return StateError(
        f"BigQuery did not load the results: {said or 'the table is gone'}.",
        file=str(address),
        code="table_not_loaded",
        next="The answers are kept: run the same command with another -o.",
    )
