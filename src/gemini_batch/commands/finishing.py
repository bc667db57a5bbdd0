"""``run --finish-via``: stops jobs that take too long, so that what they do not answer is sent in another way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.engine.poller import poll_job
from gemini_batch.errors import ApiError, ServiceError
from gemini_batch.events import Notice
from gemini_batch.session import KnownJob
from gemini_batch.store.records import JobStage
from gemini_batch.transcript.sizes import span

if TYPE_CHECKING:
    from gemini_batch.session import Session
    from gemini_batch.store.records import Job, Run

#: Seconds after which a job takes too long, if the user does not say: what the service aims at.
AFTER = 86_400.0


async def stop_stuck(session: Session, run: Run, after: float | None) -> None:
    """Cancel the jobs of a run that were created at least ``after`` seconds ago and have not ended; None: no job.

    That is recorded first: whoever goes on with the run sends what they leave unanswered. The caller holds the run's
    lock. Raises ServiceError, StateError.
    """
    now = session.world.now()
    for job in session.ledger().jobs_of(run.id):
        age = now - (job.created_at or now)
        if after is not None and job.stage is JobStage.CREATED and age >= after:
            await _stop(session, KnownJob(run, job, session.settings.offline), age)


async def _stop(session: Session, target: KnownJob, age: float) -> None:
    session.check_bound(target)
    if (await poll_job(session, target)).job.phase.ended:
        return
    ledger, now = session.ledger(), session.world.now()
    job: Job = ledger.job(target.job.id)
    twice = "" if session.settings.offline else " What the service was working on may be paid for twice."
    session.emit(
        Notice(
            f"Cancelling {target.name}, which has been running for {span(age)}. Its answers are kept, and the rest is "
            f"sent as calls (flex).{twice}",
            "warning",
        )
    )
    ledger.update_job(job, "cancel asked for", at=now, cancelled_at=now, finishing=True)
    try:
        await (await session.backend()).service.cancel(target.name)
    except ServiceError as error:
        gone = isinstance(error, ApiError) and meaning(error) is Trouble.ABSENT
        if not gone and not meaning(error).may_have_worked:
            ledger.update_job(job, "cancel refused", at=now, cancelled_at=None, finishing=False)
            raise
