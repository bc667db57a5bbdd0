"""Buckets for tests: one in memory behind ``s3://bucket``, one in a folder behind ``file://``."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import obstore

from engine.clock import Clock
from engine.fake import Killed
from gemini_batch.objects.lock_policy import REFRESH

if TYPE_CHECKING:
    from obstore.store import ObjectStore


@dataclass(frozen=True)
class Bucket:
    """A place for objects. ``address``: what those of its objects begin with; ``prefix``: what their names do."""

    address: str
    store: ObjectStore
    prefix: str

    def __truediv__(self, name: str) -> str:
        return f"{self.address}/{name}"

    def put(self, name: str, content: bytes) -> str:
        obstore.put(self.store, f"{self.prefix}{name}", content)
        return self / name

    def get(self, name: str) -> bytes:
        return bytes(obstore.get(self.store, f"{self.prefix}{name}").bytes())

    def delete(self, name: str) -> None:
        obstore.delete(self.store, f"{self.prefix}{name}")

    def names(self) -> list[str]:
        found = [one["path"] for some in obstore.list(self.store, self.prefix or None) for one in some]
        return sorted(name.removeprefix(self.prefix) for name in found)


class Calls:
    """Counts the calls of obstore, and does something before or after one of them."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []
        self.before: dict[tuple[str, str], Any] = {}
        self.after: dict[tuple[str, str], Any] = {}
        #: The number of the call at which the process is killed.
        self.dies_at: int | None = None

    def watch(self, name: str) -> Any:
        original = getattr(obstore, name)

        def call(store: Any, path: str, *args: Any, **more: Any) -> Any:
            if len(self.made) == self.dies_at:
                raise Killed
            self.made.append((name, path))
            which = name, (path or "").rpartition("/")[2]
            if (first := self.before.pop(which, None)) is not None:
                first()
            then, found = self.after.pop(which, None), original(store, path, *args, **more)
            if then is not None:
                then()
            return found

        return call


class StillClock(Clock):
    """Time that does not pass by the pauses between two refreshes of a lock."""

    async def sleep(self, seconds: float) -> None:
        if seconds == REFRESH:
            await asyncio.Event().wait()
        await super().sleep(seconds)
