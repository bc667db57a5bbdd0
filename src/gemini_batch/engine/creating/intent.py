"""Records that a job is about to be sent: in one transaction with the claim of its requests and what they may cost."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gemini_batch.errors import StateError
from gemini_batch.memory.claims import BehindError, claiming
from gemini_batch.memory.recall import open_index, recalls, update_index
from gemini_batch.store.ledger.records import JobStage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from gemini_batch.engine.creating.budget import Budget
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.state_folder import RunFolder

    Check = Callable[[sqlite3.Connection], None]

#: How often answers that other processes have just collected are waited for.
_MOST_BEHIND = 50


def intend(session: Session, folder: RunFolder, run: Run, job: Job, budget: Budget) -> Job:
    """Record the intent, claim the requests and reserve what they cost at most; answers that other runs have received
    meanwhile come first.

    Nothing is awaited: until the intent is recorded, no other task of this process sees a half of it. Raises TakenError
    if other runs have sent or answered some of the requests, OverBudgetError, UsageError, StateError.
    """
    ledger, state_folder, now, unread = session.ledger(), session.state_folder, session.world.now, frozenset[str]()
    for _ in range(_MOST_BEHIND):
        with contextlib.ExitStack() as stack:
            rows = stack.enter_context(folder.rows())
            index = stack.enter_context(open_index(state_folder)) if recalls(run) else None
            claim, at = claiming(rows, job, index, unread=unread), now()
            money = budget.reserving(rows, job, at=at)

            def check(db: sqlite3.Connection, claim: Check = claim, reserve: Check = money.check) -> None:
                claim(db)
                reserve(db)

            try:
                return ledger.update_job(
                    job,
                    "intends to create",
                    at=at,
                    claim=check,
                    bound=money.bound,
                    unbounded=money.unbounded,
                    stage=JobStage.INTENDED,
                    intended_at=at,
                    create_calls=job.create_calls + 1,
                )
            except BehindError:
                pass
        unread = update_index(state_folder)
    raise StateError(
        "Other processes collect answers all the time, so these requests may have been answered by now.",
        code="locked",
        next="Run the same command again.",
    )
