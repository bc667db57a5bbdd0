"""Whatever a hostile service does and wherever its clients die, each key ends with its own answer, paid for once.

Everything about a world is drawn from the number of its seed, and the whole client is real down to its HTTP transport.
``HOSTILE_SEEDS=17`` plays one world, ``HOSTILE_SEEDS=100-200`` a range; ``PROPERTY_EXAMPLES`` says how many otherwise.
"""

from __future__ import annotations

import os
from pprint import pformat
from typing import TYPE_CHECKING

import pytest

from crashes.hostile.lives import Play, Scenario
from crashes.hostile.oracle import Oracle
from crashes.hostile.virtual_time import HangError

if TYPE_CHECKING:
    from pathlib import Path


def seeds() -> range:
    """The seeds of this session."""
    asked = os.environ.get("HOSTILE_SEEDS")
    if asked is None:
        return range(int(os.environ.get("PROPERTY_EXAMPLES", "15")))
    first, _, last = asked.partition("-")
    return range(int(first), int(last or first) + 1)


# A process that dies leaves work that it was about to begin.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("seed", seeds())
def test_every_key_has_its_own_answer_and_is_paid_once(tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "world"
    folder.mkdir()
    play = Play(Scenario.of(seed), folder)
    oracle = Oracle(play)
    try:
        oracle.end(play.play(oracle.command))
    except (Exception, HangError) as error:
        error.add_note(f"HOSTILE_SEEDS={seed}\n{pformat(play.scenario)}\n" + "\n".join(play.ends))
        raise


def test_a_world_is_the_same_every_time(tmp_path: Path) -> None:
    """Otherwise the number of a seed would not repeat a failure."""
    played = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        play = Play(Scenario.of(2), folder)
        play.play(lambda _: None)
        played.append((play.ends, play.service.requests, play.service.jobs))

    assert played[0] == played[1]
