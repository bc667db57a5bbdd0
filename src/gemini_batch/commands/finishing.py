"""``run --finish-via``: stops jobs that take too long, so that what they do not answer is sent in another way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.commands.cancel import ask_to_stop
from gemini_batch.errors import ServiceError
from gemini_batch.events import Notice
from gemini_batch.session import KnownJob
from gemini_batch.store.records import JobStage
from gemini_batch.transcript.sizes import span

if TYPE_CHECKING:
    from gemini_batch.session import Session
    from gemini_batch.store.records import Run

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
    twice = "" if session.settings.offline else " What the service was working on may be paid for twice."
    first = Notice(
        f"Cancelling {target.name}, which has been running for {span(age)}. Its answers are kept, and the rest is "
        f"sent as calls (flex).{twice}",
        "warning",
    )
    try:
        await ask_to_stop(session, target, finishing=True, first=first)
    except ServiceError as error:
        # The run finds out what became of a job that is gone, or of a cancel without an answer.
        if not (meaning(error) is Trouble.ABSENT or meaning(error).may_have_worked):
            raise
