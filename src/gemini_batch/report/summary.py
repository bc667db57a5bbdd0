"""What came of a run, in numbers: verdicts, tokens, money."""

from __future__ import annotations

import datetime as dt
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch import catalog
from gemini_batch.answers.parse import Answer, parse_line
from gemini_batch.answers.reasons import VERDICTS
from gemini_batch.errors import Next  # noqa: TC001 - msgspec needs the type itself
from gemini_batch.report.billing import elsewhere, says_emulated
from gemini_batch.report.next_steps import next_for_results
from gemini_batch.store.job_rows import open_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.store.records import Job, Run
    from gemini_batch.store.row_records import Reason
    from gemini_batch.store.rows import Rows
    from gemini_batch.store.state_folder import RunFolder, StateFolder


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

    ``requests`` counts those that were sent, ``not_sent`` the others.

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
    not_sent: int
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
    next: Next | None

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


def summarize(
    folder: StateFolder, run: Run, jobs: Sequence[Job], *, offline: bool, resendable: int = 0, only: Job | None = None
) -> Summary:
    """What came of a run whose sent jobs are collected, or of one of them (``only``), from the run's rows alone.

    ``resendable``: how many requests ``run`` would send again.
    """
    with open_rows(folder.run(run.id), jobs, only=only) as rows:
        counts = rows.counts()
        usage = rows.usage(LONG_PROMPT)
        failures = rows.reasons()
        quarantined, repeated, unanswered = rows.quarantined(), rows.repeated(), rows.unanswered()
    not_sent = 0 if only is not None or run.origin == "adopted" else run.requests - sum(counts.values())
    jobs = [job for job in jobs if job.stage.made] if only is None else [only]
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
        emulated=offline or (elsewhere(run.backend) is not None and _says_emulated(folder.run(run.id))),
        requests=requests,
        not_sent=not_sent,
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
        folder=str(folder.run(run.id).path),
        next=next_for_results(run, counts, not_sent=not_sent, resendable=resendable) if only is None else None,
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
        model = catalog.load().find(models.get(u["answer_file"], run.model))
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


class Progress:
    """Verdicts, tokens and money so far. Counting reads every row, so it is done when a job has come in."""

    def __init__(self) -> None:
        self.verdicts: dict[str, int] = {}
        self.tokens = 0
        self.usd: float | None = None
        self._counted = -1

    def count(self, rows: Rows, run: Run, jobs: tuple[Job, ...], done: int) -> None:
        """Count again if another number of jobs is ``done``."""
        if done == self._counted:
            return
        self._counted = done
        usage = rows.usage(LONG_PROMPT)
        self.verdicts = {v: n for v, n in rows.counts().items() if v != "missing"}
        self.tokens = sum(u["input"] + u["output"] + u["thoughts"] + u["tool_use"] for u in usage)
        self.usd = money(run, jobs, usage).batch
