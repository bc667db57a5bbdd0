"""``run --finish-via``: stops jobs that take too long, so that what they do not answer is sent in another way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.commands.cancel import ask_to_stop
from gemini_batch.errors import ServiceError, UsageError
from gemini_batch.events import Notice
from gemini_batch.session import KnownJob
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.transcript.sizes import span

if TYPE_CHECKING:
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Run

#: Seconds after which a job takes too long, if the user does not say: what the service aims at.
AFTER = 86_400.0


def check_ways(
    via: str | None,
    finish_via: str | None,
    after: float | None,
    *,
    flex_rows: int | None,
    flex_tokens: int | None,
    deadline: float | None,
) -> None:
    """Raises UsageError for options that do not go together, and for no time: none is ignored silently."""
    for option, seconds in (("--after", after), ("--deadline", deadline)):
        if seconds is not None and not (isinstance(seconds, (int, float)) and seconds > 0):
            what = f"{seconds!r} is not a number of seconds above 0."
            raise UsageError(what, field=option, code="bad_argument")
    if after is not None and finish_via is None:
        raise UsageError("This has no effect without --finish-via.", field="--after", code="bad_argument")
    if finish_via is not None and via is not None and via != finish_via:
        what = f"This and --via {via} exclude each other."
        raise UsageError(what, field="--finish-via", code="bad_argument")
    for option, value in (("--flex-rows", flex_rows), ("--flex-tokens", flex_tokens), ("--deadline", deadline)):
        if value is not None and (finish_via or via) not in {None, "auto"}:
            raise UsageError("This has no effect without --via auto.", field=option, code="bad_argument")


async def stop_stuck(session: Session, run: Run, after: float | None) -> None:
    """Cancel the jobs of a run that were created at least ``after`` seconds ago and have not ended; None: no job.

    That is recorded first: whoever goes on with the run sends what they leave unanswered. The caller holds the run's
    lock. Raises ServiceError, StateError.
    """
    if after is None:
        return
    now = session.world.now()
    alive = [job for job in session.ledger().jobs_of(run.id) if job.stage is JobStage.CREATED]
    stuck = [(job, age) for job in alive if (age := now - (job.created_at or now)) >= after]
    if alive and not stuck:
        said = f"No job of {run.id} is {span(after)} old, so none is cancelled. --after sets another age."
        session.emit(Notice(said, "warning"))
    for job, age in stuck:
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
