"""The ledger: the SQLite database of all runs, jobs, files and intents. It is the audit trail.

What always holds:

- An intent is committed before the create call that it announces; the answer is committed right after.
- A job's stage only moves forward (``planned → uploaded → intended → created → ended → collected``), with two
  exceptions: a create that was certainly refused returns its job to ``uploaded`` (``planned`` if it is inline), and a
  job whose input file expired before the create returns to ``planned``.
- A remote batch belongs to one job, and a file to the job that uploaded it.
- A job claims its requests in the transaction that writes its intent, and holds them until it is collected.
- No API key is stored: a salted fingerprint recognises it.

docs/ledger.md documents the schema and the views for users' own SQL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.store.ledger.queue_ledger import QueueLedger
from gemini_batch.store.ledger.records import (
    InputFile,
    Job,
    JobStage,
    OutputFile,
    Run,
    job_of,
    plain,
    run_of,
)
from gemini_batch.store.sqlite import explained, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from gemini_batch.wire import RemoteJob


_RUN_FIELDS = Run.__struct_fields__
_JOB_FIELDS = Job.__struct_fields__


class Ledger(QueueLedger):
    """The open database. Every method is one transaction."""

    def __enter__(self) -> Ledger:
        return self

    # Runs ------------------------------------------------------------------------------------------------------------

    def add_run(
        self, run: Run, job: Job | None, *, at: float, unless: str | None = None, instead: Job | None = None
    ) -> bool:
        """Insert a new run, with its first job if it has one.

        ``unless``: the known run with this identity; if another run is now the newest, nothing is inserted.
        ``instead``: the same job as it was entered before its requests were known; its run is forgotten.
        Returns False if another process has meanwhile created a run with the same identity, or for the same batch.
        """
        with explained(self.path, "ledger"), transaction(self._db):
            batch = job.batch if job else None
            if instead is not None:
                self._db.execute("DELETE FROM jobs WHERE id = ?", (instead.id,))
                self._db.execute("UPDATE runs SET forgotten_at = ? WHERE id = ?", (at, instead.run))
            if batch is not None and self._db.execute("SELECT 1 FROM jobs WHERE batch = ?", (batch,)).fetchone():
                return False
            if run.identity is not None:
                newest = self._db.execute(
                    "SELECT id FROM runs WHERE identity = ? AND freed_at IS NULL "
                    "ORDER BY created_at DESC, rowid DESC LIMIT 1",
                    (run.identity,),
                ).fetchone()
                if (newest["id"] if newest else None) != unless:
                    return False
            marks = ", ".join("?" * len(_RUN_FIELDS))
            self._db.execute(
                f"INSERT INTO runs ({', '.join(_RUN_FIELDS)}) VALUES ({marks})",  # noqa: S608 - names are our own
                [plain(getattr(run, name)) for name in _RUN_FIELDS],
            )
            if job is not None:
                self._insert_job(job)
            self._event(
                at, run.id, job.id if job else None, f"run {run.origin}", {"model": run.model, "requests": run.requests}
            )
        return True

    def add_job(self, job: Job, *, at: float) -> None:
        """Insert one more job of a run."""
        with explained(self.path, "ledger"), transaction(self._db):
            self._insert_job(job)
            self._event(at, job.run, job.id, "planned", {"requests": job.requests, "bytes": job.bytes})

    def _insert_job(self, job: Job) -> None:
        marks = ", ".join("?" * len(_JOB_FIELDS))
        self._db.execute(
            f"INSERT INTO jobs ({', '.join(_JOB_FIELDS)}) VALUES ({marks})",  # noqa: S608 - names are our own
            [plain(getattr(job, name)) for name in _JOB_FIELDS],
        )

    def run(self, run_id: str) -> Run | None:
        """The run with that id."""
        rows = self._read("SELECT * FROM runs WHERE id = ?", run_id)
        return run_of(rows[0]) if rows else None

    def runs(self) -> list[Run]:
        """All runs, newest first."""
        return [run_of(row) for row in self._read("SELECT * FROM runs ORDER BY created_at DESC, rowid DESC")]

    def run_of(self, job: Job) -> Run:
        """The run of a job."""
        return run_of(self._read("SELECT * FROM runs WHERE id = ?", job.run)[0])

    def set_options(self, run: Run, options: str, *, at: float) -> Run:
        """Record the options of a run; returns the run with them."""
        with explained(self.path, "ledger"), transaction(self._db):
            self._db.execute("UPDATE runs SET options = ? WHERE id = ?", (options, run.id))
            self._event(at, run.id, None, "options", {"options": options})
        found = self.run(run.id)
        assert found is not None
        return found

    def set_forgotten(self, run: Run, *, at: float, forgotten: bool) -> None:
        """Hide a run that was never sent from the list, or show it again."""
        with explained(self.path, "ledger"), transaction(self._db):
            self._db.execute("UPDATE runs SET forgotten_at = ? WHERE id = ?", (at if forgotten else None, run.id))
            self._event(at, run.id, None, "forgotten" if forgotten else "wanted again", {})

    def newest_with_identity(self, identity: str, *, written: bool = False) -> Run | None:
        """The newest run with the same requests, model and backend whose answers were not deleted.

        ``written``: a shard counts also if its answers are only in its results.
        """
        sql = (
            "SELECT * FROM runs WHERE identity = ? AND (freed_at IS NULL OR (? AND in_place)) "
            "ORDER BY created_at DESC, rowid DESC LIMIT 1"
        )
        rows = self._read(sql, identity, written)
        return run_of(rows[0]) if rows else None

    def set_shards(self, run: Run, shards: str, *, at: float) -> Run:
        """Record that a manifest names a run now, whose limits hold for it; returns the run with it."""
        with explained(self.path, "ledger"), transaction(self._db):
            self._db.execute("UPDATE runs SET shards = ? WHERE id = ?", (shards, run.id))
            self._event(at, run.id, None, "named by a manifest", {"shards": shards})
        found = self.run(run.id)
        assert found is not None
        return found

    def earlier_with_identity(self, run: Run) -> list[Run]:
        """The runs that were made of the same requests, model and backend before this one, newest first."""
        sql = (
            "SELECT * FROM runs WHERE identity = ? AND freed_at IS NULL "
            "AND rowid < (SELECT rowid FROM runs WHERE id = ?) ORDER BY created_at DESC, rowid DESC"
        )
        return [run_of(row) for row in self._read(sql, run.identity, run.id)]

    def runs_of_shape(self, shape: str, model: str, backend: str) -> list[Run]:
        """The runs whose requests ask the same of the same model, newest first."""
        sql = "SELECT * FROM runs WHERE shape = ? AND model = ? AND backend = ? ORDER BY created_at DESC, rowid DESC"
        return [run_of(row) for row in self._read(sql, shape, model, backend)]

    def has_run_of(self, size: int) -> bool:
        """Whether any run has requests of this size in bytes."""
        return bool(self._read("SELECT 1 FROM runs WHERE bytes = ? LIMIT 1", size))

    # Jobs ------------------------------------------------------------------------------------------------------------

    def job(self, job_id: str) -> Job:
        """The job with that id, which must exist."""
        return job_of(self._read("SELECT * FROM jobs WHERE id = ?", job_id)[0])

    def job_by_batch(self, batch: str) -> Job | None:
        """The job whose remote batch has this name (``batches/…``)."""
        rows = self._read("SELECT * FROM jobs WHERE batch = ?", batch)
        return job_of(rows[0]) if rows else None

    def batches(self) -> frozenset[str]:
        """The names of all remote batches in the ledger."""
        return frozenset(row["batch"] for row in self._read("SELECT batch FROM jobs WHERE batch IS NOT NULL"))

    def jobs_of(self, run_id: str) -> list[Job]:
        """The jobs of a run, oldest first, without those that were dropped before they were created."""
        return [job for job in self.all_jobs_of(run_id) if job.dropped_at is None]

    def all_jobs_of(self, run_id: str) -> list[Job]:
        """Every job that was ever planned for a run, oldest first."""
        return [job_of(row) for row in self._read("SELECT * FROM jobs WHERE run = ? ORDER BY ordinal", run_id)]

    def jobs(self) -> Iterator[tuple[Run, Job]]:
        """All jobs with their runs, newest first."""
        for row in self._read("SELECT * FROM jobs ORDER BY coalesce(created_at, intended_at) DESC, rowid DESC"):
            run = self.run(row["run"])
            assert run is not None
            yield run, job_of(row)

    def durations(self, model: str) -> list[float]:
        """The durations, in seconds, of a model's succeeded jobs, oldest first."""
        sql = (
            "SELECT ended_at - created_at AS took FROM jobs "
            "WHERE model = ? AND via = 'batch' AND phase = 'succeeded' AND ended_at >= created_at ORDER BY ended_at"
        )
        return [row["took"] for row in self._read(sql, model)]

    def files(self) -> list[InputFile]:
        """The input files that jobs of this ledger uploaded and that are not known to be deleted, oldest first."""
        rows = self._read("SELECT * FROM files WHERE deleted_at IS NULL ORDER BY uploaded_at")
        return [InputFile(**{name: row[name] for name in InputFile.__struct_fields__}) for row in rows]

    def file_gone(self, file: InputFile, *, at: float, why: str) -> None:
        """Record that the service no longer has an input file."""
        with explained(self.path, "ledger"), transaction(self._db):
            self._db.execute("UPDATE files SET deleted_at = ? WHERE name = ?", (at, file.name))
            self._event(at, None, file.job, f"file {why}", {"file": file.name, "bytes": file.bytes})

    def update_job(
        self,
        job: Job,
        what: str,
        *,
        at: float,
        claim: Callable[[sqlite3.Connection], None] | None = None,
        **changes: object,
    ) -> Job:
        """Write ``changes`` to a job, with an event that says what happened; returns the changed job.

        ``claim``: claims its requests in the same transaction; what it raises undoes everything.
        """
        with explained(self.path, "ledger"), transaction(self._db):
            if claim is not None:
                claim(self._db)
            self._set(job.id, changes)
            self._event(at, job.run, job.id, what, {n: plain(v) for n, v in changes.items() if n != "upload_url"})
        return self.job(job.id)

    def uploaded(self, job: Job, *, at: float, name: str, size: int, sha256: str, expires_at: float | None) -> Job:
        """Record that the service has a job's input file."""
        with explained(self.path, "ledger"), transaction(self._db):
            self._db.execute(
                "INSERT OR REPLACE INTO files (name, job, bytes, sha256, uploaded_at, expires_at) VALUES (?,?,?,?,?,?)",
                (name, job.id, size, sha256, at, expires_at),
            )
            self._set(job.id, {"stage": JobStage.UPLOADED, "upload_url": None})
            self._event(at, job.run, job.id, "uploaded", {"file": name, "bytes": size})
        return self.job(job.id)

    def input_gone(self, job: Job, *, at: float) -> Job:
        """Record that a job's input file is gone before the job was created: it must be uploaded again."""
        with explained(self.path, "ledger"), transaction(self._db):
            self._db.execute("UPDATE files SET deleted_at = ? WHERE name = ?", (at, job.file))
            self._set(job.id, {"stage": JobStage.PLANNED, "file": None, "upload_url": None})
            self._event(at, job.run, job.id, "input file gone", {"file": job.file})
        return self.job(job.id)

    def seen(self, job: Job, remote: RemoteJob, *, at: float) -> Job:
        """Record what the service says of a job; an event is written only if the state changed.

        It is compared with what is recorded at this moment: an older poll never overwrites a newer one, nor what is
        collected.
        """
        changes: dict[str, object] = {
            "state": remote.state,
            "phase": remote.phase,
            "total": remote.total,
            "succeeded": remote.succeeded,
            "failed": remote.failed,
            "pending": remote.pending,
            "error_code": remote.error_code,
            "error_message": remote.error_message,
            "output_file": remote.output_file,
            "seen_at": at,
        }
        with explained(self.path, "ledger"), transaction(self._db):
            now = self.job(job.id)
            if now.stage is JobStage.COLLECTED or (now.stage is JobStage.ENDED and not remote.phase.ended):
                changes = {"seen_at": at}
            else:
                changes["created_at"] = now.created_at or remote.create_time or at
                if remote.phase.ended:
                    changes["ended_at"] = remote.end_time or now.ended_at or at
                    changes["stage"] = JobStage.ENDED if now.stage is JobStage.CREATED else now.stage
                if remote.state != now.state:
                    self._event(at, job.run, job.id, f"seen {remote.state}", {"was": now.state})
            self._set(job.id, changes)
        return self.job(job.id)

    def set_requests(self, run: Run, job: Job, requests: int, *, at: float) -> None:
        """Record how many requests an adopted run has; its answers show that."""
        with explained(self.path, "ledger"), transaction(self._db):
            self._db.execute("UPDATE runs SET requests = ? WHERE id = ?", (requests, run.id))
            self._set(job.id, {"requests": requests})
            self._event(at, run.id, job.id, "requests counted", {"requests": requests})

    def add_output(self, file: OutputFile) -> None:
        """Record a file that is written for the user; the newest file with the same content counts."""
        values = (file.sha256, file.kind, file.path, file.run, file.succeeded)
        with explained(self.path, "ledger"), transaction(self._db):
            self._db.execute("INSERT OR REPLACE INTO output_files VALUES (?, ?, ?, ?, ?)", values)

    def outputs_of(self, run: Run) -> list[OutputFile]:
        """The files that were written for the user of a run, newest first."""
        sql = "SELECT sha256, kind, path, run, succeeded FROM output_files WHERE run = ? ORDER BY rowid DESC"
        return [OutputFile(**dict(row)) for row in self._read(sql, run.id)]

    def output(self, sha256: str, path: str) -> OutputFile | None:
        """The file with this content that was written for the user, wherever it is; else that written to ``path``."""
        rows = self._read(
            "SELECT sha256, kind, path, run, succeeded FROM output_files WHERE sha256 = ? OR path = ? "
            "ORDER BY sha256 = ? DESC LIMIT 1",
            *(sha256, path, sha256),
        )
        return OutputFile(**dict(rows[0])) if rows else None
