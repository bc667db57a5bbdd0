"""What one command works with: settings, a world, the state folders, and the backend once it is needed.

A name given by a user finds its run here, and with it the backend that the run is bound to: a job made offline is
found without saying so again, and a job made at one address is never asked for at another.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from gemini_batch.backend import OFFLINE, Backend, address_of, key_of, open_backend
from gemini_batch.errors import ApiError, StateError, UsageError
from gemini_batch.events import EventHandler, Notice, ignore_events
from gemini_batch.store.state_folder import StateFolder
from gemini_batch.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_batch.settings import Settings
    from gemini_batch.store.ledger import Ledger
    from gemini_batch.store.records import Job, Run
    from gemini_batch.store.state_folder import RunFolder


#: How long a command waits for another process that works on the same run, and how often it looks, in seconds.
_LOCK_WAIT, _LOCK_PAUSE = 600.0, 0.2
_NAME = re.compile(r"(batches/)?[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, slots=True)
class Target:
    """What a name means: a run of this state folder, one of its jobs or (``run`` None) a job that is unknown here."""

    name: str
    state_folder: StateFolder
    run: Run | None
    job: Job | None


@dataclass
class Session:
    """Use as an async context manager; everything that was opened is closed with it."""

    settings: Settings
    world: World = field(default_factory=World)
    emit: EventHandler = ignore_events
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack, init=False)
    _ledgers: dict[StateFolder, Ledger] = field(default_factory=dict, init=False)
    _backend: Backend | None = field(default=None, init=False)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._stack.aclose()

    @property
    def state_folder(self) -> StateFolder:
        """The state folder that new work goes to."""
        state_folder = StateFolder(self.settings.home)
        return state_folder.offline if self.settings.offline else state_folder

    def ledger(self, state_folder: StateFolder | None = None) -> Ledger:
        """The ledger of a state folder, opened once. Raises StateError."""
        state_folder = state_folder or self.state_folder
        if state_folder not in self._ledgers:
            self._ledgers[state_folder] = self._stack.enter_context(state_folder.ledger())
        return self._ledgers[state_folder]

    def key_fingerprint(self) -> str:
        """The fingerprint of the key that the backend is asked with. Raises UsageError where there is no key."""
        return self.ledger().key_fingerprint(key_of(self.settings).reveal())

    async def backend(self) -> Backend:
        """The backend, opened once."""
        async with self._opening:  # calls over one session may overlap
            if self._backend is None:
                opening = open_backend(self.settings, emulator_data=self.state_folder.emulator, world=self.world)
                self._backend = await self._stack.enter_async_context(opening)
        return self._backend

    def locate(self, name: str) -> Target:
        """Find what ``name`` means: a job (``batches/…`` or the bare id) or a run (``run-…``).

        A run of the offline state folder turns the session offline. Raises UsageError for what cannot be a name, or for
        a run that is not in this state folder.
        """
        name = name.strip()
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is not a job name.",
                code="bad_name",
                next="A job name looks like batches/abc123, as create printed it; a run id like run-k7m2q9x4.",
            )
        state_folder = StateFolder(self.settings.home)
        for candidate in (state_folder.offline,) if self.settings.offline else (state_folder, state_folder.offline):
            if candidate.exists() and (target := self._look(candidate, name)):
                if candidate == state_folder.offline and not self.settings.offline:
                    self.settings = dataclasses.replace(self.settings, offline=True)
                return target
        if name.startswith("run-"):
            raise UsageError(
                f"There is no run {name!r} in this state folder.",
                file=state_folder.path,
                code="unknown_run",
                next="Check the id, or set GEMINI_BATCH_HOME to the folder that it was made with.",
            )
        self._not_a_display_name(name)
        return Target("batches/" + name.removeprefix("batches/"), self.state_folder, None, None)

    def _not_a_display_name(self, name: str) -> None:
        """What people see is the display name, and some type it. Raises UsageError with the job's real name."""
        state_folder = StateFolder(self.settings.home)
        for candidate in (state_folder, state_folder.offline):
            if candidate.exists():
                named = [
                    job.batch for _, job in self.ledger(candidate).jobs() if job.display_name == name and job.batch
                ]
                if named:
                    raise UsageError(
                        f"{name!r} is a display name.",
                        code="display_name",
                        next=f"The job that has it is {named[0]}"
                        + (f", or one of {len(named)}." if named[1:] else "."),
                    )

    def _look(self, state_folder: StateFolder, name: str) -> Target | None:
        ledger = self.ledger(state_folder)
        if name.startswith("run-") and (run := ledger.run(name)):
            jobs = ledger.jobs_of(run.id)
            return Target(name, state_folder, run, jobs[-1] if jobs else None)
        batch = "batches/" + name.removeprefix("batches/")
        if job := ledger.job_by_batch(batch):
            return Target(batch, state_folder, ledger.run(job.run), job)
        return None

    @contextlib.asynccontextmanager
    async def locked(self, folder: RunFolder) -> AsyncIterator[None]:
        """Hold a run's lock; while another process has it, wait (and say so), so that Ctrl-C is heard.

        Raises StateError after ten minutes.
        """
        with contextlib.ExitStack() as held:
            left = _LOCK_WAIT
            while True:
                try:
                    held.enter_context(folder.lock(wait=0.0))
                    break
                except StateError as error:
                    if error.reason_code != "locked" or left <= 0:
                        raise
                    if left == _LOCK_WAIT:
                        self.emit(Notice("Another process is working on this run; waiting for it."))
                await self.world.sleep(_LOCK_PAUSE)
                left -= _LOCK_PAUSE
            yield

    def check_bound(self, target: Target) -> None:
        """Before the service is asked: a run belongs to the address it was made at. Raises UsageError."""
        run = target.run
        if run is None or run.backend == address_of(self.settings):
            return
        if run.backend == OFFLINE or self.settings.offline:
            raise UsageError(f"{target.name} was not made offline.", code="other_backend", next="Leave out --offline.")
        raise UsageError(
            f"{target.name} lives at {run.backend}, and the base URL is now {self.settings.base_url}.",
            code="other_backend",
            next=f"Type: export GOOGLE_GEMINI_BASE_URL={run.backend}",
        )

    def explain_absence(self, error: ApiError, target: Target) -> ApiError:
        """A 403 or 404 for a job, in words that tell "not yours" from "gone"."""
        if error.status not in {403, 404}:
            return error
        run = target.run
        if run is not None and run.key_fingerprint != self.key_fingerprint():
            return ApiError(
                f"{target.name} was made with another API key, and this one cannot see it ({error.status}); "
                "that does not mean that the job is gone.",
                status=error.status,
                reason=error.reason,
                code="other_key",
                next="Use the key of the project that made it.",
            )
        return ApiError(
            f"The service does not know {target.name} for this API key ({error.status}).",
            status=error.status,
            reason=error.reason,
            code="job_not_found",
            next="Check the name, and that the key belongs to the project that made the job; deleted jobs end so too.",
        )
