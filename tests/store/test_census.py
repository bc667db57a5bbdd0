"""One count of requests by place and verdict, and what follows from it."""

from __future__ import annotations

from gemini_batch.store.rows.census import Census
from gemini_batch.store.rows.conditions import COPY, ELSEWHERE, HELD, REMEMBERED

CENSUS = Census(
    {
        (None, "missing"): 1,
        (None, "failed"): 2,
        (ELSEWHERE, "missing"): 4,
        (HELD, "missing"): 8,
        (COPY, "succeeded"): 16,
        (REMEMBERED, "succeeded"): 32,
        (1, "succeeded"): 64,
        (2, "succeeded"): 128,
        (2, "blocked"): 256,
        (3, "missing"): 512,
    }
)


def test_places() -> None:
    assert CENSUS.at(2) == 128 + 256
    assert CENSUS.at(HELD) == 8
    assert CENSUS.at(4) == 0
    assert CENSUS.missing(3) == 512
    assert CENSUS.missing(2) == 0


def test_parts_of_it() -> None:
    """What is counted again replaces what was counted of these places."""
    part = CENSUS.of({2, HELD, 9})
    assert part.counts == {(HELD, "missing"): 8, (2, "succeeded"): 128, (2, "blocked"): 256}
    assert CENSUS.of({None, 3}).plus(part).at(2) == CENSUS.given(2) == 128 + 256
    assert (CENSUS.given(3), CENSUS.given(HELD), CENSUS.given(REMEMBERED)) == (0, 0, 32)


def test_what_is_to_be_sent() -> None:
    """What waits, what other runs answer, and what is in jobs that were only planned."""
    assert CENSUS.to_send([1, 2, 3]) == 1 + 2 + 4
    assert CENSUS.to_send([1, 2]) == 1 + 2 + 4 + 512


def test_verdicts() -> None:
    rest = {"failed": 2, "blocked": 256, "succeeded": 16 + 32 + 64 + 128}
    missing = 1 + 4 + 8 + 512
    assert CENSUS.verdicts() == {**rest, "missing": missing}
    assert CENSUS.verdicts(unsent=13) == {**rest, "missing": missing - 13}
    assert CENSUS.verdicts(unsent=missing) == rest
    assert CENSUS.answered == sum(rest.values())


def test_jobs_that_are_not_done() -> None:
    assert CENSUS.undone == {2, 3}


def test_nothing() -> None:
    assert Census().verdicts() == {}
    assert Census().answered == Census().to_send([]) == 0
