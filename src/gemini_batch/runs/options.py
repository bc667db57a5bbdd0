"""How a run is worked off: said with ``run`` or ``retry``, and kept with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_batch.jsonl import decode_as
from gemini_batch.runs.change import Change  # noqa: TC001 - msgspec needs the type itself

if TYPE_CHECKING:
    from gemini_batch.runs.records import Run
    from gemini_batch.runs.session import Session

#: More in one job is possible (the service publishes no bound), but one stuck job should not hold everything.
REQUESTS_A_JOB = 50_000
ATTEMPTS = 3


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is worked off; None: not said. Kept with it, so that ``run RUN`` goes on in the same way."""

    max_requests_per_job: int | None = None
    max_tokens_per_job: int | None = None
    attempts: int | None = None
    tier: int | None = None
    #: The display name of its jobs.
    name: str | None = None
    #: What a retry that is not finished yet changes in the requests that wait.
    change: Change | None = None

    def over(self, kept: Options) -> Options:
        """What is said here, and what was kept of the rest."""
        said = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(kept, **said)

    @property
    def most_attempts(self) -> int:
        """In how many jobs a request may be."""
        return self.attempts or ATTEMPTS


def kept_options(run: Run) -> Options:
    """How a run was last asked to be worked off."""
    return decode_as(run.options.encode(), Options) if run.options else Options()


def keep_options(session: Session, run: Run, options: Options) -> Run:
    """Write down how a run is worked off from now on; the run as it is then. Raises StateError."""
    text = msgspec.json.encode(options).decode()
    return session.ledger(session.home).set_options(run, text, at=session.world.now())
