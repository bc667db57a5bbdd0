"""Reads what the jobs of a state folder used: from the ledger, and from ``rows.db`` of each run. No network, no key."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch.answers.reasons import VERDICTS
from gemini_batch.errors import StateError
from gemini_batch.prices import LONG_PROMPT
from gemini_batch.report.billing import EMULATED, elsewhere
from gemini_batch.report.money import Meter
from gemini_batch.report.spending.facts import AnswerFacts, Facts, JobFacts
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.rows.census import Census

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.money.book import PriceBook
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder


def read_facts(session: Session, *, run: str | None, since: dt.date | None) -> Facts:
    """What the jobs used that were created on ``since`` or later; ``run``: of this run only.

    A run that cannot be read is named in the facts, and costs only its own part of them. Runs that an emulator answered
    are left out, unless they are asked for, or everything is offline. Raises StateError for the ledger.
    """
    facts = Facts()
    if not session.state_folder.exists():
        return facts
    ledger = session.ledger()
    for one in reversed(ledger.runs()):
        if run is None or one.id == run:
            jobs = [job for job in ledger.jobs_of(one.id) if job.stage.made or job.stage is JobStage.INTENDED]
            wanted = [job for job in jobs if since is None or _day(one, job) >= since]
            if wanted:
                address = None if session.settings.offline else elsewhere(one.backend)
                found = read_run(session.state_folder.run(one.id), one, wanted, session.prices)
                if address is not None and run is None and found.emulated:
                    facts.emulated.append(one.id)
                else:
                    _add(facts, one.id, found, address)
    return facts


class RunFacts(NamedTuple):
    """What is known of jobs of one run. ``unread``: why it cannot be read; ``emulated``: an emulator answered."""

    jobs: list[JobFacts]
    answers: list[AnswerFacts]
    unread: str | None
    emulated: bool


def _add(facts: Facts, run: str, found: RunFacts, address: str | None) -> None:
    facts.jobs += found.jobs
    facts.answers += found.answers
    if found.unread is not None:
        facts.unread[run] = found.unread
    if address is not None:
        facts.elsewhere[address] = facts.elsewhere.get(address, 0) + len(found.jobs)


def read_run(folder: RunFolder, run: Run, jobs: Sequence[Job], prices: PriceBook) -> RunFacts:
    """What is known of these jobs of a run; they were created, or may have been."""
    usage: list[Any] = []
    shortfall: dict[int, tuple[int, int]] = {}
    unread = None
    try:
        if folder.row_database.exists():
            with folder.rows() as rows:
                usage = rows.usage(LONG_PROMPT)
                shortfall = _shortfall(rows, run, jobs, usage)
        elif any(job.stage is JobStage.COLLECTED for job in jobs):
            unread = f"The database of its answers is gone: {folder.row_database}."
    except StateError as error:
        usage, unread = [], error.message
    ordinals = {job.ordinal for job in jobs}
    usage = [sums for sums in usage if sums["answer_file"] in ordinals]
    answers = [
        AnswerFacts(run.id, one.job, one.day, one.model, one.use, one.waste, one.answers, one.counts, one.spend)
        for one in Meter(run, jobs, prices).parts(usage)
    ]
    found = [_job(run, job, shortfall.get(job.ordinal), unread=unread is not None) for job in jobs]
    return RunFacts(found, answers, unread, any((sums["model"] or "").endswith(EMULATED) for sums in usage))


def _shortfall(rows: Rows, run: Run, jobs: Sequence[Job], usage: Sequence[Any]) -> dict[int, tuple[int, int]]:
    """By job: requests that have no answer at all, and requests that this job did not answer.

    The rows are read only where the sums do not tell already that there are none.
    """
    final, others = Counter[int](), Counter[int]()
    for sums in usage:
        (final if sums["use"] in VERDICTS else others)[sums["answer_file"]] += sums["answers"]
    census = rows.census() if final.total() < run.requests else Census()
    found: dict[int, tuple[int, int]] = {}
    for job in jobs:
        answered = rows.answered_in(job.ordinal) if others[job.ordinal] else final[job.ordinal]
        found[job.ordinal] = census.missing(job.ordinal), max(0, job.requests - answered)
    return found


def _job(run: Run, job: Job, shortfall: tuple[int, int] | None, *, unread: bool) -> JobFacts:
    collected = job.stage is JobStage.COLLECTED
    missing, unanswered = shortfall if shortfall is not None and collected else (0, 0)
    took = None
    if job.ended_at is not None and job.created_at is not None and job.ended_at >= job.created_at:
        took = job.ended_at - job.created_at
    return JobFacts(
        run=run.id,
        ordinal=job.ordinal,
        name=job.display_name,
        day=_day(run, job),
        model=job.model,
        requests=job.requests,
        collected=collected,
        unread=unread and collected,
        missing=missing,
        unanswered=unanswered + (job.doubtful if collected else 0),
        most=job.possible if collected else None if job.unbounded != 0 else job.bound,
        took=took,
    )


def _day(run: Run, job: Job) -> dt.date:
    """The UTC day of a job's create, whose prices count (as :class:`~gemini_batch.report.money.Meter` sees it), or on
    which it was tried."""
    return dt.datetime.fromtimestamp(job.created_at or job.intended_at or run.created_at, dt.UTC).date()
