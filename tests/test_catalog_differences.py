"""The catalog against two published lists: every difference has a reason, and every reason a difference."""

from __future__ import annotations

import pytest

from catalog_differences import compare, differences, reasons
from gemini_batch.catalog import load


def test_every_difference_has_a_reason_and_every_reason_a_difference() -> None:
    pytest.importorskip("genai_prices")
    pytest.importorskip("google.genai.interactions")
    found = compare(differences(load().date), reasons())
    assert (found.unexplained, found.idle) == ([], [])
    assert found.explained


@pytest.mark.parametrize(
    ("found", "given", "unexplained", "idle"),
    [
        (["a: 1 here, 2 there"], {"a: *": "because"}, [], []),
        (["a: 1 here, 2 there"], {"a: 2 *": "because"}, ["a: 1 here, 2 there"], ["a: 2 *"]),
        (["a", "b"], {"a": "because", "?": "because"}, [], []),
        ([], {"a": "because"}, [], ["a"]),
        ([], {}, [], []),
    ],
)
def test_comparing(found: list[str], given: dict[str, str], unexplained: list[str], idle: list[str]) -> None:
    got = compare(found, given)
    assert (got.unexplained, got.idle) == (unexplained, idle)
    assert list(got.explained) == [one for one in found if one not in unexplained]
