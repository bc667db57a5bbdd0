"""One request of a run with its prompt, its answer, its place and its cost, from what is held on this machine."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal, NamedTuple, Self

import msgspec

from gemini_batch.answers.parse import Answer, parse_line
from gemini_batch.answers.reasons import MESSAGES, MODEL_LIMIT, Verdict
from gemini_batch.answers.verdict import judge
from gemini_batch.prices import LONG_PROMPT
from gemini_batch.protocol.schema_checker import checker_of
from gemini_batch.report.billing import EMULATED
from gemini_batch.report.money import NOTHING, Meter, Money
from gemini_batch.report.outcome import RawFiles
from gemini_batch.report.summary import TokenCounts, token_counts
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.rows import conditions
from gemini_batch.store.rows.labels import label_of
from gemini_batch.store.sqlite import state_error
from gemini_batch.transcript.prompts import prompt_of
from gemini_batch.transcript.replies import reply_of
from gemini_batch.transcript.turns import Turn  # noqa: TC001 - msgspec needs the type itself

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemini_batch.money.book import PriceBook
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.rows.row_records import PlacedRow
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder

Place = Literal[
    "answered",
    "remembered",
    "copied",
    "unanswered",
    "elsewhere",
    "held_back",
    "damaged",
    "in_job",
    "not_collected",
    "in_doubt",
    "calling",
    "to_be_resent",
    "not_sent",
]
#: Where a request is while an attempt has neither an answer nor an end.
_PENDING = frozenset({"in_job", "not_collected", "in_doubt", "calling"})
#: The places in ``rows.db`` that are no jobs of the run.
_NOT_JOBS: dict[int | None, Place] = {
    conditions.REMEMBERED: "remembered",
    conditions.ELSEWHERE: "elsewhere",
    conditions.HELD: "held_back",
    conditions.COPY: "copied",
}
#: Where a request has an answer that this run paid nothing for.
_FREE = frozenset({"remembered", "copied"})
_DAMAGED = "The answer cannot be read: its file on this machine was changed. `results` fetches it again."


class ShownRow(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a run, with its prompt and its answer as text."""

    key: str
    """Key of the request."""
    verdict: Verdict | None
    """Verdict on the final answer so far; null while there is none."""
    reason: str | None
    """Reason code of every verdict but `succeeded`; the page on verdicts lists all codes."""
    message: str | None
    """The service's message, or our own words for the reason; null if the request succeeded or has no verdict."""
    place: Place
    """Where the request is. `answered`: its job is collected and answered it; `unanswered`: its job did not;
    `remembered`: it was answered before, in another run; `copied`: another request of the run is the same, and its
    answer counts; `damaged`: the answer file was changed on this machine; `in_job`: in a job that is alive;
    `not_collected`: in a job that has ended, whose answers are still at the service; `in_doubt`: a create that got no
    answer may have sent it; `calling`: a command sends it as a call, or was stopped while it did; `elsewhere`: in a job
    of another run, for whose answer this run waits; `to_be_resent`: it
    waits for another attempt; `not_sent`: it waits for the first; `held_back`: `--limit` or `--sample` left it out."""
    copied_from: str | None
    """Key of the identical request whose answer counts; null if the request has its own."""
    job: str | None
    """Job that the request is in, `batches/…`, or else the job that answered it."""
    attempts: int
    """Number of jobs that the request has been in."""
    unanswered: int
    """Those of `attempts` that have ended without an answer; they may have been billed."""
    asked: str
    """Model that was asked."""
    model: str | None
    """Model that the answer names; null without an answer, or if it names none."""
    tokens: TokenCounts | None
    """Tokens of all answers to this request; null without an answer."""
    usd: Money
    """What all answers to this request cost."""
    emulated: bool
    """True if an emulator answers, so that nothing is paid."""
    prompt: list[Turn] | None
    """The request: system instruction, contents and settings. Null if requests are unknown, in a job made elsewhere."""
    answer: list[Turn] | None
    """The final answer so far; null without one."""


class Texts(NamedTuple):
    """What is read from files for one row."""

    prompt: list[Turn] | None
    answer: list[Turn] | None
    message: str | None
    damaged: bool


def place_of(row: PlacedRow, job: Job | None) -> Place:
    """Where a request is; ``job`` is the one that it is in, None if it is in no job of the run."""
    if (place := _NOT_JOBS.get(row.job)) is not None:
        return place
    match None if job is None else job.stage:
        case None:
            return "to_be_resent" if row.attempts else "not_sent"
        case JobStage.PLANNED | JobStage.UPLOADED:
            return "to_be_resent" if row.attempts > 1 else "not_sent"
        case JobStage.INTENDED:
            return "calling" if job is not None and job.is_calling else "in_doubt"
        case JobStage.CREATED:
            return "in_job"
        case JobStage.ENDED:
            return "not_collected"
        case JobStage.COLLECTED:
            return "unanswered" if row.answered_by is None else "answered"


@dataclass(slots=True)
class ShownRowReader:
    """Reads single rows of a run, each from its places in the files. Use as a context manager."""

    run: Run
    jobs: Sequence[Job]
    folder: RunFolder
    rows: Rows
    offline: bool
    _meter: Meter
    _by_ordinal: Mapping[int, Job]
    _requests: IO[bytes] | None
    _raw: RawFiles
    _opened: contextlib.ExitStack

    @classmethod
    def open(cls, run: Run, jobs: Sequence[Job], folder: RunFolder, prices: PriceBook, *, offline: bool) -> Self:
        """Open the files of a run. Raises StateError."""
        with contextlib.ExitStack() as opening:
            rows = opening.enter_context(folder.rows())
            try:
                known = run.sha256 is not None
                requests = opening.enter_context(folder.open_requests()) if known else None
            except OSError as error:
                raise state_error(error, folder.requests, "file of the run's requests") from error
            raw = opening.enter_context(RawFiles(folder))
            by_ordinal = {job.ordinal: job for job in jobs}
            meter = Meter(run, jobs, prices)
            return cls(run, jobs, folder, rows, offline, meter, by_ordinal, requests, raw, opening.pop_all())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def texts(self, row: PlacedRow) -> Texts:
        """The prompt and the answer of a row."""
        prompt = None
        if self._requests is not None:
            self._requests.seek(row.offset)
            prompt = prompt_of(self._requests.read(row.length))
        if row.file is None:
            return Texts(prompt, None, None, damaged=False)
        try:
            file = self._raw[row.file]
            file.seek(row.at)
            answer = parse_line(file.read(row.size))
        except OSError:
            return Texts(prompt, None, _DAMAGED, damaged=True)
        key = row.copied_from or row.key
        if not isinstance(answer, Answer) or answer.key != (label_of(key) if answer.labelled else key):
            return Texts(prompt, None, _DAMAGED, damaged=True)
        method, expects_json = self.run.method, bool(row.expects_json)
        message = None
        if row.verdict != "succeeded" and row.reason != MODEL_LIMIT:  # of that, the answer alone says nothing
            checker = checker_of(self.rows.schema(row.schema))
            judged = judge(answer, method=method, expects_json=expects_json, checker=checker, dimension=row.dimension)
            message = judged.message
        reply = None
        if answer.response is not None:
            reply = reply_of(answer.response, method=method, expects_json=expects_json)
        return Texts(prompt, reply, message, damaged=False)

    def verdict(self, row: PlacedRow) -> Verdict | None:
        """The verdict on a row so far; None while it has none."""
        return row.verdict or ("missing" if self.place(row) in {"unanswered", "to_be_resent"} else None)

    def place(self, row: PlacedRow) -> Place:
        """Where a row is, as far as the database tells."""
        return place_of(row, None if row.job is None else self._by_ordinal.get(row.job))

    def shown(self, row: PlacedRow, texts: Texts | None = None) -> ShownRow:
        """Everything about a row; ``texts``, if they have been read. Raises StateError."""
        prompt, answer, message, damaged = self.texts(row) if texts is None else texts
        place, verdict = self.place(row), self.verdict(row)
        usage = self.rows.usage(LONG_PROMPT, seq=row.seq)
        inside = None if row.job is None else self._by_ordinal.get(row.job)
        gave = None if row.answered_by is None else self._by_ordinal.get(row.answered_by)
        planned = inside is not None and inside.stage in {JobStage.PLANNED, JobStage.UPLOADED}
        attempts = max(0, row.attempts - planned)
        reason = row.reason
        if verdict == "missing":
            reason = (row.missing_reason if place == "unanswered" else None) or "TO_BE_RESENT"
        if verdict not in {None, "succeeded"} and message is None:
            message = MESSAGES.get(reason or "")
        named = inside if place in _PENDING else gave
        answered = len({one["answer_file"] for one in usage})
        return ShownRow(
            key=row.key,
            verdict=verdict,
            reason=reason,
            message=message,
            place="damaged" if damaged and place in {"answered", *_FREE} else place,
            copied_from=row.copied_from,
            job=None if named is None else named.batch,
            attempts=attempts,
            unanswered=max(0, attempts - (place in _PENDING) - answered),
            asked=(gave or inside or self.run).model,
            model=row.model,
            tokens=token_counts(usage) if usage else None,
            usd=NOTHING if place in _FREE else self._meter.money(usage),
            emulated=self.offline or (row.model or "").endswith(EMULATED),
            prompt=prompt,
            answer=answer,
        )
