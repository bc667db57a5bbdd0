"""``doctor``: check the ledger and the run folders against each other and against the service.

Looking changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from gemini_batch.commands.list_jobs import unknown
from gemini_batch.errors import Error, Next, ServiceError, UsageError
from gemini_batch.jsonl import sha256_of
from gemini_batch.report.job_view import RunState
from gemini_batch.report.next_steps import next_for_run, to_adopt
from gemini_batch.store.integrity import damage, missing, way_back
from gemini_batch.store.ledger.records import InputFile, Job, JobStage, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.session import Session
    from gemini_batch.store.state_folder import RunFolder, StateFolder


#: An input file that expires within this time while its job has not ended is reported: later rows may miss it.
_NEAR = 12 * 3600.0


#: So many of the largest runs are named.
_LARGEST = 3


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A problem, or something worth knowing (``note``)."""

    level: Literal["problem", "note"]
    """`problem` makes the exit code 1; `note` does not."""
    about: str
    """File, run or job that the finding is about."""
    message: str
    """What was found."""
    next: str | Next | None = None
    """What to do about it."""


class RunSize(msgspec.Struct, frozen=True):
    """How much room a run takes."""

    run: str
    """Id of the run, `run-…`."""
    size: int
    """Bytes of its folder."""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks found."""

    findings: list[Finding]
    """Everything that was found."""
    runs: int
    """Number of runs that were checked."""
    jobs: int
    """Number of jobs that were checked."""
    size: int
    """Bytes that the state folder takes on this machine."""
    largest: list[RunSize]
    """The largest runs."""
    asked_service: bool
    """False if there was no API key or no answer."""

    @property
    def healthy(self) -> bool:
        """Whether there is no problem; notes do not count."""
        return not any(finding.level == "problem" for finding in self.findings)


async def doctor(session: Session) -> Diagnosis:
    """Check the ledger's invariants, the run folders, and (with a key) the service's list of jobs.

    Raises StateError for a ledger that cannot be opened.
    """
    findings: list[Finding] = []
    jobs: list[tuple[Run, Job]] = []
    runs: list[str] = []
    state_folder = session.state_folder
    session.name_empty_state_folder()
    if state_folder.exists():
        ledger = session.ledger()
        runs = sorted(run.id for run in ledger.runs())
        findings += [
            Finding(
                level="problem",
                about=str(ledger.path),
                message=f"SQLite finds the ledger damaged: {line}.",
                next="Copy the file before anything else writes to it.",
            )
            for line in ledger.integrity()
        ]
        jobs = list(ledger.jobs())
        for run, job in jobs:
            findings += _check_life(state_folder, run, job)
            try:
                findings += list(_check_folder(state_folder, run, job, offline=session.settings.offline))
            except (OSError, Error) as error:  # what cannot be read is one more thing to report
                about, message = job.batch or run.id, f"The run folder cannot be read: {error}."
                findings.append(Finding(level="problem", about=about, message=message))
        findings += _check_files(session, ledger.files(), {job.id: job for _, job in jobs})
        findings += _orphans(state_folder, set(runs))
    asked = False
    try:
        ours = session.key_fingerprint() if state_folder.exists() else None
        if ours is not None:
            findings += _other_keys(jobs, ours)
            findings += await _remote(session)
            asked = True
    except UsageError:
        findings.append(Finding(level="note", about="service", message="No API key, so the service was not checked."))
    except ServiceError as error:
        findings.append(
            Finding(level="note", about="service", message=f"The service could not be checked: {error.message}")
        )
    return Diagnosis(
        findings=findings,
        runs=len(runs),
        jobs=len(jobs),
        size=state_folder.size(),
        largest=_largest(state_folder),
        asked_service=asked,
    )


def _check_life(state_folder: StateFolder, run: Run, job: Job) -> Iterator[Finding]:
    """The columns of a job must fit the stage that it says it has reached."""
    made = job.stage.made
    wrong = [
        ("it is created but has no name", made and job.batch is None),
        ("it has a name but is not created", not made and job.batch is not None),
        ("it is intended but has no time of the intent", job.stage is JobStage.INTENDED and job.intended_at is None),
        ("it is collected but has no time of collection", job.stage is JobStage.COLLECTED and job.collected_at is None),
        ("it holds no requests", job.requests < 1 and job.sha256 is not None),
    ]
    for message, is_so in wrong:
        if is_so:
            yield Finding(
                level="problem",
                about=job.batch or job.id,
                message=f"The ledger contradicts itself: {message}.",
                next="Copy the state folder before anything else. This is a fault in gemini-batch.",
            )
    if job.in_doubt:
        lost = not state_folder.run(run.id).path.is_dir()
        yield Finding(
            level="note",
            about=job.run,
            message="A create call got no answer; the job may exist.",
            next=next_for_run(run, RunState.NOT_CREATED.value, waiting=0, in_doubt=True, lost=lost),
        )


def _check_folder(state_folder: StateFolder, run: Run, job: Job, *, offline: bool) -> Iterator[Finding]:
    """A run's own files must be what the ledger says they are."""
    folder = state_folder.run(run.id)
    about = job.batch or run.id
    if run.freed_at is not None:
        if not folder.row_database.exists():
            message = f"Its verdicts, tokens and cost are gone: {folder.row_database}."
            yield Finding(level="problem", about=about, message=message, next="Restore the file from a backup.")
        return
    if run.requests_known and folder.path.is_dir() and (wrong := _of_requests(folder, run)) is not None:
        kept = "Its answers are not affected. A retry needs the requests: restore them from a backup, or do not retry."
        yield Finding(level="problem", about=about, message=wrong, next=kept)
    if job.stage is JobStage.COLLECTED or not folder.path.is_dir():
        following = way_back(about, offline=offline)
        if job.batch is None:
            in_doubt = job.stage is JobStage.INTENDED
            following = next_for_run(run, RunState.NOT_CREATED.value, waiting=0, in_doubt=in_doubt, lost=True)
        try:
            for message in missing(folder, run):
                yield Finding(level="problem", about=about, message=message, next=following)
            if folder.row_database.exists():
                for one in damage(folder, only=job):
                    step = Next("results", about, "-o", "results.jsonl", why="fetches it again if it still can")
                    yield Finding(level="problem", about=about, message=one.what, next=step)
        except Error as error:
            yield Finding(level="problem", about=about, message=error.message, next=error.next or following)


def _of_requests(folder: RunFolder, run: Run) -> str | None:
    """What is wrong with the requests of a run; those in a bucket are not read whole."""
    if folder.in_bucket(None):
        try:
            folder.open_requests().close()
        except Error as error:
            return f"Its requests cannot be read: {error.place}: {error.message}"
    elif not folder.requests.exists():
        return f"Its requests are gone: {folder.requests}."
    elif sha256_of(folder.requests) != run.sha256:
        return f"Its requests were changed after they were sent: {folder.requests}."
    return None


def _check_files(session: Session, files: list[InputFile], jobs: dict[str, Job]) -> Iterator[Finding]:
    now = session.world.now()
    for file in files:
        job = jobs.get(file.job)
        if job is None or job.stage is not JobStage.CREATED or file.expires_at is None:
            continue
        left = file.expires_at - now
        if 0 < left < _NEAR:
            yield Finding(
                level="note",
                about=job.batch or job.id,
                message=f"Its input file expires in {left / 3600:.1f} h, and the job is still in {job.state}.",
            )


def _largest(state_folder: StateFolder) -> list[RunSize]:
    """The largest run folders, whether or not they have jobs."""
    folders = (state_folder.path / "runs").glob("run-*")
    sizes = [RunSize(path.name, state_folder.run(path.name).size()) for path in sorted(folders)]
    return sorted(sizes, key=lambda one: -one.size)[:_LARGEST]


def _orphans(state_folder: StateFolder, known: set[str]) -> Iterator[Finding]:
    runs = state_folder.path / "runs"
    for path in sorted(runs.glob("run-*")) if runs.is_dir() else ():
        if path.name not in known:
            yield Finding(
                level="note",
                about=str(path),
                message="A run folder that is not in the ledger: a process ended while creating it.",
                next="Nothing in it was sent. You can delete it.",
            )


def _other_keys(jobs: list[tuple[Run, Job]], ours: str) -> Iterator[Finding]:
    others = [job for _, job in jobs if job.key_fingerprint != ours and job.stage is JobStage.CREATED]
    if others:
        names = ", ".join(job.batch or job.id for job in others[:3]) + (", …" if len(others) > 3 else "")
        yield Finding(
            level="note",
            about="keys",
            message=f"Active jobs of another API key, which this key cannot poll: {len(others)} ({names}).",
        )


async def _remote(session: Session) -> list[Finding]:
    return [
        Finding(
            level="note",
            about=one.job or "",
            message=f"A job at the service that was not made on this machine: {one.name or 'no name'}, {one.state}.",
            next=to_adopt(one.job or ""),
        )
        for one in await unknown(session)
    ]
