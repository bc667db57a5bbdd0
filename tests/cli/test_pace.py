"""Rate and time left, from what was observed: never a guess, never nonsense."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.cli.pace import BYTES_WINDOW, REQUESTS_WINDOW, History, Pace, begin, observe, pace


def seen(*looks: tuple[float, int], window: float = REQUESTS_WINDOW) -> History:
    history: History | None = None
    for at, done in looks:
        history = observe(history, at, done, window=window)
    assert history is not None
    return history


@pytest.mark.parametrize(
    ("looks", "now", "total", "expected"),
    [
        pytest.param([(0, 0)], 5, 100, Pace(None, None), id="one look says nothing"),
        pytest.param([(0, 0), (60, 0), (120, 0)], 120, 100, Pace(None, None), id="nothing has moved"),
        pytest.param([(0, 0), (1, 90)], 1, 100, Pace(None, None), id="one leap is no speed"),
        pytest.param([(0, 0), (10, 10), (20, 20)], 20, 100, Pace(1.0, 80.0), id="steady"),
        pytest.param([(0, 0), (10, 10), (20, 20)], 50, 100, Pace(1.0, 50.0), id="counted down between looks"),
        pytest.param([(0, 0), (10, 10), (20, 20)], 500, 100, Pace(1.0, 0.0), id="never negative"),
        pytest.param([(0, 0), (10, 10), (20, 20)], 15, 100, Pace(1.0, 80.0), id="a look from the future"),
        pytest.param([(0, 40), (10, 50), (20, 60)], 20, 100, Pace(1.0, 40.0), id="what was done before is no speed"),
        pytest.param([(0, 0), (10, 10), (20, 20), (40, 20)], 40, 100, Pace(0.5, 160.0), id="slower while it stands"),
        pytest.param([(0, 0), (10, 50), (20, 100)], 20, 100, Pace(5.0, None), id="all done"),
        pytest.param([(0, 0), (10, 50), (20, 120)], 20, 100, Pace(6.0, None), id="more than all"),
        pytest.param([(0, 0), (10, 10), (20, 20)], 20, None, Pace(1.0, None), id="no total"),
        pytest.param([(0, 0), (10, 10), (20, 20), (30, 5)], 30, 100, Pace(None, None), id="begun anew"),
        pytest.param([(5, 0), (5, 10), (5, 20)], 5, 100, Pace(None, None), id="no time has passed"),
    ],
)
def test_table(looks: list[tuple[float, int]], now: float, total: int | None, expected: Pace) -> None:
    assert pace(seen(*looks), now, total) == expected


def test_a_job_that_waited_for_hours_before_it_moved() -> None:
    """The queue is no part of the speed for longer than the window."""
    queue = [(60.0 * n, 0) for n in range(300)]
    work = [(18_000.0 + 60 * n, 600 * n) for n in range(1, 60)]

    assert pace(seen(*queue, *work), 18_000 + 60 * 59, 100_000).rate == pytest.approx(10, rel=0.05)


def test_counts_that_leap_when_a_job_ends() -> None:
    """Three leaps of an hour each: the average spans them, though the window is shorter."""
    looks = [(60.0 * minute, 10_000 * (minute // 60)) for minute in range(241)]

    found = pace(seen(*looks), 240 * 60, 100_000)

    assert found.rate == pytest.approx(10_000 / 3600, rel=0.01)
    assert found.left == pytest.approx(6 * 3600, rel=0.01)


def test_a_speed_that_has_changed_is_the_new_one_after_the_window() -> None:
    slow = [(float(n), 10 * n) for n in range(60)]
    fast = [(60.0 + n, 600 + 1000 * n) for n in range(60)]

    assert pace(seen(*slow, *fast, window=BYTES_WINDOW), 119, None).rate == pytest.approx(1000, rel=0.01)


@given(
    looks=st.lists(st.tuples(st.floats(0, 400), st.integers(0, 1000)), min_size=1, max_size=40),
    total=st.integers(1, 10_000),
    later=st.floats(0, 1e6),
)
def test_whatever_is_seen_nothing_absurd_is_said(looks: list[tuple[float, int]], total: int, later: float) -> None:
    at = 0.0
    history: History | None = None
    for pause, done in looks:
        at += pause
        history = observe(history, at, done, window=REQUESTS_WINDOW)
    assert history is not None

    found = pace(history, at + later, total)

    assert found.rate is None or (found.rate > 0 and math.isfinite(found.rate))
    assert found.left is None or (found.left >= 0 and math.isfinite(found.left))
    assert found.left is None or found.rate is not None


def test_a_clock_that_jumps_back_begins_anew() -> None:
    assert seen((10, 5), (3, 6)) == begin(3, 6, window=REQUESTS_WINDOW)


def test_memory_is_bounded() -> None:
    """Offline a job is polled four times a second, for hours."""
    history: History | None = None
    for n in range(40_000):
        history = observe(history, n / 4, n, window=REQUESTS_WINDOW)
    assert history is not None
    assert len(history.steps) < 1000
    assert pace(history, 10_000, 80_000).rate == pytest.approx(4, rel=0.01)
