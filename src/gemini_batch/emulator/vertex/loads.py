"""Load jobs of the stand-in for BigQuery: a Parquet file that is uploaded with the job becomes the rows of a table.

A job is done as soon as its file is there. A session of an upload ends with the process.
"""

from __future__ import annotations

import json
import re
from typing import IO, TYPE_CHECKING, Any

import msgspec

from gemini_batch.emulator.messages.calls import Reply
from gemini_batch.emulator.state.files import new_id
from gemini_batch.emulator.vertex.parquet import columns_of_file, needed, rows_of_file
from gemini_batch.emulator.vertex.storage.api import fitting
from gemini_batch.emulator.vertex.storage.bodies import Described, Short
from gemini_batch.emulator.vertex.storage.failures import CloudFailure, invalid
from gemini_batch.emulator.vertex.tables import Place, Tables, columns_of, milliseconds
from gemini_batch.jsonl import private_open

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.emulator.messages.calls import Call, Receiver

#: The call that takes uploads.
INSERT = "bigquery.jobs.insert"
_RANGE = re.compile(r"bytes (?:([0-9]{1,19})-[0-9]{1,19}|\*)/([0-9]{1,19}|\*)")


class _Name(msgspec.Struct):
    jobId: str  # noqa: N815 - the service's names, here and below


class _Target(msgspec.Struct):
    projectId: str  # noqa: N815
    datasetId: str  # noqa: N815
    tableId: str  # noqa: N815


class _Options(msgspec.Struct):
    enableListInference: bool = False  # noqa: N815


class _Load(msgspec.Struct):
    destinationTable: _Target  # noqa: N815
    sourceFormat: str = "CSV"  # noqa: N815
    writeDisposition: str = "WRITE_APPEND"  # noqa: N815
    parquetOptions: _Options = msgspec.field(default_factory=_Options)  # noqa: N815


class _Configuration(msgspec.Struct):
    load: _Load


class _Job(msgspec.Struct):
    configuration: _Configuration
    jobReference: _Name | None = None  # noqa: N815


class Loads:
    """The load jobs of one data folder."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        #: Uploads in several requests: the job, the file, and how much of it is there.
        self.sessions: dict[str, tuple[dict[str, Any], Path]] = {}

    def receiver(self, call: Call) -> Receiver:
        """What takes the body of an upload's call. Raises :class:`CloudFailure`."""
        if (named := call.query.get("upload_id")) is not None:
            if named not in self.sessions:
                raise CloudFailure(404, "notFound", "The upload session does not exist.")
            return _Chunk(self, call, named)
        match call.query.get("uploadType"):
            case "resumable":
                return _Start(self, call)
            case "multipart":
                return _Whole(self, call)
            case other:
                raise invalid(f"Invalid uploadType: {other}")

    def get(self, call: Call) -> Reply:
        """One job."""
        project, name = call.names["project"], call.names["job"]
        row = self.tables.store.row("SELECT job FROM bigquery_jobs WHERE project = ? AND id = ?", (project, name))
        if row is None:
            raise CloudFailure(404, "notFound", f"Not found: Job {project}:{name}")
        return Reply(row["job"].encode())

    def check(self, project: str, asked: dict[str, Any]) -> tuple[_Load, str]:
        """What a job asks for, and its name. Raises :class:`CloudFailure` if it cannot be made."""
        needed()
        job = fitting(asked, _Job)
        load, name = job.configuration.load, job.jobReference.jobId if job.jobReference else f"job_{new_id(24)}"
        if load.sourceFormat != "PARQUET":
            raise invalid(f"The stand-in for BigQuery loads PARQUET, not {load.sourceFormat}.")
        if not re.fullmatch(r"[\w-]{1,1024}", name, re.ASCII):
            raise invalid(f'Invalid job ID "{name}".')
        self.tables.dataset(load.destinationTable.projectId, load.destinationTable.datasetId)
        if self.tables.store.row("SELECT 1 FROM bigquery_jobs WHERE project = ? AND id = ?", (project, name)):
            raise CloudFailure(409, "duplicate", f"Already Exists: Job {project}:US.{name}")
        return load, name

    def run(self, call: Call, asked: dict[str, Any], path: Path) -> Reply:
        """Load the file; the job, done."""
        project, begun = call.names["project"], milliseconds(self.tables.clock.now())
        load, name = self.check(project, asked)
        status: dict[str, Any] = {"state": "DONE"}
        rows = 0
        try:
            rows = self._load(load, path)
        except CloudFailure as failure:
            one = {"reason": failure.reason, "message": failure.message}
            status |= {"errorResult": one, "errors": [one]}
        ended = milliseconds(self.tables.clock.now())
        job = {
            "kind": "bigquery#job",
            "id": f"{project}:US.{name}",
            "selfLink": f"{call.base}/bigquery/v2/projects/{project}/jobs/{name}?location=US",
            "configuration": asked["configuration"],
            "jobReference": {"projectId": project, "jobId": name, "location": "US"},
            "statistics": {
                "creationTime": begun,
                "startTime": begun,
                "endTime": ended,
                "load": {"outputRows": str(rows), "inputFileBytes": str(path.stat().st_size)},
            },
            "status": status,
        }
        with self.tables.store.transaction() as db:
            db.execute("INSERT INTO bigquery_jobs VALUES (?, ?, ?)", (project, name, json.dumps(job)))
        return Reply.json(job)

    def _load(self, load: _Load, path: Path) -> int:
        target, lists = load.destinationTable, load.parquetOptions.enableListInference
        place = Place(target.projectId, target.datasetId, target.tableId)
        columns, there = columns_of_file(path, lists=lists), self.tables.find(place)
        if there is not None:
            if load.writeDisposition == "WRITE_EMPTY" and there["rows"]:
                raise CloudFailure(409, "duplicate", f"Already Exists: Table {place.shown}")
            kept = columns_of(there)
            if load.writeDisposition != "WRITE_TRUNCATE" and kept and _shape(kept) != _shape(columns):
                raise invalid("Provided Schema does not match Table.")
            if load.writeDisposition == "WRITE_TRUNCATE" or not kept:
                self.tables.delete(place)
                there = None
        if there is None:
            self.tables.add(place, columns, {})
        return self.tables.append(place, rows_of_file(path, lists=lists))

    def new_file(self) -> tuple[str, IO[bytes], Path]:
        """A file for an upload, and its name."""
        name = f"load-{new_id(24)}"
        path = self.tables.store.blob(name)
        return name, private_open(path, "xb"), path


def _shape(columns: list[dict[str, Any]]) -> list[Any]:
    return [
        (one["name"], one["type"], one.get("mode") == "REPEATED", _shape(one.get("fields") or [])) for one in columns
    ]


class _Whole:
    """The job and its file in one request of two parts."""

    def __init__(self, loads: Loads, call: Call) -> None:
        self._parts = Described(call, self._keep)
        self._loads, self._call = loads, call
        _, self._file, self._path = loads.new_file()

    def _keep(self, piece: bytes) -> None:
        self._file.write(piece)

    def write(self, piece: bytes) -> None:
        self._parts.feed(piece)

    def answer(self) -> Reply:
        asked = self._parts.description()
        self._file.close()
        return self._loads.run(self._call, asked, self._path)

    def broken(self) -> None:
        """There is no address at which to continue."""

    def close(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


class _Start(Short):
    """Begins a session; the address in ``Location`` takes the file."""

    def __init__(self, loads: Loads, call: Call) -> None:
        super().__init__(call)
        self._loads = loads

    def answer(self) -> Reply:
        call = self._call
        asked = self.described()
        self._loads.check(call.names["project"], asked)
        name, file, path = self._loads.new_file()
        file.close()
        self._loads.sessions[name] = asked, path
        place = f"{call.base}/upload/bigquery/v2/projects/{call.names['project']}/jobs"
        return Reply(b"", 200, {"Location": f"{place}?uploadType=resumable&upload_id={name}"})

    def broken(self) -> None:
        """Nothing was begun."""

    def close(self) -> None:
        """Nothing is open."""


class _Chunk:
    """One chunk of a session, or a question about it. A chunk that is cut off counts as far as it came."""

    def __init__(self, loads: Loads, call: Call, name: str) -> None:
        self._loads, self._call, self._name = loads, call, name
        self._asked, self._path = loads.sessions[name]
        found = _RANGE.fullmatch(call.headers.get("content-range", "").strip())
        if found is None:
            raise invalid("Failed to parse Content-Range header")
        there = self._path.stat().st_size
        start = there if found[1] is None else int(found[1])
        if start > there:
            raise invalid(f"Invalid request.  There are {there} bytes, and these begin at {start}.")
        self._total = None if found[2] == "*" else int(found[2])
        self._file = self._path.open("r+b")
        self._file.seek(start)

    def write(self, piece: bytes) -> None:
        self._file.write(piece)

    def answer(self) -> Reply:
        self._file.close()
        there = self._path.stat().st_size
        if there != self._total:
            return Reply(b"", 308, {"Range": f"bytes=0-{there - 1}"} if there else {})
        reply = self._loads.run(self._call, self._asked, self._path)
        del self._loads.sessions[self._name]
        self._path.unlink(missing_ok=True)
        return reply

    def broken(self) -> None:
        """What arrived stays."""

    def close(self) -> None:
        self._file.close()
