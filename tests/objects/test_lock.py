"""One process at a time works into a place in a bucket, whatever machine it runs on."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from engine.clock import Clock
from gemini_batch.errors import ServiceError, StateError, UsageError
from gemini_batch.objects import stores
from gemini_batch.objects.address import parse
from gemini_batch.objects.lock import ObjectLock, check_locks, holding
from gemini_batch.objects.lock_policy import REFRESH, STALE, TRUSTED, Lock, is_trusted, judge, may_be_lost
from objects.buckets import Bucket, StillClock

if TYPE_CHECKING:
    from pathlib import Path

    from objects.buckets import Calls

THERE = Lock(host="other", pid=7, at=1000.0, token="theirs")


@pytest.mark.parametrize(
    ("there", "written", "own", "now", "found"),
    [
        (None, 0.0, (), 1000.0, "free"),
        (THERE, 1000.0, (), 1000.0, "live"),
        (THERE, 1000.0, (), 1000.0 + STALE - 1, "live"),
        (THERE, 1000.0, (), 1000.0 + STALE, "stale"),
        (THERE, 1500.0, (), 1000.0 + STALE, "live"),  # the clock of its writer is slow
        (THERE, 500.0, (), 1000.0 + STALE - 1, "live"),  # that of the store is
        (THERE, 1000.0, ("theirs", "mine"), 1000.0, "ours"),
        (THERE, 1000.0, ("mine",), 1000.0, "live"),
        (THERE, 1000.0, (), 0.0, "live"),  # ours was set back
    ],
)
def test_what_a_lock_means(there: Lock | None, written: float, own: tuple[str, ...], now: float, found: str) -> None:
    assert judge(there, written=written, own=own, now=now) == found


def test_a_lock_is_trusted_for_less_time_than_it_takes_to_lose_it() -> None:
    assert REFRESH < TRUSTED < STALE - REFRESH
    assert is_trusted(100.0, 100.0 + TRUSTED - 1)
    assert not is_trusted(100.0, 100.0 + TRUSTED)
    assert not is_trusted(100.0, 99.0)
    assert not may_be_lost(100.0, 100.0 + TRUSTED)
    assert may_be_lost(100.0, 100.0 + STALE - REFRESH)
    assert may_be_lost(100.0, 99.0)


def lock(bucket: Bucket, clock: Clock, note: Path) -> ObjectLock:
    return ObjectLock(parse(bucket / "answers/.lock"), clock.world(), note)


def test_a_lock_says_who_has_it_and_is_removed(bucket: Bucket, tmp_path: Path) -> None:
    clock = Clock()
    ours = lock(bucket, clock, tmp_path / "a")
    ours.take()
    held = json.loads(bucket.get("answers/.lock"))
    assert held.keys() == {"host", "pid", "at", "token"}
    assert held["at"] == clock.now
    with pytest.raises(StateError) as refused:
        lock(bucket, clock, tmp_path / "b").take()
    assert (refused.value.reason_code, refused.value.exit_code) == ("locked", 3)
    assert f"{held['pid']} on {held['host']}" in refused.value.message
    assert held["token"] not in str(refused.value)
    ours.release()
    assert bucket.names() == []
    lock(bucket, clock, tmp_path / "b").take()


def test_a_lock_that_is_not_refreshed_is_taken_over_and_its_holder_knows(bucket: Bucket, tmp_path: Path) -> None:
    clock = Clock()
    clock.now = 4e9  # later than what the store says
    ours, theirs = lock(bucket, clock, tmp_path / "a"), lock(bucket, clock, tmp_path / "b")
    ours.take()
    clock.pass_by(STALE - 1)
    ours.refresh()
    clock.pass_by(STALE - 1)
    with pytest.raises(StateError):
        theirs.take()
    clock.pass_by(1)
    theirs.take()
    assert not ours.is_certain
    with pytest.raises(StateError) as lost:
        ours.check()
    assert lost.value.reason_code == "lock_lost"
    before = bucket.get("answers/.lock")
    ours.release()  # it is not ours any more
    assert bucket.get("answers/.lock") == before


def test_of_two_who_take_over_one_gets_it(bucket: Bucket, tmp_path: Path, calls: Calls) -> None:
    clock = Clock()
    clock.now = 4e9
    lock(bucket, clock, tmp_path / "dead").take()
    clock.pass_by(STALE)
    first, second = lock(bucket, clock, tmp_path / "a"), lock(bucket, clock, tmp_path / "b")
    calls.after["get", ".lock"] = second.take  # the first one has read, and not written yet
    with pytest.raises(StateError) as refused:
        first.take()
    assert refused.value.reason_code == "locked"
    second.refresh()


def test_what_a_killed_process_left_is_taken_at_once_by_its_state_folder(bucket: Bucket, tmp_path: Path) -> None:
    clock = Clock()
    killed = lock(bucket, clock, tmp_path / "note")
    killed.take()
    ours = lock(bucket, clock, tmp_path / "note")
    ours.take()
    with pytest.raises(StateError):
        killed.refresh()
    ours.refresh()


def test_killed_while_it_takes_over_it_is_recognised(bucket: Bucket, tmp_path: Path, calls: Calls) -> None:
    clock = Clock()
    lock(bucket, clock, tmp_path / "note").take()

    def kill() -> None:
        raise KeyboardInterrupt

    calls.before["put", ".lock"] = kill
    with pytest.raises(KeyboardInterrupt):
        lock(bucket, clock, tmp_path / "note").take()
    lock(bucket, clock, tmp_path / "note").take()


def test_another_object_in_the_place_of_a_lock_stays(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("answers/.lock", b"mine")
    with pytest.raises(UsageError, match="not a lock"):
        lock(bucket, Clock(), tmp_path / "a").take()
    assert bucket.get("answers/.lock") == b"mine"


def test_a_write_whose_answer_was_lost_is_ours(memory: Bucket, tmp_path: Path) -> None:
    """obstore sends a write once more when its answer is lost, and the second one meets the first."""
    ours = lock(memory, Clock(), tmp_path / "a")
    ours.take()
    memory.put("answers/.lock", memory.get("answers/.lock"))  # the same content, and another ETag
    ours.refresh()
    ours.refresh()


def test_a_lock_that_cannot_be_refreshed_is_lost_before_others_may_take_it(
    memory: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    ours = lock(memory, clock, tmp_path / "a")
    ours.take()

    def fail(*_: object) -> None:
        raise ServiceError("no answer")

    monkeypatch.setattr(stores, "put_if", fail)
    clock.pass_by(TRUSTED)
    with pytest.raises(ServiceError):
        ours.check()
    clock.pass_by(STALE - REFRESH - TRUSTED)
    with pytest.raises(StateError) as lost:
        ours.check()
    assert lost.value.reason_code == "lock_lost"


def test_work_stops_when_the_lock_is_lost(memory: Bucket, tmp_path: Path) -> None:
    clock, ticks = StillClock(), asyncio.Event()

    async def until_tick(seconds: float) -> None:
        assert seconds == REFRESH
        await ticks.wait()
        ticks.clear()

    clock.sleep = until_tick  # type: ignore[method-assign]
    ours = lock(memory, clock, tmp_path / "a")

    async def work() -> None:
        async with holding(ours, clock.world()):
            memory.delete("answers/.lock")
            ticks.set()
            await asyncio.Event().wait()

    with pytest.raises(StateError) as lost:
        asyncio.run(work())
    assert lost.value.reason_code == "lock_lost"


def test_before_something_is_sent_the_lock_is_checked(memory: Bucket, tmp_path: Path) -> None:
    clock = StillClock()
    ours = lock(memory, clock, tmp_path / "a")

    async def work() -> None:
        await check_locks()
        async with holding(ours, clock.world()):
            await check_locks()
            memory.delete("answers/.lock")
            await check_locks()  # it was taken just now
            clock.pass_by(TRUSTED)  # this process was suspended
            await check_locks()

    with pytest.raises(StateError) as lost:
        asyncio.run(work())
    assert lost.value.reason_code == "lock_lost"
