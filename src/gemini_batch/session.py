"""What the commands of one client work with: settings, a world, the state folder, and the backend once it is needed.

A name given by a user leads to a run or a job here, and with it to the state folder that it is kept in: a job made
offline is found without saying so again. A run belongs to the address that it was made at; no other one is asked.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gemini_batch.api.trouble import meaning
from gemini_batch.backend import OFFLINE, Backend, address_of, key_of, open_backend
from gemini_batch.errors import ApiError, StateError, UsageError
from gemini_batch.events import EventHandler, Notice, ignore_events
from gemini_batch.money.book import PriceBook, default_book
from gemini_batch.money.own_prices import FILE_NAME, SET_ASIDE, parse
from gemini_batch.store.ledger.records import CALLS
from gemini_batch.store.state_folder import StateFolder
from gemini_batch.vertex_place import how_to_reach, same_job, where_to_find
from gemini_batch.wire import job_name
from gemini_batch.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gemini_batch.settings import Settings
    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.state_folder import RunFolder

#: Seconds to wait for another process that works on the same run, and seconds between two tries.
_LOCK_WAIT, _LOCK_PAUSE = 600.0, 0.2
_NAME = re.compile(r"(batches/|calls/)?[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job that is in the ledger, with its run. ``offline``: which of the two state folders it is kept in."""

    run: Run
    job: Job
    offline: bool = False

    @property
    def name(self) -> str:
        """``batches/…``; the run's id for a job that was not created yet."""
        return self.job.batch or self.run.id


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run that is in the ledger."""

    run: Run
    offline: bool = False

    @property
    def name(self) -> str:
        """``run-…``."""
        return self.run.id


@dataclass(frozen=True, slots=True)
class UnknownJob:
    """A job's name (``batches/…``) that is not in the ledger; the service may know it."""

    name: str
    offline: bool = False


#: What a name can mean.
Target = KnownJob | KnownRun | UnknownJob


@dataclass
class Session:
    """Use as an async context manager; everything that was opened is closed with it."""

    settings: Settings
    world: World = field(default_factory=World)
    emit: EventHandler = ignore_events
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack, init=False)
    _ledger: Ledger | None = field(default=None, init=False)
    _backend: Backend | None = field(default=None, init=False)
    _offline: Session | None = field(default=None, init=False)
    _address_named: bool = field(default=False, init=False)
    _said: set[str] = field(default_factory=set, init=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *details: object) -> None:
        try:
            if self._offline is not None:
                await self._offline.__aexit__(*details)
        finally:
            await self._stack.aclose()

    @property
    def state_folder(self) -> StateFolder:
        """The state folder that this session reads and writes."""
        folder = StateFolder(self.settings.home)
        return folder.offline if self.settings.offline else folder

    def ledger(self) -> Ledger:
        """The ledger of the state folder, opened once. Raises StateError."""
        if self._ledger is None:
            self._ledger = self._stack.enter_context(self.state_folder.ledger())
        return self._ledger

    @functools.cached_property
    def prices(self) -> PriceBook:
        """The catalog's prices and the user's own, read once. Raises UsageError for a mistake in the user's file."""
        return load_prices(self.settings.home / FILE_NAME)

    def key_fingerprint(self) -> str:
        """The fingerprint of the key that the backend is asked with. Raises UsageError where there is no key."""
        return self.ledger().key_fingerprint(key_of(self.settings).reveal())

    async def backend(self) -> Backend:
        """The backend, opened once."""
        if self._backend is None:
            opening = open_backend(self.settings, emulator_data=self.state_folder.emulator, world=self.world)
            self._backend = await self._stack.enter_async_context(opening)
        return self._backend

    async def check_can_send(self) -> None:
        """Before a run is entered: refuse it where Vertex AI could get nothing. Raises UsageError."""
        if self.settings.vertex is not None:
            self.settings.vertex.bucket_and_folder()
            await self.backend()

    def telling(self, emit: EventHandler) -> Session:
        """The same session, with all that it has opened, for work whose events are told to another handler."""
        self.ledger()
        other = copy.copy(self)
        other.emit = emit
        return other

    def say_once(self, notice: Notice, emit: EventHandler | None = None) -> None:
        """Emit a notice, unless this session has emitted the same one before; ``emit``: that of a thread."""
        if notice.message not in self._said:
            self._said.add(notice.message)
            (emit or self.emit)(notice)

    def name_blank_address(self) -> list[str]:
        """Before anything that spends: say, once, which address is used where its variable is set but blank.

        A rehearsal with an empty variable would be paid for. Returns the warning as a list; empty where it is not used.
        """
        if self.settings.offline or self.settings.vertex is not None or not self.settings.blank_base_url:
            return []
        warning = f"GOOGLE_GEMINI_BASE_URL is set but empty: using {self.settings.base_url}."
        if not self._address_named:
            self._address_named = True
            self.emit(Notice(warning, "warning"))
        return [warning]

    def name_ignored(self) -> None:
        """Say which variables of a ``.env`` file have no effect, because only the environment may set them."""
        if names := self.settings.ignored:
            have = "have" if len(names) > 1 else "has"
            self.emit(
                Notice(
                    f"{', '.join(names)} in the .env file {have} no effect: it may set only keys, the base URL, "
                    "the API version, GEMINI_BATCH_OFFLINE and GEMINI_BATCH_POLL.",
                    "warning",
                    "Export it in the shell if you want it, or remove it from the file.",
                )
            )

    def name_empty_state_folder(self) -> None:
        """Say which folder was read where it holds nothing: another one may have been meant. It is not created."""
        folder = self.state_folder
        if not folder.exists():
            what = "holds no ledger" if folder.path.is_dir() else "does not exist"
            following = "If your jobs are kept elsewhere, set GEMINI_BATCH_HOME to that folder."
            self.emit(Notice(f"The state folder {folder.path} {what}, so no job is known.", next=following))

    # Names -----------------------------------------------------------------------------------------------------------

    def at(self, target: Target) -> Session:
        """The session for a target: this one, or the one for offline work where the target is kept there."""
        return self if target.offline == self.settings.offline else self._for_offline_work()

    def locate(self, name: str) -> Target:
        """Find what ``name`` means: a run (``run-…``) or a job (``batches/…`` or the bare id), here or offline.

        Raises UsageError for what cannot be a name, and for a run that is not in the state folder.
        """
        name = name.strip()
        if not _NAME.fullmatch(name) and not job_name(name):
            raise UsageError(
                f"{name!r} is not a job name.",
                code="bad_name",
                next="A job name looks like batches/abc123, as create printed it (at Vertex AI, like "
                "projects/…/batchPredictionJobs/123); a run id like run-k7m2q9x4.",
            )
        for session in self._both():
            if session.state_folder.exists() and (found := session.find(name)):
                return found
        self._refuse_online(name)
        if name.startswith(("run-", CALLS)):
            raise UsageError(
                f"There is no {'run' if name.startswith('run-') else 'job'} {name!r} in this state folder.",
                file=self.settings.home,
                code="unknown_run",
                next="Check the id, or set GEMINI_BATCH_HOME to the state folder that holds it.",
            )
        self._refuse_display_name(name)
        return UnknownJob(self._job(name), self.settings.offline)

    def _refuse_online(self, name: str) -> None:
        """Offline, refuse the name of a run or a job of the service. Raises UsageError."""
        folder = StateFolder(self.settings.home)
        if not self.settings.offline or not folder.exists():
            return
        with contextlib.suppress(StateError), folder.ledger() as ledger:
            batch = self._job(name)
            if (ledger.run(name) if name.startswith("run-") else ledger.job_by_batch(batch)) is not None:
                raise _not_offline(name)

    def _both(self) -> tuple[Session, ...]:
        """This session and, where it is not that already, the one for offline work."""
        return (self,) if self.settings.offline else (self, self._for_offline_work())

    def _for_offline_work(self) -> Session:
        if self._offline is None:
            self._offline = Session(
                dataclasses.replace(self.settings, offline=True, vertex=None), self.world, self.emit
            )
        return self._offline

    def find(self, name: str) -> KnownJob | KnownRun | None:
        """What is in this session's own state folder by that name."""
        ledger, offline = self.ledger(), self.settings.offline
        if name.startswith("run-"):
            run = ledger.run(name)
            return KnownRun(run, offline) if run else None
        job = ledger.job_by_batch(self._job(name)) or self._by_other_name(name)
        return KnownJob(ledger.run_of(job), job, offline) if job else None

    def _by_other_name(self, name: str) -> Job | None:
        """The job of Vertex AI with that number alone, or whose project is named in the other way: id or number."""
        alone = f"/batchPredictionJobs/{name}"
        for batch in self.ledger().batches():
            if same_job(batch, name) or (name.isdecimal() and batch.endswith(alone)):
                return self.ledger().job_by_batch(batch)
        return None

    def _job(self, name: str) -> str:
        """The whole name of a job."""
        place = self.settings.vertex
        if place is not None and name.isdecimal():
            return f"projects/{place.project}/locations/{place.location}/batchPredictionJobs/{name}"
        return name if name.startswith((CALLS, "projects/")) else "batches/" + name.removeprefix("batches/")

    def _refuse_display_name(self, name: str) -> None:
        """What people see is the display name, and some type it. Raises UsageError with the job's real name."""
        for session in self._both():
            if not session.state_folder.exists():
                continue
            named = [job.batch for _, job in session.ledger().jobs() if job.display_name == name and job.batch]
            if named:
                raise UsageError(
                    f"{name!r} is a display name.",
                    code="display_name",
                    next=f"Use the name of its job: {named[0]}"
                    + (f" ({len(named)} jobs have this display name)." if named[1:] else "."),
                )

    # Runs ------------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def locked(self, folder: RunFolder, *, unless: Callable[[], bool]) -> AsyncIterator[bool]:
        """Hold a run's lock; while another process holds it, wait, with a notice; Ctrl-C interrupts the wait.

        Yields True with the lock. Yields False without it once ``unless`` is true while the other process has it: a
        run is driven for hours, and what is wanted of it is there long before. Raises StateError after ten minutes.
        """
        with contextlib.ExitStack() as held:
            left = _LOCK_WAIT
            while True:
                try:
                    held.enter_context(folder.lock(wait=0.0))
                    break
                except StateError as error:
                    if error.reason_code != "locked":
                        raise
                    if unless():
                        yield False
                        return
                    if left <= 0:
                        raise
                    if left == _LOCK_WAIT:
                        self.emit(Notice("Another process is working on this run. Waiting for it."))
                await self.world.sleep(_LOCK_PAUSE)
                left -= _LOCK_PAUSE
            yield True

    def check_bound(self, target: Target) -> None:
        """Before the service is asked: a run belongs to the address it was made at. Raises UsageError."""
        if isinstance(target, UnknownJob):
            self._check_place(target.name)
            return
        if target.run.backend == address_of(self.settings):
            return
        run = target.run
        if run.backend == OFFLINE or self.settings.offline:
            raise _not_offline(target.name)
        raise UsageError(
            f"{target.name} was created at {run.backend}, and the address is now {address_of(self.settings)}.",
            code="other_backend",
            next=f"Run: {how_to_reach(run.backend, vertex=self.settings.vertex is not None)}",
        )

    def _check_place(self, name: str) -> None:
        """Refuse a job that the other backend has, or another place of Vertex AI. Raises UsageError."""
        place = self.settings.vertex
        if place.has_job(name) if place is not None else self.settings.offline or not name.startswith("projects/"):
            return
        raise UsageError(
            f"{name} cannot be at {address_of(self.settings)}.",
            code="other_backend",
            next=f"Run: {where_to_find(name)}",
        )

    @property
    def asked_with(self) -> str:
        """What the service is asked with, in words."""
        return "this API key" if self.settings.vertex is None else "these credentials"

    def explain_absence(self, error: ApiError, target: Target) -> ApiError:
        """A 403 or 404 for a job, as an error that tells "created with another key" from "unknown"."""
        if not meaning(error).not_shown:
            return error
        if isinstance(target, KnownJob) and target.job.key_fingerprint != self.key_fingerprint():
            return ApiError(
                f"{target.name} was created with another API key, and this key cannot see it ({error.status}). "
                "That does not mean that the job is gone.",
                status=error.status,
                reason=error.reason,
                code="other_key",
                next="Use a key of the project that created it.",
            )
        return ApiError(
            f"The service does not know {target.name} for {self.asked_with} ({error.status}).",
            status=error.status,
            reason=error.reason,
            code="job_not_found",
            next="Check the name, and that the key belongs to the project that created the job. It may be deleted.",
        )


def load_prices(file: Path | str) -> PriceBook:
    """The catalog's prices, and over them the user's own from ``file``, if it exists.

    Raises UsageError with code ``bad_prices`` for a mistake in it, StateError if it cannot be read.
    """
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return default_book()
    except UnicodeDecodeError as error:
        raise UsageError(f"It is not UTF-8: {error}.", file=path, code="bad_prices", next=SET_ASIDE) from None
    except OSError as error:
        raise StateError(f"The file of your own prices cannot be read: {error.strerror}.", file=path) from error
    return dataclasses.replace(default_book(), own=parse(text, path))


def _not_offline(name: str) -> UsageError:
    return UsageError(f"{name} was not created offline.", code="other_backend", next="Leave out --offline.")
