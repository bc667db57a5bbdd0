"""Reads what the jobs of a state folder used: from the ledger, and from ``rows.db`` of each run. No network, no key."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING, Any

from gemini_batch.answers.reasons import VERDICTS
from gemini_batch.errors import StateError
from gemini_batch.prices import LONG_PROMPT
from gemini_batch.report.billing import EMULATED, elsewhere
from gemini_batch.report.money import Meter
from gemini_batch.report.spending.facts import AnswerFacts, Facts, JobFacts
from gemini_batch.store.records import JobStage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gemini_batch.session import Session
    from gemini_batch.store.records import Job, Run
    from gemini_batch.store.rows import Rows


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
            wanted = {job.ordinal: job for job in jobs if since is None or _day(one, job) >= since}
            if wanted:
                _read(session, one, jobs, wanted, facts, alone=run is not None)
    return facts


def _read(
    session: Session, run: Run, jobs: Sequence[Job], wanted: Mapping[int, Job], facts: Facts, *, alone: bool
) -> None:
    """Add a run to the facts. ``wanted``: those of its jobs that count."""
    usage: list[Any] = []
    shortfall: dict[int, tuple[int, int]] = {}
    folder, why = session.state_folder.run(run.id), None
    try:
        if folder.row_database.exists():
            with folder.rows() as rows:
                usage = rows.usage(LONG_PROMPT)
                shortfall = _shortfall(rows, run, wanted.values(), usage)
        elif any(job.stage is JobStage.COLLECTED for job in wanted.values()):
            why = f"The folder {folder.path} of the run is gone, or its rows.db."
    except StateError as error:
        usage, shortfall, why = [], {}, error.message
    address = None if session.settings.offline else elsewhere(run.backend)
    if address is not None and not alone and any((one["model"] or "").endswith(EMULATED) for one in usage):
        facts.emulated.append(run.id)
        return
    if address is not None:
        facts.elsewhere[address] = facts.elsewhere.get(address, 0) + len(wanted)
    if why is not None:
        facts.unread[run.id] = why
    counted = [sums for sums in usage if sums["answer_file"] in wanted]
    facts.answers += [
        AnswerFacts(run.id, one.job, one.day, one.model, one.use, one.waste, one.answers, one.counts, one.spend)
        for one in Meter(run, jobs, session.prices).parts(counted)
    ]
    facts.jobs += [_job(run, job, shortfall.get(job.ordinal), unread=why is not None) for job in wanted.values()]


def _shortfall(rows: Rows, run: Run, jobs: Iterable[Job], usage: Sequence[Any]) -> dict[int, tuple[int, int]]:
    """By job: requests that have no answer at all, and requests that this job did not answer.

    The rows are read only where the sums do not tell already that there are none.
    """
    final, others = Counter[int](), Counter[int]()
    for sums in usage:
        (final if sums["use"] in VERDICTS else others)[sums["answer_file"]] += sums["answers"]
    missing = rows.missing_by_job() if final.total() < run.requests else {}
    found: dict[int, tuple[int, int]] = {}
    for job in jobs:
        answered = rows.answered_in(job.ordinal) if others[job.ordinal] else final[job.ordinal]
        found[job.ordinal] = missing.get(job.ordinal, 0), max(0, job.requests - answered)
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
        unanswered=unanswered,
        took=took,
    )


def _day(run: Run, job: Job) -> dt.date:
    """The UTC day of a job's create, whose prices count (as :class:`~gemini_batch.report.money.Meter` sees it)."""
    return dt.datetime.fromtimestamp(job.created_at or run.created_at, dt.UTC).date()
