"""The lock of a place in a bucket: one process at a time works into it, whatever machine it runs on.

It is an object that only a conditional write creates or changes. Its holder refreshes it; one that was not refreshed
for ten minutes may be taken over. Who has lost it stops before anything further is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.errors import Error, ServiceError, StateError, UsageError
from gemini_batch.jsonl import atomic_write, decode_as
from gemini_batch.objects import stores
from gemini_batch.objects.lock_policy import REFRESH, Lock, is_trusted, judge, may_be_lost
from gemini_batch.objects.stores import Precondition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gemini_batch.objects.address import Address
    from gemini_batch.objects.stores import Seen
    from gemini_batch.world import World

#: How often taking a lock is tried where others take and release it at the same time.
_TRIES = 5
_HELD: ContextVar[tuple[ObjectLock, ...]] = ContextVar("held", default=())


class ObjectLock:
    """A lock. ``note``: a file of the state folder for its token, so that what a killed process left is recognised;
    the caller makes sure that no other process uses this file."""

    def __init__(self, address: Address, world: World, note: Path) -> None:
        self.address, self._world, self._note = address, world, note
        self._token = world.token(20)
        self._seen: Seen | None = None
        self._refreshed = 0.0
        #: What took it from us.
        self.lost: StateError | None = None

    def take(self) -> None:
        """Take the lock. Raises StateError if another process holds it, UsageError, ServiceError."""
        for _ in range(_TRIES):
            there, seen = self._there()
            own, now = self._own(), self._world.now()
            found = judge(there, written=seen.modified if seen else 0.0, own=own, now=now)
            if found == "live":
                assert there is not None
                raise self._held_by(there)
            # A process that is killed before the lock is written leaves the one that was there before.
            self._remember({there.token, self._token} if there is not None and found == "ours" else {self._token})
            with contextlib.suppress(Precondition):
                self._write(seen)
                self._remember({self._token})
                return
        raise StateError(
            "Other processes take and release this lock all the time.",
            file=str(self.address),
            code="locked",
            next="Wait for them to finish, and run the same command again.",
        )

    def refresh(self) -> None:
        """Say that it is still held. Raises StateError if it is not, ServiceError if that is not known now."""
        try:
            self._write(self._seen)
        except Precondition:
            there, seen = self._there()
            if there is not None and there.token == self._token:
                self._seen = seen  # a write of ours whose answer was lost
                self._refreshed = there.at
                return
            self.lost = self._lost("was taken over" if there is not None else "was removed")
            raise self.lost from None
        except Error as error:
            if not isinstance(error, ServiceError) or may_be_lost(self._refreshed, self._world.now()):
                self.lost = self._lost("could not be refreshed")
                raise self.lost from error
            raise

    @property
    def is_certain(self) -> bool:
        """Whether it is held for certain: it was refreshed not long ago."""
        return self.lost is None and is_trusted(self._refreshed, self._world.now())

    def check(self) -> None:
        """Make sure that it is held. Raises StateError, ServiceError."""
        if self.lost is not None:
            raise self.lost
        if not self.is_certain:
            self.refresh()

    def release(self) -> None:
        """Remove the lock, if it is still ours. Raises nothing: one that stays is recognised, or becomes stale."""
        with contextlib.suppress(Error, Precondition, OSError):
            there, _ = self._there()
            if there is not None and there.token == self._token:
                stores.delete(self.address)
            self._note.unlink(missing_ok=True)

    def _write(self, there: Seen | None) -> None:
        now = self._world.now()
        lock = Lock(host=platform.node(), pid=os.getpid(), at=now, token=self._token)
        self._seen = stores.put_if(self.address, msgspec.json.encode(lock), there)
        self._refreshed = now

    def _there(self) -> tuple[Lock | None, Seen | None]:
        found = stores.read_small(self.address)
        if found is None:
            return None, None
        try:
            return decode_as(found[0], Lock), found[1]
        except ValueError:
            raise UsageError(
                "This is not a lock of gemini-batch, and one would replace it.",
                file=str(self.address),
                field="--output",
                code="bad_output",
                next="Choose another place for the results.",
            ) from None

    def _own(self) -> frozenset[str]:
        try:
            return frozenset(self._note.read_text(encoding="utf-8").split())
        except FileNotFoundError:
            return frozenset()

    def _remember(self, tokens: set[str]) -> None:
        with atomic_write(self._note, private=True) as file:
            file.write("\n".join(sorted(tokens)).encode())

    def _held_by(self, lock: Lock) -> StateError:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(lock.at))
        return StateError(
            f"Another process works on these results: {lock.pid} on {lock.host}, seen at {since} UTC.",
            file=str(self.address),
            code="locked",
            next="Wait for it to finish, or stop it, and run the same command again. A lock that is not refreshed for "
            "ten minutes is taken over.",
        )

    def _lost(self, how: str) -> StateError:
        return StateError(
            f"The lock of these results {how}, so another process may work on them. Nothing more was sent.",
            file=str(self.address),
            code="lock_lost",
            next="If no other process works on them, run the same command again: it continues.",
        )


async def check_locks() -> None:
    """Before something is sent: make sure that the locks that this work holds are still held.

    Raises StateError if one is lost, ServiceError if that is not known now.
    """
    if not all(lock.is_certain for lock in _HELD.get()):
        await asyncio.to_thread(check_locks_here)


def check_locks_here() -> None:
    """The same in a thread, before something is written to a bucket."""
    for lock in _HELD.get():
        lock.check()


@contextlib.asynccontextmanager
async def holding(lock: ObjectLock, world: World) -> AsyncIterator[None]:
    """Hold a lock while something is done, which is cancelled if the lock is lost. Raises StateError then."""
    await asyncio.to_thread(lock.take)
    working = asyncio.current_task()
    assert working is not None

    async def keep() -> None:
        while lock.lost is None:
            await world.sleep(REFRESH)
            with contextlib.suppress(Error):
                await asyncio.to_thread(lock.refresh)
        working.cancel()

    keeping, before = asyncio.ensure_future(keep()), _HELD.set((*_HELD.get(), lock))
    try:
        yield
    except asyncio.CancelledError:
        if lock.lost is None:
            raise
        working.uncancel()
        raise lock.lost from None
    finally:
        _HELD.reset(before)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await asyncio.shield(asyncio.to_thread(lock.release))
