"""``results``: every key of a run with its one answer, in the order of the input, from wherever the answers are."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shlex
import stat
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from gemini_batch import catalog
from gemini_batch.errors import ApiError, NotFinished, StateError, UsageError
from gemini_batch.jsonl import atomic_write
from gemini_batch.results.export import result_line
from gemini_batch.results.verdict import VERDICTS, Answer, judge, parse_line
from gemini_batch.runs.again import what_next
from gemini_batch.runs.collect import collect
from gemini_batch.runs.events import Said
from gemini_batch.runs.held import check_held
from gemini_batch.runs.home import is_one_job
from gemini_batch.runs.names import check_name, helped
from gemini_batch.runs.part import open_rows
from gemini_batch.runs.payment import elsewhere, says_emulated
from gemini_batch.runs.rawfiles import RawFiles
from gemini_batch.runs.records import Life
from gemini_batch.runs.sqlite import state_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gemini_batch.results.media import MediaWriter
    from gemini_batch.runs.home import Home, RunFolder
    from gemini_batch.runs.records import Job, Run
    from gemini_batch.runs.rowtypes import FinalRow, Reason
    from gemini_batch.runs.session import Session, Target

#: An answer is looked for among so many of the first requests, to see who wrote it.
_FIRST_ROWS = 1000
#: Prompts longer than this cost more with some models (docs/service.md).
LONG_PROMPT = 200_000


class TokenCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of all answers received, by kind, as the service counts them; ``unknown`` answers carried no counts."""

    input: int
    cached: int
    output: int
    thoughts: int
    tool_use: int
    unknown: int


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """USD at batch price beside the interactive price; None where a price is not known."""

    batch: float | None
    interactive: float | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run; ``job`` is its one job, None where it has several.

    ``backend`` is the address that answered, or ``offline``; ``emulated``: the answers say that an emulator wrote them.
    ``quarantined`` are answer lines that belong to no request, ``repeated`` second answers. ``unanswered`` counts how
    often a request was in a job without an answer: nobody says whether that was billed.
    """

    job: str | None
    run: str
    name: str
    state: str
    model: str
    backend: str
    offline: bool
    emulated: bool
    requests: int
    verdicts: dict[str, int]
    failures: list[Reason]
    quarantined: dict[str, int]
    repeated: int
    unanswered: int
    unknown_keys: int
    tokens: TokenCounts
    usd: Money
    error: str | None
    folder: str
    next: str | None

    @property
    def answered(self) -> int:
        """Requests that have an answer of any kind."""
        return self.requests - self.verdicts.get("missing", 0)

    @property
    def all_succeeded(self) -> bool:
        """Whether every request has a good answer."""
        return self.requests > 0 and self.verdicts.get("succeeded", 0) == self.requests and not self.unknown_keys

    @property
    def exit_code(self) -> int:
        """0: every row succeeded; 1: there are results, but some rows did not; 5: there is nothing."""
        if self.all_succeeded:
            return 0
        return 1 if self.answered else 5


@dataclass(frozen=True, slots=True)
class Results:
    """The results of one run, held on this machine; reading them needs no network."""

    run: Run
    jobs: Sequence[Job]
    home: Home
    summary: Summary
    #: The one job whose own answers these are, where its run has several; None for all of a run.
    part: Job | None = None

    @property
    def _folder(self) -> RunFolder:
        return self.home.run(self.run.id)

    def lines(self, *, media: MediaWriter | None = None, limit: int | None = None) -> Iterator[bytes]:
        """The result lines (docs/result-line.md) without line ends, in input order, one a key, at most ``limit``."""
        folder = self._folder
        with contextlib.ExitStack() as stack:
            rows = stack.enter_context(open_rows(folder, self.part))
            raw = stack.enter_context(RawFiles(folder.path / "raw"))
            for number, row in enumerate(rows.final()):
                if limit is not None and number >= limit:
                    return
                yield self._line(row, None if row.file is None else raw[row.file], media)

    def _line(self, row: FinalRow, file: IO[bytes] | None, media: MediaWriter | None) -> bytes:
        if file is None:
            return result_line(
                row.key,
                "missing",
                reason=row.missing_reason,
                method=self.run.method,
                attempt=row.attempt,
            )
        file.seek(row.offset)
        answer = parse_line(file.read(row.length))
        if not isinstance(answer, Answer):  # it was one when it was judged, and raw files never change
            raise StateError(f"An answer file was changed: {file.name}.", file=self._folder.path)
        if row.verdict == "succeeded":  # there are no words to find for it, so it is not judged a second time
            return result_line(
                row.key,
                "succeeded",
                response=answer.response,
                method=self.run.method,
                attempt=row.attempt,
                media=media,
            )
        judged = judge(answer, method=self.run.method, expects_json=row.expects_json, dimension=row.dimension)
        return result_line(
            row.key,
            judged.verdict,
            reason=judged.reason,
            code=judged.code,
            message=judged.message,
            response=None if answer.response is None else bytes(answer.response),
            method=self.run.method,
            attempt=row.attempt,
            media=media,
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The same as decoded objects."""
        for line in self.lines():
            yield msgspec.json.decode(line)

    def __len__(self) -> int:
        return self.run.requests if self.part is None else self.part.requests

    def write(self, path: Path, *, media: MediaWriter | None = None) -> int:
        """Write all result lines to ``path``: complete or not at all; returns how many.

        Raises UsageError where the file is one that must not be replaced, StateError where it cannot be written.
        """
        check_output(path)
        try:
            # Asked of the name itself: what /dev/stdout or a shell's >(…) leads to has no name that could be renamed.
            regular = not path.exists() or stat.S_ISREG(path.stat().st_mode)
            with atomic_write(Path(os.path.realpath(path))) if regular else path.open("wb") as file:
                count = 0
                for line in self.lines(media=media):
                    file.write(line + b"\n")
                    count += 1
                if self.run.origin == "made" and count != len(self):
                    # Raised before the file takes its place: no good results are replaced by fewer.
                    raise StateError(f"Only {count:,} of {len(self):,} results are here.", file=self._folder.path)
        except OSError as error:
            raise state_error(error, path, "results file") from error
        return count


def check_output(path: Path) -> None:
    """Refuse to write results where they would replace anything but results, or where they cannot be written."""
    if path.is_dir():
        raise UsageError("This is a folder.", file=path, field="--output", code="bad_output", next="Name a file in it.")
    if not path.parent.is_dir():
        raise UsageError(
            "The folder for the results does not exist.",
            file=path.parent,
            field="--output",
            code="bad_output",
            next=f"Type: mkdir -p {shlex.quote(str(path.parent))}",
        )
    if not path.is_file() or not path.stat().st_size or _holds_results(path):
        return
    raise UsageError(
        "This file exists and holds something else than results; it would be lost.",
        file=path,
        field="--output",
        code="bad_output",
        next="Choose another name (results.jsonl for example), or move the file away.",
    )


def failures_beside(output: Path) -> Path:
    """Where what has no good answer goes: ``failures.jsonl``, or ``NAME.failures.jsonl`` for another name."""
    return output.with_name("failures.jsonl" if output.stem == "results" else f"{output.stem}.failures.jsonl")


def _holds_results(path: Path) -> bool:
    """Whether the first line is one of ours, so that writing the file anew loses nothing."""
    try:
        with path.open("rb") as file:
            first = file.readline(1 << 24)
        line = msgspec.json.decode(first)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False
    return isinstance(line, dict) and {"key", "verdict"} <= line.keys()


async def results(session: Session, name: str) -> Results:
    """Collect a job's answers if they are not held yet, and describe what came of it.

    Raises NotFinished while the job is alive, JobError where there is nothing, UsageError, ServiceError, StateError.
    """
    check_name(name)
    target = session.locate(name)
    offline = session.settings.offline
    if target.run is not None:
        jobs = _counted(session, target.home, target.run)
        if target.run.origin == "made" and not is_one_job(target.home.run(target.run.id), target.run, jobs):
            if not name.startswith("run-"):
                return _of_one_job(session, target, len(jobs))
            check_held(target.home.run(target.run.id), target.run, name, offline=offline)
            _check_finished(target, jobs)
            return Results(target.run, jobs, target.home, summarize(target.home, target.run, jobs, offline=offline))
    try:
        run, job = await collect(session, target)
    except ApiError as error:
        raise helped(session, target, error) from error
    check_held(target.home.run(run.id), run, target.name, offline=offline)
    return Results(run, [job], target.home, summarize(target.home, run, [job], offline=offline))


def _of_one_job(session: Session, target: Target, jobs: int) -> Results:
    """What one job of several has answered itself. Raises NotFinished where that is not held here yet."""
    run, job = target.run, target.job
    assert run is not None
    assert job is not None
    if job.life is not Life.COLLECTED:
        raise NotFinished(
            f"{target.name} is a part of {run.id}, and its answers are not collected yet ({job.state}).",
            job=target.name,
            state=job.state or "",
            next=f"Type: gemini-batch run {run.id}",
        )
    check_held(target.home.run(run.id), run, target.name, offline=session.settings.offline)
    of = f"one of {jobs} jobs of {run.id}" if jobs > 1 else f"a job of {run.id}, which has more to send"
    whole = f"For all of the run: gemini-batch {'results' if jobs > 1 else 'run'} {run.id}"
    session.tell(Said(f"{target.name} is {of}; these are its own answers.", next=whole))
    summary = summarize(target.home, run, [job], offline=session.settings.offline, part=job)
    return Results(run, [job], target.home, summary, part=job)


def _counted(session: Session, home: Home, run: Run) -> list[Job]:
    return session.ledger(home).jobs_of(run.id)


def _check_finished(target: Target, jobs: Sequence[Job]) -> None:
    """A run of several jobs is read as a whole, once nothing of it is alive and every request was sent.

    What only waits for another attempt, or is planned for one that the service may have refused, keeps nothing back.
    """
    run = target.run
    assert run is not None
    planned = [job.ordinal for job in jobs if not job.life.made and job.life is not Life.INTENDED]
    with target.home.run(run.id).rows() as rows:
        waiting, unsent = rows.waiting().requests, rows.unsent(planned)
    done = sum(job.life is Life.COLLECTED for job in jobs)
    if unsent or done + len(planned) < len(jobs):
        raise NotFinished(
            f"{run.id} is not finished: {done} of {len(jobs)} jobs are collected, and {waiting:,} requests wait.",
            job=run.id,
            state="RUNNING",
            next=f"Type: gemini-batch run {run.id}",
        )


def summarize(home: Home, run: Run, jobs: Sequence[Job], *, offline: bool, part: Job | None = None) -> Summary:
    """What came of a run whose jobs are collected, or of one of them (``part``), from the run's rows alone."""
    with open_rows(home.run(run.id), part) as rows:
        counts = rows.counts()
        usage = rows.usage(LONG_PROMPT)
        failures = rows.reasons()
        quarantined, repeated, unanswered = rows.quarantined(), rows.repeated(), rows.unanswered()
    requests = sum(counts.values())
    total = sum(job.total or 0 for job in jobs)
    states = {job.state for job in jobs if job.state} or {""}
    return Summary(
        job=jobs[0].batch if len(jobs) == 1 else None,
        run=run.id,
        name=jobs[-1].display_name if jobs else "",
        state=states.pop() if len(states) == 1 else f"{len(jobs)} jobs: {', '.join(sorted(states))}",
        model=", ".join(dict.fromkeys(job.model for job in jobs)) or run.model,
        backend=run.backend,
        offline=offline,
        emulated=offline or (elsewhere(run.backend) is not None and _says_emulated(home.run(run.id))),
        requests=requests,
        verdicts={verdict: counts.get(verdict, 0) for verdict in VERDICTS if counts.get(verdict)},
        failures=failures,
        quarantined=quarantined,
        repeated=repeated,
        unanswered=unanswered,
        # A line that has lost its key is an answer to one of these, and nobody can say to which.
        unknown_keys=max(0, total - requests) if run.origin == "adopted" else 0,
        tokens=TokenCounts(
            input=sum(u["input"] for u in usage),
            cached=sum(u["cached"] for u in usage),
            output=sum(u["output"] for u in usage),
            thoughts=sum(u["thoughts"] for u in usage),
            tool_use=sum(u["tool_use"] for u in usage),
            unknown=sum(u["answers"] - u["known"] for u in usage),
        ),
        usd=money(run, jobs, usage),
        error=next((job.error_message for job in jobs if job.error_message), None),
        folder=str(home.run(run.id).path),
        next=what_next(run, jobs, counts, failures) if part is None else None,
    )


def _says_emulated(folder: RunFolder) -> bool:
    """Whether the first answer says that no model of Google's wrote it."""
    with folder.rows() as rows:
        answered = (row for row in islice(rows.final(), _FIRST_ROWS) if row.verdict not in {None, "failed"})
        first = next(answered, None)
    if first is None or first.file is None:
        return False
    try:
        with (folder.path / "raw" / first.file).open("rb") as file:
            file.seek(first.offset)
            answer = parse_line(file.read(first.length))
    except OSError:
        return False
    return isinstance(answer, Answer) and answer.response is not None and says_emulated(bytes(answer.response))


def money(run: Run, jobs: Sequence[Job], usage: list[Any]) -> Money:
    """What the answers cost on the day the first job was made; unknown as soon as one part is."""
    made = min((job.created_at for job in jobs if job.created_at), default=run.created_at)
    day = dt.datetime.fromtimestamp(made, dt.UTC).date()
    models = {job.ordinal: job.model for job in jobs}
    if not usage or any(u["known"] < u["answers"] for u in usage):
        return Money(batch=None, interactive=None)
    cost = catalog.Cost()
    for u in usage:
        model = catalog.load().find(models.get(u["source"], run.model))
        price = model.price_on(day) if model else None
        if price is None:
            return Money(batch=None, interactive=None)
        tokens = catalog.Tokens(
            input=max(0, u["input"] + u["tool_use"] - u["cached"] - u["audio_input"]),
            cached=u["cached"],
            output=max(0, u["output"] - u["image_output"]) + u["thoughts"],
            audio_input=u["audio_input"],
            image_output=u["image_output"],
            long=bool(u["long"]),
        )
        part = price.cost(tokens)
        if part is None:
            return Money(batch=None, interactive=None)
        cost += part
    return Money(batch=cost.batch, interactive=cost.interactive)
