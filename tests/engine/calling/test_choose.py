"""How requests are sent with ``--via auto``."""

from __future__ import annotations

import pytest

from gemini_batch.engine.calling.choose import Auto, way
from gemini_batch.store.ledger.records import Rate
from gemini_batch.store.rows.row_records import Waiting

HOUR = 3600.0


@pytest.mark.parametrize(
    ("requests", "tokens", "auto", "usual", "rate", "expected"),
    [
        (500, 1_000_000, Auto(), None, Rate(), "flex"),
        (501, 1_000, Auto(), None, Rate(), "batch"),
        (10, 1_000_001, Auto(), None, Rate(), "batch"),
        (10, 20, Auto(rows=9), None, Rate(), "batch"),
        (10, 20, Auto(tokens=19), None, Rate(), "batch"),
        (9_000, 9_000, Auto(deadline=2 * HOUR), None, Rate(), "flex"),
        (9_000, 9_000, Auto(deadline=25 * HOUR), None, Rate(), "batch"),
        (9_000, 9_000, Auto(deadline=2 * HOUR), 0.5 * HOUR, Rate(), "batch"),
        (9_000, 9_000, Auto(deadline=2 * HOUR), 1.5 * HOUR, Rate(), "flex"),
        (9_000, 9_000, Auto(deadline=2 * HOUR), None, Rate(calls=75.0), "flex"),
        (9_000, 9_000, Auto(deadline=2 * HOUR), None, Rate(calls=74.0), "batch"),
        (9_000, 9_000, Auto(deadline=2 * HOUR), None, Rate(tokens=74.0), "batch"),
        (9_000, 9_000, Auto(deadline=-HOUR), None, Rate(calls=9_000.0), "flex"),
    ],
)
def test_the_way(requests: int, tokens: int, auto: Auto, usual: float | None, rate: Rate, expected: str) -> None:
    assert way(Waiting(requests, 1, tokens), auto, 0.0, usual=usual, rate=rate).via == expected


def test_a_request_that_is_too_large_for_a_call_goes_in_a_batch() -> None:
    for longest, expected in [(20 * 1024**2, "flex"), (20 * 1024**2 + 1, "batch")]:
        found = way(Waiting(1, longest, 1), Auto(), 0.0, usual=None, rate=Rate(), longest=longest)
        assert found.via == expected
