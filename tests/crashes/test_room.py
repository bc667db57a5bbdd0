"""Room at the service: tokens, jobs and files are limited, and a run is ten times too large for them."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crashes.conftest import MODEL, killed_again_and_again
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from crashes.conftest import Place

QUICK = Path(__file__).with_name("quick.py")


def keys_of(count: int, name: str = "k") -> list[str]:
    return [f"{name}{n}" for n in range(count)]


def test_ten_times_the_enqueued_tokens(place: Place) -> None:
    keys = keys_of(500)
    place.write("in.jsonl", keys, characters=400)
    place.service.pace(queue_delay=600.0)
    place.service.limit(tokens={MODEL: 5_000})

    found = asyncio.run(place.run("in.jsonl"))

    assert found.summary.exit_code == 0
    place.check(keys)
    assert place.paid() == dict.fromkeys(keys, 1)
    assert place.refusals <= 6, place.calls


def test_five_jobs_at_once(place: Place) -> None:
    keys = keys_of(100)
    place.write("in.jsonl", keys)
    place.service.pace(queue_delay=600.0)
    place.service.limit(jobs=5)

    found = asyncio.run(place.run("in.jsonl", RunOptions(max_requests_per_job=2)))

    assert found.summary.exit_code == 0
    place.check(keys)
    assert place.paid() == dict.fromkeys(keys, 1)
    assert place.jobs() == 50
    assert place.refusals <= 8, place.calls


def test_a_file_store_ten_times_too_small(place: Place) -> None:
    keys = keys_of(500)
    place.write("in.jsonl", keys)
    size = (place.folder / "in.jsonl").stat().st_size
    place.service.pace(queue_delay=600.0)
    place.service.limit(storage=size // 2, results_kept=7200.0)  # outputs take room too, until they are gone

    found = asyncio.run(place.run("in.jsonl", RunOptions(max_requests_per_job=20)))

    assert found.summary.exit_code == 0
    place.check(keys)
    assert place.paid() == dict.fromkeys(keys, 1)
    # Each costs one small call: nothing has been uploaded yet when the service says that there is no room.
    assert place.refusals <= 75, place.calls


def test_two_runs_from_one_home(place: Place) -> None:
    """Two files at once: they share the queue, and what is learned of it."""
    place.write("a.jsonl", keys_of(250, "a"), characters=400)
    place.write("b.jsonl", keys_of(250, "b"), characters=400)
    place.service.pace(queue_delay=600.0)
    place.service.limit(tokens={MODEL: 5_000}, jobs=5)

    async def both() -> None:
        await asyncio.gather(place.run("a.jsonl", out="a.out"), place.run("b.jsonl", out="b.out"))

    asyncio.run(both())

    place.check(keys_of(250, "a"), "a.out")
    place.check(keys_of(250, "b"), "b.out")
    assert set(place.paid().values()) == {1}
    assert len(place.paid()) == 500
    # About ten on a quiet machine. On a busy one, many of the world's seconds pass while an upload is under way.
    assert place.refusals <= 80, place.calls


@pytest.mark.parametrize("seed", range(2))
def test_killed_again_and_again_in_a_full_queue(place: Place, seed: int) -> None:
    """Whole processes, killed while they upload, create, wait and collect."""
    chance = random.Random(seed)
    keys = keys_of(300)
    place.write("in.jsonl", keys, characters=400)
    place.service._world.clock._base = time.time_ns
    place.service.pace(queue_delay=0.05)
    place.service.limit(tokens={MODEL: 3_000}, jobs=5)
    words = ("run", "in.jsonl", "-o", "out.jsonl", "--model", MODEL, "--max-requests-per-job", "25")
    deaths = killed_again_and_again(
        place, [sys.executable, str(QUICK), *words], lambda died: chance.uniform(0.5, 0.9) * (1 + died / 10)
    )

    assert deaths > 0, "nothing was killed: the test does not test it"
    place.check(keys)
    assert place.paid() == dict.fromkeys(keys, 1)
