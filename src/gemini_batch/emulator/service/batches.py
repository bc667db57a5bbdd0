"""The Batch API's methods: create, get, list, update, cancel, delete. The engine does the work.

A batch is shown as a long-running operation. As at the service, zero counters and ``done: false`` are omitted, int64
values are strings, and a finished batch has its results twice.
"""

from __future__ import annotations

import json
import os
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import msgspec

from gemini_batch import jsonl
from gemini_batch.emulator.engine import lines, openai_rows
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.calls import Call, Reply
from gemini_batch.emulator.state import models, spent
from gemini_batch.emulator.state.clock import HOUR, SECOND, Clock, rfc3339
from gemini_batch.emulator.state.entered import NewBatch, enter
from gemini_batch.emulator.state.files import LONGEST_DISPLAY_NAME, Files, new_id, page_token, read_token
from gemini_batch.errors import RowError
from gemini_batch.protocol.spelling import snake

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from gemini_batch.emulator.engine.engine import Engine
    from gemini_batch.emulator.faults.armed import Batch
    from gemini_batch.emulator.state.models import Kind
    from gemini_batch.emulator.state.store import Store

LIFE = 48 * HOUR
_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main."
_MESSAGE: dict[Kind, str] = {"generate": "GenerateContentBatch", "embed": "EmbedContentBatch"}
_CREATE: dict[Kind, str] = {"generate": "BatchGenerateContentRequest", "embed": "AsyncBatchEmbedContentRequest"}
#: Jobs that are neither deleted nor forgotten; takes the time before which an end is forgotten.
_KNOWN = "NOT deleted AND coalesce(ended > ?, 1)"
_ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"})


class _Input(NamedTuple):
    """The checked input of a new batch. ``file`` is empty for inline requests; ``shape`` as in the database."""

    batch: str
    file: str
    blob: str
    checked: lines.Checked
    shape: str = ""


class Batches:
    """The batches of one data folder. ``queue_delay`` (seconds) and ``rows_per_second`` apply to new batches."""

    def __init__(self, store: Store, clock: Clock, files: Files, engine: Engine) -> None:
        self._limits = engine.limits
        self._store = store
        self._clock = clock
        self._files = files
        self._engine = engine
        self.queue_delay = 0.0
        self.rows_per_second: float | None = None
        #: Whether a file of rows in OpenAI's shape is accepted here too.
        self.openai_rows = False

    def create(self, call: Call, kind: Kind) -> Reply:
        """Check the whole input, then create a batch; the answer is the operation in its first state."""
        model = call.names["model"]
        self._check_model(call, model, kind)
        batch = call.message(_CREATE[kind]).get("batch") or {}
        if len(batch.get("displayName", "")) > LONGEST_DISPLAY_NAME:
            raise errors.invalid("* batch.display_name: must be at most 512 characters long.\n")
        config = batch.get("inputConfig") or {}
        batch_id, shape = new_id(36), ""
        requests = (config.get("requests") or {}).get("requests")
        if requests:
            file_id, blob = "", f"inline-{batch_id}"
            checked = self._keep_inline(kind, requests, self._store.blob(blob), model)
        elif config.get("fileName"):
            file_id = config["fileName"].removeprefix("files/")
            blob = self._files.input(file_id, call.owner)
            with self._store.blob(blob).open("rb") as source:
                if self.openai_rows and openai_rows.has_this_shape(source):
                    blob, shape = f"rows-{batch_id}", openai_rows.SHAPE
                    model, checked = self._translated(call, kind, source, blob, model=model)
                else:
                    checked = lines.check(kind, source, model=model, lenient=self._engine.lenient)
        else:
            raise errors.invalid("* batch.input_config: one of file_name and requests must be set.\n")
        given = _Input(batch_id, file_id, blob, checked, shape)
        return Reply.json(self._operation(self._enter(call, kind, model, batch, given)))

    def from_openai_rows(self, call: Call, kind: Kind, file: str) -> sqlite3.Row:
        """Create a batch from a file of rows in OpenAI's shape. Raises :class:`errors.ApiFailure`."""
        batch_id, file_id = new_id(36), file.removeprefix("files/")
        blob = f"rows-{batch_id}"
        with self._store.blob(self._files.input(file_id, call.owner)).open("rb") as source:
            model, checked = self._translated(call, kind, source, blob)
        return self._enter(call, kind, model, {}, _Input(batch_id, file_id, blob, checked, openai_rows.SHAPE))

    def _translated(
        self, call: Call, kind: Kind, source: IO[bytes], blob: str, *, model: str = ""
    ) -> tuple[str, lines.Checked]:
        """Write rows in OpenAI's shape as ordinary rows; returns their model, and what the checks found."""
        lenient, path = self._engine.lenient, self._store.blob(blob)
        try:
            with jsonl.private_open(path, "xb") as target:
                model, problems = openai_rows.read(kind, source, target, model=model, lenient=lenient)
                target.flush()
                os.fsync(target.fileno())
            if problems or not model:
                path.unlink()
                return model, lines.Checked(0, plain=False, problems=problems)
            self._check_model(call, model, kind)
            with path.open("rb") as rows:
                return model, lines.check(kind, rows, model=model, lenient=lenient)
        except errors.ApiFailure:
            path.unlink(missing_ok=True)
            raise

    def _check_model(self, call: Call, model: str, kind: Kind) -> None:
        models.serving(model, kind, now=self._clock.now(), version=call.version, method=models.BATCH_METHOD[kind])

    def _enter(self, call: Call, kind: Kind, model: str, batch: dict[str, Any], given: _Input) -> sqlite3.Row:
        """Enter a batch whose input was checked. Raises :class:`errors.ApiFailure` for a bad input or a full quota."""
        batch_id, file_id, blob, checked, shape = given
        if checked.problems:
            raise errors.invalid("\n".join(checked.problems))
        if not checked.rows:
            raise errors.invalid("* batch.input_config: there are no requests in the input.\n")
        now = self._clock.now()
        tokens = self._tokens(kind, model, blob, plain=checked.plain)
        with self._store.transaction() as db:
            self._limits.admit(call.owner, model, tokens)
            enter(
                db,
                NewBatch(
                    id=batch_id,
                    owner=call.owner,
                    kind=kind,
                    model=model,
                    display_name=batch.get("displayName", ""),
                    priority=int(batch.get("priority", 0)),
                    input_file=file_id,
                    input_blob=blob,
                    plain=checked.plain,
                    created=now,
                    due=now + round(self.queue_delay * SECOND),
                    expires=now + LIFE,
                    rows_per_second=self.rows_per_second,
                    total=checked.rows,
                    tokens=tokens,
                    webhook=json.dumps(batch["webhookConfig"]) if batch.get("webhookConfig") else None,
                    shape=shape,
                ),
            )
        return self.find(batch_id, call.owner)

    def _tokens(self, kind: Kind, model: str, blob: str, *, plain: bool) -> int:
        """The tokens that a job will hold of its model's quota; 0 if there is no such quota."""
        if self._limits.any():
            # Jobs that would have ended by now must no longer hold quota.
            self._engine.advance()
        if not self._limits.counts(model):
            return 0
        with self._store.blob(blob).open("rb") as source:
            return lines.count_tokens(kind, source, plain=plain)

    def _keep_inline(self, kind: Kind, requests: list[dict[str, Any]], path: Path, model: str) -> lines.Checked:
        """Write inline requests, which are already in canonical form, as a file of rows."""
        plain = True
        for number, item in enumerate(requests):
            request = item.get("request") or {}
            if kind == "generate" and (found := lines.clash(request)):
                raise errors.invalid(f"batch.input_config.requests.requests[{number}]: {found}")
            plain = plain and not lines.refusal(kind, request, model=model, lenient=self._engine.lenient)
        with jsonl.private_open(path, "xb") as file:
            file.writelines(
                jsonl.encode({"request": item.get("request") or {}, "metadata": item.get("metadata")}) + b"\n"
                for item in requests
            )
            file.flush()
            os.fsync(file.fileno())
        return lines.Checked(len(requests), plain=plain, problems=[])

    def get(self, call: Call) -> Reply:
        """One batch in its present state, with its results if it has ended and they are inline."""
        return Reply.json(self._operation(self.find(call.names["batch"], call.owner)))

    def list(self, call: Call) -> Reply:
        """The project's batches, newest first, in pages. The service's default page size is not known."""
        size, before = call.number("pageSize", 10, most=100), read_token(call.text("pageToken"))
        rows = self.page(call.owner, before, size + 1)
        answer: dict[str, Any] = {}
        if rows:
            answer["operations"] = [self._operation(row) for row in rows[:size]]
        if len(rows) > size:
            answer["nextPageToken"] = page_token(rows[size - 1]["seq"])
        return Reply.json(answer)

    def page(self, owner: str, before: int | None, size: int) -> Sequence[sqlite3.Row]:
        """Rows of a project's batches, newest first: those before the one numbered ``before``, at most ``size``."""
        return self._store.rows(
            f"SELECT * FROM batches WHERE owner = ? AND {_KNOWN} AND (? OR seq < ?) ORDER BY seq DESC LIMIT ?",  # noqa: S608
            (owner, self._limits.forgotten(), before is None, before, size),
        )

    def described(self, row: sqlite3.Row) -> dict[str, Any]:
        """A batch as the API's message, without the operation around it."""
        return self._batch(row, self._output(row))

    def update(self, call: Call, kind: Kind) -> Reply:
        """Change the display name or the priority; the answer is the batch, not an operation."""
        row = self.find(call.names["batch"], call.owner)
        if row["kind"] != kind:
            raise errors.not_found()
        given = call.message(_MESSAGE[kind])
        mask = [snake(name.strip()) for name in call.text("updateMask").split(",") if name.strip()]
        if unknown := [name for name in mask if name not in ("display_name", "priority", "*")]:
            raise errors.invalid(f"Invalid update_mask: {unknown[0]} cannot be updated.")
        everything = not mask or "*" in mask
        with self._store.transaction() as db:
            if "display_name" in mask or (everything and "displayName" in given):
                name = given.get("displayName", "")
                db.execute("UPDATE batches SET display_name = ? WHERE id = ?", (name, row["id"]))
            if "priority" in mask or (everything and "priority" in given):
                db.execute("UPDATE batches SET priority = ? WHERE id = ?", (int(given.get("priority", 0)), row["id"]))
            db.execute("UPDATE batches SET updated = ? WHERE id = ?", (self._clock.now(), row["id"]))
        return Reply.json(self.described(self.find(row["id"], call.owner)))

    def cancel(self, call: Call) -> Reply:
        """Request cancellation; the outcome shows later. A batch that has ended stays unchanged."""
        row = self.find(call.names["batch"], call.owner)
        with self._store.transaction() as db:
            db.execute(
                """UPDATE batches SET cancelled = ? WHERE id = ? AND cancelled IS NULL
                AND state IN ('PENDING', 'RUNNING')""",
                (self._clock.now(), row["id"]),
            )
        return Reply()

    def delete(self, call: Call) -> Reply:
        """Delete a batch, its work and its output."""
        row = self.find(call.names["batch"], call.owner)
        goes_on = row["state"] not in _ENDED and self._engine.faults.runs_on(row)
        with self._store.transaction() as db:
            db.execute(
                """UPDATE batches SET deleted = :how, ended = CASE :how WHEN 1 THEN coalesce(ended, :now) END
                WHERE id = :id""",
                {"how": 2 if goes_on else 1, "now": self._clock.now(), "id": row["id"]},
            )
            db.execute("DELETE FROM files WHERE id = ?", (f"batch-{row['id']}",))
        if not goes_on:
            self._engine.clean(row["id"])
        return Reply()

    def find(self, batch_id: str, owner: str) -> sqlite3.Row:
        """The row of a project's batch. Raises :class:`errors.ApiFailure` (404)."""
        row = self._store.row(
            f"SELECT * FROM batches WHERE id = ? AND owner = ? AND {_KNOWN}",  # noqa: S608 - our own words
            (batch_id, owner, self._limits.forgotten()),
        )
        if row is None:
            raise errors.not_found()
        return row

    def _seen(self, row: sqlite3.Row) -> Batch:
        """A batch as it is shown: CANCELLED for a while, if a fault hides that it goes on."""
        if row["cancelled"] is None or not self._engine.faults.hides(row, self._clock.now()):
            return row
        shown = {"state": "CANCELLED", "ended": row["cancelled"], "updated": row["cancelled"], "published": 0}
        return {**dict(row), **shown, "succeeded": 0, "failed": 0, "error_code": 1, "error_message": ""}

    def _operation(self, found: sqlite3.Row) -> dict[str, Any]:
        row = self._seen(found)
        output = self._output(row)
        name = _MESSAGE[row["kind"]]
        shown: dict[str, Any] = {
            "name": f"batches/{row['id']}",
            "metadata": {"@type": f"{_TYPE}{name}", **self._batch(row, output)},
        }
        if row["state"] in _ENDED:
            shown["done"] = True
        if row["error_code"] is not None:
            shown["error"] = RowError(row["error_code"], row["error_message"] or "").body()
        if output:
            shown["response"] = {"@type": f"{_TYPE}{name}Output", **output}
        return shown

    def _batch(self, row: Batch, output: dict[str, Any]) -> dict[str, Any]:
        lost, lost_errors = spent.dropped(self._store, row["id"]) if row["state"] in _ENDED else (0, 0)
        succeeded, failed = row["succeeded"] - lost, row["failed"] - lost_errors
        pending = row["total"] - succeeded - failed
        stats = {
            "requestCount": row["total"],
            "successfulRequestCount": succeeded,
            "failedRequestCount": failed,
            "pendingRequestCount": pending,
        }
        shown = {
            "model": models.resource(row["model"]),
            "displayName": row["display_name"],
            "inputConfig": {"fileName": f"files/{row['input_file']}"} if row["input_file"] else None,
            "output": output,
            "createTime": rfc3339(row["created"]),
            "endTime": rfc3339(row["ended"]) if row["ended"] is not None else None,
            "updateTime": rfc3339(row["updated"]),
            "batchStats": {name: str(count) for name, count in stats.items() if count},
            "state": f"BATCH_STATE_{row['state']}",
            "priority": str(row["priority"]) if row["priority"] else None,
            "webhookConfig": json.loads(row["webhook"]) if row["webhook"] else None,
            "name": f"batches/{row['id']}",
        }
        return {name: value for name, value in shown.items() if value}

    def _output(self, row: Batch) -> dict[str, Any]:
        if not row["published"]:
            return {}
        if row["input_file"]:
            return {"responsesFile": f"files/batch-{row['id']}"}
        if self._clock.now() >= row["ended"] + round(self._limits.quotas.results_kept * SECOND):
            return {}
        try:
            with self._store.output(row["id"]).open("rb") as file:
                return {"inlinedResponses": {"inlinedResponses": _joined(file)}}
        except FileNotFoundError:
            return {}


def _joined(file: IO[bytes]) -> msgspec.Raw:
    return msgspec.Raw(b"[" + file.read().rstrip(b"\n").replace(b"\n", b",") + b"]")
