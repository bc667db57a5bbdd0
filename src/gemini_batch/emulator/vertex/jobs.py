"""The methods of batch prediction jobs: create, get, list, cancel, delete. The engine does the work.

A job is shown as a BatchPredictionJob: ``state`` says ``JOB_STATE_…``, counts are strings, and what was answered is
where ``outputInfo`` says. The answer to a create is the job, to a delete an operation that is done.
"""

from __future__ import annotations

import json
import os
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from gemini_batch import jsonl
from gemini_batch.emulator.engine import lines, terms
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.calls import Call, Reply
from gemini_batch.emulator.state import spent
from gemini_batch.emulator.state.clock import SECOND, rfc3339
from gemini_batch.emulator.state.entered import VERTEX, NewBatch, enter, name_of
from gemini_batch.emulator.state.files import page_token, read_token
from gemini_batch.emulator.vertex import filters, names, staging
from gemini_batch.emulator.vertex.messages import read_job
from gemini_batch.emulator.vertex.tables import Place

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from gemini_batch.emulator.engine.engine import Engine
    from gemini_batch.emulator.state.store import Store
    from gemini_batch.emulator.vertex.names import Served
    from gemini_batch.emulator.vertex.storage.objects import Objects
    from gemini_batch.emulator.vertex.tables import Tables

_ENDED = frozenset({"SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"})
_WITH_ERROR = frozenset({"FAILED", "CANCELLED"})
_LONGEST_NAME = 128
_TYPES = "type.googleapis.com/google.cloud.aiplatform."
#: Of a job in the database: what a create may state and an answer shows again.
_KEPT = ("model", "inputConfig", "outputConfig", "labels", "modelVersionId", "serviceAccount", "encryptionSpec")
#: Rows that a list reads at a time.
_BATCH = 200
#: By format, how the name of a source or destination of that kind begins.
_PLACES = {"jsonl": "gcs", "bigquery": "bigquery", "vertex-dataset": "vertexMultimodalDataset"}


class Pace(NamedTuple):
    """Seconds that a new job waits, and the rows that it serves in one; None is as fast as possible."""

    queue_delay: float
    rows_per_second: float | None


class Jobs:
    """The jobs of one emulator. New ones wait and run as its other batches do: at its ``pace``."""

    def __init__(self, engine: Engine, objects: Objects, tables: Tables, pace: Callable[[], Pace]) -> None:
        self._engine = engine
        self._store = engine.store
        self._clock = engine.clock
        self._objects = objects
        self._tables = tables
        self._pace = pace

    def create(self, call: Call) -> Reply:
        """Check what the body says, take in the rows, and create a job; one whose input is unreadable fails later."""
        asked = read_job(call)
        served = names.model(asked.get("model", ""))
        name = asked.get("displayName", "")
        if not name:
            raise errors.invalid("Missing required field: display_name")
        if len(name) > _LONGEST_NAME:
            raise errors.invalid(f"display_name must be at most {_LONGEST_NAME} characters long.")
        self._check_places(asked)
        made, now = names.digits(19), self._clock.now()
        blob = f"rows-{made}"
        path = self._store.blob(blob)
        job = {key: asked[key] for key in _KEPT if key in asked}
        error: tuple[int, str] | tuple[None, None] = (None, None)
        rows, plain = 0, True
        try:
            with jsonl.private_open(path, "xb") as target:
                rows, job["partialFailures"] = self._stage(asked, target, served)
                target.flush()
                os.fsync(target.fileno())
            with path.open("rb") as source:
                checked = lines.check(served.kind, source, model=served.name, lenient=self._engine.lenient)
            plain = checked.plain and not checked.problems
        except staging.Unreadable as unreadable:
            error, rows = (unreadable.code, unreadable.message), 0
        owner = names.owner(call.names["project"], call.names["location"])
        tokens = self._tokens(served, blob, plain=plain) if rows else 0
        pace = self._pace()
        with self._store.transaction() as db:
            try:
                self._engine.limits.admit(owner, served.name, tokens)
            except errors.ApiFailure:
                path.unlink()
                raise
            enter(
                db,
                NewBatch(
                    id=made,
                    owner=owner,
                    kind=served.kind,
                    model=served.name,
                    display_name=name,
                    input_blob=blob,
                    plain=plain,
                    created=now,
                    due=now + round(pace.queue_delay * SECOND),
                    expires=now + terms.WAIT,
                    rows_per_second=pace.rows_per_second,
                    total=rows,
                    tokens=tokens,
                    shape=VERTEX,
                    vertex=json.dumps(job),
                    error_code=error[0],
                    error_message=error[1],
                ),
            )
        return Reply.json({**self._shown(self._find(owner, made)), "state": "JOB_STATE_PENDING"})

    def _tokens(self, served: Served, blob: str, *, plain: bool) -> int:
        limits = self._engine.limits
        if limits.any():
            self._engine.advance()
        if not limits.counts(served.name):
            return 0
        with self._store.blob(blob).open("rb") as source:
            return lines.count_tokens(served.kind, source, plain=plain)

    def _check_places(self, asked: dict[str, Any]) -> None:
        """Refuse a job whose source or destination cannot be one. Raises :class:`errors.ApiFailure` (400)."""
        source, target = asked.get("inputConfig") or {}, asked.get("outputConfig") or {}
        kinds = (
            _format(source, "instancesFormat", "input_config.instances_format", "Source"),
            _format(target, "predictionsFormat", "output_config.predictions_format", "Destination"),
        )
        if "vertex-dataset" in kinds:
            raise errors.unserved("batch prediction with multimodal datasets")
        if kinds[0] == "jsonl":
            uris = source["gcsSource"].get("uris") or []
            if not uris:
                raise errors.invalid("Missing required field: input_config.gcs_source.uris")
            for uri in uris:
                self._check_bucket(names.gs(uri, "input_config.gcs_source.uris"))
        else:
            place = names.bq(source["bigquerySource"].get("inputUri", ""), "input_config.bigquery_source.input_uri")
            if not place[2]:
                raise errors.invalid("input_config.bigquery_source.input_uri must name a table.")
        if kinds[1] == "jsonl":
            field = "output_config.gcs_destination.output_uri_prefix"
            self._check_bucket(names.gs(target["gcsDestination"].get("outputUriPrefix", ""), field))
        else:
            field = "output_config.bigquery_destination.output_uri"
            names.bq(target["bigqueryDestination"].get("outputUri", ""), field)

    def _check_bucket(self, place: names.Object) -> None:
        try:
            self._objects.bucket(place.bucket)
        except errors.ApiFailure:
            message = f"The Cloud Storage bucket of `{place.uri}` does not exist."
            raise errors.ApiFailure(400, "FAILED_PRECONDITION", message) from None

    def _stage(self, asked: dict[str, Any], target: IO[bytes], served: Served) -> staging.Staged:
        source = asked["inputConfig"]
        if uris := (source.get("gcsSource") or {}).get("uris"):
            places = [names.gs(uri, "input_config.gcs_source.uris") for uri in uris]
            return staging.from_objects(self._objects, places, target, served.kind)
        place = names.bq(source["bigquerySource"]["inputUri"], "input_config.bigquery_source.input_uri")
        return staging.from_table(self._tables, Place(*place), target, served.kind)

    def get(self, call: Call) -> Reply:
        """One job in its present state."""
        return Reply.json(_masked(call, self._shown(self._named(call))))

    def list(self, call: Call) -> Reply:
        """The jobs of a project and location that fit the filter, newest first, in pages."""
        wanted = filters.read(call.text("filter"))
        size, before = call.number("pageSize", 100, most=100), read_token(call.text("pageToken"))
        owner = names.owner(call.names["project"], call.names["location"])
        jobs: list[dict[str, Any]] = []
        last = 0
        while len(jobs) <= size and (rows := self._page(owner, before)):
            for row in rows:
                before = row["seq"]
                job = self._shown(row)
                if all(clause.holds(job) for clause in wanted):
                    jobs.append(_masked(call, job))
                    if len(jobs) > size:
                        break
                    last = row["seq"]
        answer: dict[str, Any] = {"batchPredictionJobs": jobs[:size]} if jobs else {}
        if len(jobs) > size:
            answer["nextPageToken"] = page_token(last)
        return Reply.json(answer)

    def _page(self, owner: str, before: int | None) -> Sequence[sqlite3.Row]:
        return self._store.rows(
            """SELECT * FROM batches WHERE owner = ? AND NOT deleted AND coalesce(ended > ?, 1) AND (? OR seq < ?)
            ORDER BY seq DESC LIMIT ?""",
            (owner, self._engine.limits.forgotten(), before is None, before, _BATCH),
        )

    def cancel(self, call: Call) -> Reply:
        """Ask that a job ends; refused if it has ended, or was asked before."""
        row = self._named(call)
        with self._store.transaction() as db:
            asked = db.execute(
                """UPDATE batches SET cancelled = ? WHERE id = ? AND cancelled IS NULL
                AND state IN ('PENDING', 'RUNNING')""",
                (self._clock.now(), row["id"]),
            ).rowcount
        if not asked:
            raise _wrong_state(row, "cancelled")
        return Reply()

    def delete(self, call: Call) -> Reply:
        """Delete a job that has ended; what it wrote stays."""
        row = self._named(call)
        if row["state"] not in _ENDED:
            raise _wrong_state(row, "deleted")
        with self._store.transaction() as db:
            db.execute("UPDATE batches SET deleted = 1 WHERE id = ?", (row["id"],))
        self._engine.clean(row["id"])
        now = rfc3339(self._clock.now())
        generic = {"createTime": now, "updateTime": now}
        metadata = {"@type": f"{_TYPES}{call.version}.DeleteOperationMetadata", "genericMetadata": generic}
        return Reply.json(
            {
                "name": f"{row['owner']}/operations/{names.digits(19)}",
                "metadata": metadata,
                "done": True,
                "response": {"@type": "type.googleapis.com/google.protobuf.Empty"},
            }
        )

    def _named(self, call: Call) -> sqlite3.Row:
        return self._find(names.owner(call.names["project"], call.names["location"]), call.names["batch"])

    def _find(self, owner: str, batch_id: str) -> sqlite3.Row:
        row = self._store.row(
            "SELECT * FROM batches WHERE id = ? AND owner = ? AND NOT deleted AND coalesce(ended > ?, 1)",
            (batch_id, owner, self._engine.limits.forgotten()),
        )
        if row is None:
            raise errors.not_found(f"The BatchPredictionJob {owner}/batchPredictionJobs/{batch_id} is not found.")
        return row

    def _shown(self, row: sqlite3.Row) -> dict[str, Any]:
        kept, state = json.loads(row["vertex"]), self._state(row)
        ended = state in _ENDED
        begun = row["state"] == "RUNNING" or (row["ended"] is not None and row["due"] <= row["ended"])
        shown: dict[str, Any] = {
            "name": name_of(row),
            "displayName": row["display_name"],
            **kept,
            "outputInfo": kept.get("outputInfo") if ended else None,
            "state": f"JOB_STATE_{state}",
            "completionStats": _stats(self._store, row) if begun and row["total"] else None,
            "createTime": rfc3339(row["created"]),
            "startTime": rfc3339(row["due"]) if begun else None,
            "endTime": rfc3339(row["ended"]) if ended and row["ended"] is not None else None,
            "updateTime": rfc3339(row["updated"]),
        }
        if state in _WITH_ERROR and row["error_code"] is not None:
            shown["error"] = {"code": row["error_code"], "message": row["error_message"] or ""}
        return {name: value for name, value in shown.items() if value not in (None, [], {})}

    def _state(self, row: sqlite3.Row) -> str:
        """The state in words; a job that waits is QUEUED, and one that is cancelled but goes on is CANCELLING."""
        state: str = row["state"]
        if row["cancelled"] is not None and self._engine.faults.hides(row, self._clock.now()):
            return "CANCELLED"
        if state in ("PENDING", "RUNNING") and row["cancelled"] is not None:
            return "CANCELLING"
        waits = row["due"] > row["created"] or self._engine.limits.waits(row)
        return "QUEUED" if state == "PENDING" and waits else state


def _stats(store: Store, row: sqlite3.Row) -> dict[str, str]:
    """The counts, as strings; those that are zero are left out, as protobuf's JSON does."""
    lost, lost_errors = spent.dropped(store, row["id"]) if row["state"] in _ENDED else (0, 0)
    succeeded, failed = row["succeeded"] - lost, row["failed"] - lost_errors
    counts = {
        "successfulCount": succeeded,
        "failedCount": failed,
        "incompleteCount": row["total"] - succeeded - failed,
    }
    return {name: str(count) for name, count in counts.items() if count}


def _masked(call: Call, job: dict[str, Any]) -> dict[str, Any]:
    """The fields of a job that ``readMask`` names; all without one."""
    mask = [one.strip() for one in call.text("readMask").split(",") if one.strip()]
    if not mask or "*" in mask:
        return job
    wanted = {"".join([head, *(one.capitalize() for one in rest)]) for head, *rest in (m.split("_") for m in mask)}
    return {name: value for name, value in job.items() if name in wanted}


def _format(config: dict[str, Any], key: str, field: str, end: str) -> str:
    """The format of a source or destination, which has to be of that kind. Raises :class:`errors.ApiFailure` (400)."""
    places = {kind: begin + end for kind, begin in _PLACES.items()}
    kind: str = config.get(key, "")
    given = [one for one in places.values() if config.get(one)]
    if not kind:
        raise errors.invalid(f"Missing required field: {field}")
    if kind not in places:
        raise errors.invalid(f"Unsupported value in {field}: {kind}. Gemini supports {', '.join(places)}.")
    if given != [places[kind]]:
        raise errors.invalid(f"{field} is {kind}, so {places[kind]} must be set, and nothing else.")
    return kind


def _wrong_state(row: sqlite3.Row, verb: str) -> errors.ApiFailure:
    message = f"The BatchPredictionJob {name_of(row)} is in state JOB_STATE_{row['state']} and cannot be {verb}."
    return errors.ApiFailure(400, "FAILED_PRECONDITION", message)
