"""What came of a run, in numbers: verdicts, tokens, money."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gemini_batch.answers.parse import Answer, parse_line
from gemini_batch.answers.reasons import VERDICTS
from gemini_batch.errors import Next  # noqa: TC001 - msgspec needs the type itself
from gemini_batch.events import RunProgress
from gemini_batch.prices import LONG_PROMPT
from gemini_batch.report.billing import elsewhere, says_emulated
from gemini_batch.report.job_view import RunFacts
from gemini_batch.report.money import NOTHING, AnsweredBy, AtMost, Meter, Money, answered_by, at_most
from gemini_batch.report.more_tokens import room_for_more
from gemini_batch.report.next_steps import Step, next_for_results
from gemini_batch.report.spending.before import Estimated, compare
from gemini_batch.store.job_rows import open_rows
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.rows.census import MISSING, Census
from gemini_batch.store.rows.conditions import COPY, REMEMBERED
from gemini_batch.tables.note import table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from gemini_batch.money.book import PriceBook
    from gemini_batch.report.spending.before import Sending
    from gemini_batch.report.stragglers import Oldest
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.rows.row_records import Reason
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder, StateFolder


#: An answer is looked for among so many of the first requests, to see who wrote it.
_FIRST_ROWS = 1000
#: The state of a run whose requests were all answered in other runs.
_NO_JOB = "no job"
#: So few repeated requests are not worth a word.
_FEW = 10


class TokenCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of all answers received, by kind, as the service counts them."""

    input: int
    """Tokens of the prompts, cached ones included."""
    cached: int
    """Tokens of the prompts that came from a cache."""
    output: int
    """Tokens of the answers, without thoughts."""
    thoughts: int
    """Tokens of the thoughts."""
    tool_use: int
    """Tokens of tool calls in the prompts."""
    unknown: int
    """Number of answers without token counts."""


def token_counts(usage: Sequence[Any]) -> TokenCounts:
    """The sums of ``usage``, as ``Rows.usage`` gives it."""
    return TokenCounts(
        input=sum(u["input"] for u in usage),
        cached=sum(u["cached"] for u in usage),
        output=sum(u["output"] for u in usage),
        thoughts=sum(u["thoughts"] for u in usage),
        tool_use=sum(u["tool_use"] for u in usage),
        unknown=sum(u["answers"] - u["known"] for u in usage),
    )


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a run or of one of its jobs."""

    job: str | None
    """Name of the only job; null if the run has several."""
    run: str
    """Id of the run, `run-…`."""
    name: str
    """Display name of the newest job."""
    state: str
    """State of the job, or the number of jobs and their states; `no job` if other runs have all answers."""
    model: str
    """Models that were asked, separated by commas."""
    answered_by: list[AnsweredBy]
    """Models that the answers name and that are not the model that was asked."""
    backend: str
    """Base URL that answered, or `offline`."""
    offline: bool
    """True if the local emulator answered."""
    emulated: bool
    """True if the answers say that an emulator wrote them."""
    requests: int
    """Number of requests that were sent, one result line each."""
    remembered: int
    """Those of `requests` that were answered before, in another run, and cost nothing here."""
    not_sent: int
    """Number of requests that were not sent; they have no result line."""
    held_back: int
    """Those of `not_sent` that `--limit` or `--sample` left out."""
    identical: int
    """Requests that repeat another one under another key, and were sent all the same."""
    skipped: dict[str, int]
    """Rows of the table that are never sent, by reason; empty while other rows wait to be sent."""
    verdicts: dict[str, int]
    """Number of requests by verdict."""
    failures: list[Reason]
    """Why requests did not succeed, by verdict, reason and message, most frequent first."""
    quarantined: dict[str, int]
    """Number of answer lines that belong to no request, by reason."""
    repeated: int
    """Number of second answers to the same request."""
    unanswered: int
    """How often a request was in a job and got no answer; it may have been billed."""
    possibly_paid: AtMost
    """What these attempts may have cost; it is not in `usd`."""
    unknown_keys: int
    """Requests of an adopted job whose keys are unknown here."""
    tokens: TokenCounts
    """Tokens of all answers received."""
    usd: Money
    """What the answers cost."""
    estimated: Estimated | None
    """What `run` and `retry` expected before they sent these requests; null if nothing was expected, or for a single
    job."""
    error: str | None
    """The service's message for a job that failed."""
    folder: str
    """Folder of the run, with the raw answers."""
    next: Next | str | None
    """What helps with rows that did not succeed: a command, or what to fix where no command helps."""
    next_steps: list[Step]
    """Everything that helps with them, in order. The first is `next`; several kinds of failure need more."""

    @property
    def repeats(self) -> bool:
        """Whether so many requests repeat another one that ``--dedupe`` is worth a word."""
        return many_identical(self.identical, self.requests)

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
        """0: every row that was to be sent succeeded; 1: some did not; 5: there is nothing."""
        if self.all_succeeded and self.not_sent <= self.held_back and not self.skipped:
            return 0
        return 1 if self.answered else 5


def many_identical(identical: int, requests: int) -> bool:
    """Whether more than one request in twenty repeats another one, and more than a few do."""
    return identical >= _FEW and identical * 20 > requests


def summarize(
    folder: StateFolder,
    run: Run,
    jobs: Sequence[Job],
    *,
    of: RunFacts | Job,
    prices: PriceBook,
    offline: bool,
    before: Sequence[Sending] = (),
) -> Summary:
    """What came of a run whose sent jobs are collected, or of one of these, from the run's rows alone.

    ``of``: what was just read of the run, or the job. ``before``: what was expected.
    """
    facts, only = (of, None) if isinstance(of, RunFacts) else (None, of)
    with open_rows(folder.run(run.id), jobs, only=only) as rows:
        counts = rows.census().verdicts() if facts is None else facts.verdicts
        requests = sum(counts.values())
        usage = rows.usage(LONG_PROMPT)
        failures = rows.reasons() if counts.get("succeeded", 0) < requests else []
        room = room_for_more(folder.run(run.id), run, jobs, rows, failures)
        quarantined, by_file = rows.quarantined(), rows.by_file()
        answered = {ordinal: one.requests for ordinal, one in by_file.items() if ordinal > 0}
        unanswered = rows.attempts() - sum(answered.values())
        unanswered += sum(job.doubtful for job in (jobs if only is None else [only]))
        possibly_paid = at_most(_unanswered(answered, jobs if only is None else [only], unanswered))
        identical = 0 if facts is None or facts.census.at(COPY) else rows.identical()
    table = table_of(folder.run(run.id).path)
    not_sent = 0 if only is not None or not run.requests_known else run.requests - requests
    jobs = [job for job in jobs if job.stage.made] if only is None else [only]
    steps = (
        next_for_results(
            run,
            jobs,
            failures,
            room,
            not_sent=not_sent,
            held=facts.held,
            resendable=facts.waiting - facts.unsent,
            stopped=facts.stopped,
            unlabelled="NO_KEY" in quarantined and not facts.answered,
        )
        if facts is not None
        else []
    )
    meter = Meter(run, jobs, prices)
    total = sum(job.total or 0 for job in jobs)
    states = {job.state for job in jobs if job.state} or {"" if jobs else _NO_JOB}
    return Summary(
        job=jobs[0].batch if len(jobs) == 1 else None,
        run=run.id,
        name=jobs[-1].display_name if jobs else "",
        state=states.pop() if len(states) == 1 else f"{len(jobs)} jobs: {', '.join(sorted(states))}",
        model=", ".join(dict.fromkeys(job.model for job in jobs)) or run.model,
        answered_by=answered_by(run, jobs, usage),
        backend=run.backend,
        offline=offline,
        emulated=offline or (elsewhere(run.backend) is not None and _says_emulated(folder.run(run.id))),
        requests=requests,
        remembered=0 if facts is None else facts.census.at(REMEMBERED),
        not_sent=not_sent,
        held_back=0 if facts is None else facts.held,
        identical=identical,
        skipped={} if only is not None or not_sent or table is None else table.note.skipped,
        verdicts={verdict: counts.get(verdict, 0) for verdict in VERDICTS if counts.get(verdict)},
        failures=failures,
        quarantined=quarantined,
        repeated=sum(one.answers - one.requests for one in by_file.values()),
        unanswered=unanswered,
        possibly_paid=possibly_paid,
        # A line that has lost its key is an answer to one of these, and it is unknown to which.
        unknown_keys=max(0, total - requests) if not run.requests_known else 0,
        tokens=token_counts(usage),
        usd=meter.money(usage) if jobs else NOTHING,
        estimated=compare(before, ((part.job, part.spend) for part in meter.parts(usage))),
        error=next((job.error_message for job in jobs if job.error_message), None),
        folder=str(folder.run(run.id).path),
        next=steps[0] if steps else None,
        next_steps=[Step(step) for step in steps],
    )


def _unanswered(answered: Mapping[int, int], jobs: Sequence[Job], attempts: int) -> Iterator[tuple[int, int | None]]:
    """By job, how many attempts got no answer, and what these may have cost; ``attempts``: how many in all."""
    left = [job for job in jobs if job.stage is JobStage.COLLECTED and job.possible != 0] if attempts else []
    for job in left:
        yield max(0, job.requests - answered.get(job.ordinal, 0)) + job.doubtful, job.possible


def _says_emulated(folder: RunFolder) -> bool:
    """Whether the first answer says that no model of Google's wrote it."""
    with folder.rows() as rows:
        answered = (row for row in islice(rows.final(), _FIRST_ROWS) if row.verdict not in {None, "failed"})
        first = next(answered, None)
    if first is None or first.file is None:
        return False
    try:
        with folder.answers(first.file).open("rb") as file:
            file.seek(first.offset)
            answer = parse_line(file.read(first.length))
    except OSError:
        return False
    return isinstance(answer, Answer) and answer.response is not None and says_emulated(bytes(answer.response))


class Uncollected(NamedTuple):
    """Requests by the service's own counts, in jobs that it has and whose answers are not held here."""

    succeeded: int
    failed: int


def uncollected(jobs: Sequence[Job], settled: AbstractSet[int]) -> Uncollected:
    """The service's counts of all jobs but the ``settled`` ones, none of them over what the job carried.

    Requests of these jobs are in no settled one, so nothing is counted twice. A lost job has nothing to give.
    """
    succeeded = failed = 0
    for job in jobs:
        if job.ordinal in settled or not job.stage.made or job.lost is not None:
            continue
        good = min(job.requests, job.succeeded or 0)
        succeeded += good
        if job.stage is not JobStage.COLLECTED:  # what failed in a collected job is known by its verdicts
            failed += min(job.requests - good, job.failed or 0)
    return Uncollected(succeeded, failed)


def _collected(jobs: Sequence[Job], busy: AbstractSet[int]) -> dict[int, bool]:
    """The collected jobs, and whether requests of each are about to wait again."""
    return {job.ordinal: job.ordinal in busy for job in jobs if job.stage is JobStage.COLLECTED}


class Progress:
    """Requests done, verdicts, tokens and money so far.

    What is in a job is counted when the job has come in, and again when its requests are about to wait again or do so;
    what the service counts is added each time.
    """

    def __init__(self, prices: PriceBook) -> None:
        self._prices = prices
        self.done = 0
        self.uncollected = Uncollected(0, 0)
        self.verdicts: dict[str, int] = {}
        self.tokens = 0
        self.usd: float | None = None
        #: As :func:`_collected` gave them when rows were counted last.
        self._collected: dict[int, bool] | None = None
        self._census = Census()
        self._usage: dict[int, list[Any]] = {}

    def count(self, rows: Rows, run: Run, jobs: tuple[Job, ...], busy: AbstractSet[int]) -> None:
        """Count what is known now. ``busy``: ordinals of jobs that are being made or collected at this moment.

        A job that is collected and still busy has requests that are about to wait again; it is counted by the service's
        counts until that is done.
        """
        if not self.is_current(jobs, busy):
            self.read(rows, run, jobs, busy)
        self._add(run, jobs)

    def is_current(self, jobs: Sequence[Job], busy: AbstractSet[int]) -> bool:
        """Whether no job has come in since rows were counted, and none has requests that began or ceased to wait."""
        return _collected(jobs, busy) == self._collected

    def forget(self) -> None:
        """Count all rows the next time: some have an answer that no job of the run gave."""
        self._collected = None

    def _add(self, run: Run, jobs: Sequence[Job]) -> None:
        settled = {ordinal for ordinal, is_busy in (self._collected or {}).items() if not is_busy}
        answered = sum(self._census.given(place) for place in {*settled, REMEMBERED, COPY})
        self.uncollected = uncollected(jobs, settled)
        self.done = max(self.done, min(run.requests, answered + self.uncollected.succeeded))

    def event(
        self,
        run: Run,
        jobs: Sequence[Job],
        *,
        waiting: int,
        offline: bool,
        elapsed: float,
        why: str,
        old: Oldest | None,
        refused: int = 0,
        goes_on_in: float | None = None,
    ) -> RunProgress:
        """What was counted last, and what the service counts now. ``waiting``: requests to be sent; ``old``: the job
        that is alive longest; ``refused``, ``goes_on_in``: how many calls were refused, and seconds until the next one
        may go out."""
        self._add(run, jobs)
        return RunProgress(
            run=run.id,
            requests=run.requests,
            done=self.done,
            uncollected_succeeded=self.uncollected.succeeded,
            uncollected_failed=self.uncollected.failed,
            verdicts=self.verdicts,
            waiting=waiting,
            jobs=len(jobs),
            alive=sum(job.stage is JobStage.CREATED for job in jobs),
            collected=sum(job.stage is JobStage.COLLECTED for job in jobs),
            tokens=self.tokens,
            usd=self.usd,
            offline=offline,
            elapsed=elapsed,
            why=why,
            oldest=old.age if old else None,
            expires_in=old.expires_in if old else None,
            usual=old.usual if old else None,
            refused=refused,
            goes_on_in=goes_on_in,
        )

    def read(self, rows: Rows, run: Run, jobs: Sequence[Job], busy: AbstractSet[int]) -> None:
        """Count the rows that may have changed; ``busy`` as for :meth:`count`."""
        collected, before = _collected(jobs, busy), self._collected or {}
        same = {ordinal for ordinal, is_busy in collected.items() if before.get(ordinal) is is_busy}
        if self._collected is not None and self._census.at(REMEMBERED) == rows.at(REMEMBERED):
            same.add(REMEMBERED)
        self._census = self._census.of(same).plus(rows.census({*collected, REMEMBERED, COPY} - same))
        self._usage = {
            ordinal: self._usage[ordinal] if ordinal in same else rows.usage(LONG_PROMPT, job=ordinal, by_use=False)
            for ordinal in collected
        }
        self._collected = collected
        usage = [sums for one in self._usage.values() for sums in one]
        self.verdicts = {v: n for v, n in self._census.verdicts().items() if v != MISSING}
        self.tokens = sum(u["input"] + u["output"] + u["thoughts"] + u["tool_use"] for u in usage)
        self.usd = Meter(run, jobs, self._prices).money(usage).batch
