"""The work on batches: rows in, answers out, a little at every request.

:meth:`Engine.advance` works on every batch that is due, for a limited time. It needs no daemon: whoever holds a batch's
lock (released by the operating system if the process dies) works on it, from the checkpoint in the database. Answers
after the checkpoint are cut off and made again, so every row is answered once. The complete output is renamed into
place before the database says that the batch has ended.

The emulator's clock alone decides what has happened by now: a batch starts when it is due, serves rows at its speed,
and expires if that was too slow, whether or not anyone polled it.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from gemini_batch import jsonl
from gemini_batch.emulator.engine import publishing, terms
from gemini_batch.emulator.engine.parts import Parts
from gemini_batch.emulator.engine.steps import allowed, next_step
from gemini_batch.emulator.engine.work import Work
from gemini_batch.emulator.messages.errors import ApiFailure
from gemini_batch.emulator.state import spent
from gemini_batch.emulator.state.clock import SECOND

if TYPE_CHECKING:
    import sqlite3

    from gemini_batch.emulator.engine.steps import Step
    from gemini_batch.emulator.faults.armed import Outcome

#: How long work on batches may delay one request, in seconds.
BUDGET = 0.5


class Engine(Parts):
    """The work on all batches of one data folder."""

    def advance(self, budget: float = BUDGET) -> bool:
        """Work on all batches that are due, for ``budget`` seconds in total; True if some can continue at once."""
        deadline = self.monotonic() + budget
        now = self.clock.now()
        due = self.store.rows(
            """SELECT id FROM batches WHERE state IN ('PENDING', 'RUNNING') AND deleted != 1
            AND (due <= :now OR expires <= :now OR cancelled IS NOT NULL) ORDER BY priority DESC, seq""",
            {"now": now},
        )
        more = False
        for place, (batch_id,) in enumerate(due):
            left = max(0.0, deadline - self.monotonic())
            more |= self._advance_one(batch_id, self.monotonic() + left / (len(due) - place))
        return more

    def close(self) -> None:
        """End all work at a checkpoint, and cancel the answers in progress."""
        self.stop.set()
        for batch_id in list(self.prefetched):
            self.forget(batch_id)

    def forget(self, batch_id: str) -> None:
        """Cancel a batch's answers in progress."""
        if prefetch := self.prefetched.pop(batch_id, None):
            prefetch.close()

    def clean(self, batch_id: str) -> None:
        """Remove what a deleted batch left behind, unless someone else is working on it: they will remove it."""
        with contextlib.suppress(Timeout), self._lock(batch_id):
            self._remove(batch_id)

    def _lock(self, batch_id: str) -> FileLock:
        return FileLock(self.store.locks / f"{batch_id}.lock", timeout=0, mode=0o600)

    def _advance_one(self, batch_id: str, deadline: float) -> bool:
        try:
            with self._lock(batch_id):
                return self._steps(batch_id, deadline)
        except Timeout:
            return False  # someone else is working on it; their checkpoints are in the database

    def _steps(self, batch_id: str, deadline: float) -> bool:
        while True:
            row = self.store.row("SELECT * FROM batches WHERE id = ?", (batch_id,))
            if row is None or row["deleted"] == 1:
                self._remove(batch_id)
                return False
            if row["state"] not in ("PENDING", "RUNNING"):
                return False
            now = self.clock.now()
            outcome = (self.faults.outcome(row) if self.faults.job else None) or terms.outcome(row)
            step, target = next_step(row, now, outcome)
            if step == "start" and self.limits.waits(row):
                step = "expire" if now >= row["expires"] else "wait"
            match step:
                case "wait":
                    return False
                case "work":
                    self._work(row, target, deadline)
                    if self.stop.is_set() or self.monotonic() >= deadline:
                        return not self.stop.is_set()
                case _:
                    self._turn(row, step, now, outcome)

    def _turn(self, row: sqlite3.Row, step: Step, now: int, outcome: Outcome | None) -> None:
        """Take a step that needs no work on rows."""
        match step:
            case "end":
                assert outcome is not None
                if outcome.keep:
                    self._publish(row, outcome.state, error=outcome.error)
                else:
                    self._end(row, outcome.state, error=outcome.error)
            case "cancel":
                self._end(row, "CANCELLED", error=(13, f"Batch {row['id']} failed without error."))
            case "expire":
                if terms.keeps(row):
                    self._publish(row, "EXPIRED")
                else:
                    self._end(row, "EXPIRED")
            case "start":
                begun = now if self.limits.quotas.when_full == "wait" else row["due"]
                self._update(
                    row,
                    "state = 'RUNNING', updated = :now, due = max(due, :begun), expires = :expires",
                    now=now,
                    begun=begun,
                    expires=terms.expiry(row, max(row["due"], begun)),
                )
            case "cut":
                self._update(row, "cut = :cut", cut=allowed(row, row["cancelled"]))
            case "finish":
                self._publish(row, terms.success(row))
            case "wait" | "work":
                raise AssertionError(step)

    def _work(self, row: sqlite3.Row, target: int, deadline: float) -> None:
        try:
            if not Work(self, row, target, deadline).run():
                self.restart(row)
        except ApiFailure as failure:
            self._end(row, "FAILED", error=(13, failure.message))

    def _update(self, row: sqlite3.Row, change: str, **values: Any) -> None:
        with self.store.transaction() as db:
            db.execute(f"UPDATE batches SET {change} WHERE id = :id", {"id": row["id"], **values})  # noqa: S608 - our own words

    def _end(self, row: sqlite3.Row, state: str, error: tuple[int, str] | None = None) -> None:
        code, message = error or (None, None)
        self._update(
            row,
            "state = :state, ended = :now, updated = :now, error_code = :code, error_message = :message",
            state=state,
            now=self.clock.now(),
            code=code,
            message=message,
        )
        self._discard(row)

    def _discard(self, row: sqlite3.Row) -> None:
        """Remove an output that no one will see, after recording what was paid for."""
        self.forget(row["id"])
        spent.keep(self.store, row)
        self.store.partial(row["id"]).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.store.output(row["id"]).unlink(missing_ok=True)
        self.store.drop_blob(row["input_blob"])

    def _publish(self, row: sqlite3.Row, state: str, error: tuple[int, str] | None = None) -> None:
        """Publish an output, complete or partial: first the file, then the state."""
        self.forget(row["id"])
        partial, output = self.store.partial(row["id"]), self.store.output(row["id"])
        if not row["row"]:
            jsonl.private_open(partial, "ab").close()
        if partial.exists():
            if partial.stat().st_size < row["out_offset"]:
                self.restart(row)
                return
            with partial.open("r+b") as file:
                file.truncate(row["out_offset"])
                os.fsync(file.fileno())
            publishing.publish(row, self.store, self.faults.changes(row) if self.faults.output else ())
            jsonl.sync_folder(output.parent)
        elif not output.exists():
            self.restart(row)
            return
        exported = row["shape"] in self.exports
        if exported:
            try:
                self.exports[row["shape"]](row, output)
            except ApiFailure as failure:
                self._end(row, "FAILED", error=(9, failure.message))
                return
        now = self.clock.now()
        code, message = error or (None, None)
        with self.store.transaction() as db:
            found = db.execute(
                """UPDATE batches SET state = :state, ended = :now, updated = :now, published = 1,
                error_code = :code, error_message = :message WHERE id = :id AND deleted != 1 RETURNING deleted""",
                {"state": state, "now": now, "code": code, "message": message, "id": row["id"]},
            ).fetchone()
            visible = found is not None and not found["deleted"]
            if row["input_file"] and visible:
                size, life = output.stat().st_size, round(self.limits.quotas.results_kept * SECOND)
                self.files.add_output(db, row, size=size, blob=output.name, now=now, life=life)
        if visible:
            self.store.drop_blob(row["input_blob"])
            if exported:
                output.unlink(missing_ok=True)
        else:
            self._discard(row)

    def restart(self, row: sqlite3.Row) -> None:
        """Start over: the output is shorter than its checkpoint, as after a power loss."""
        self.store.partial(row["id"]).unlink(missing_ok=True)
        self._update(
            row,
            "row = 0, in_offset = 0, out_offset = 0, succeeded = 0, failed = 0, prompt_tokens = 0, cached_tokens = 0, "
            "output_tokens = 0",
        )

    def _remove(self, batch_id: str) -> None:
        self.forget(batch_id)
        row = self.store.row("SELECT * FROM batches WHERE id = ?", (batch_id,))
        if row is not None:
            self._discard(row)
