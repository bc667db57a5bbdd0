"""Progress in words, and durations in both directions."""

from __future__ import annotations

import click
import pytest

from gemini_batch.cli import wording
from gemini_batch.cli.common import duration, parse_duration
from gemini_batch.cli.pace import Pace
from gemini_batch.events import RunProgress
from gemini_batch.store.rows.row_records import Reason
from gemini_batch.transcript.sizes import span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("9m", 540),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1h30m5s", 5405),
        ("1h5s", 3605),
        ("90m", 5400),
        ("0.5", 0.5),
        ("2.5s", 2.5),
        (" 9M ", 540),
        ("0", 0),
        ("", None),
        ("m", None),
        ("-5", None),
        ("1.5h", None),
        ("1h30", None),
        ("30m1h", None),
        ("9 m", None),
        ("9min", None),
        ("1d", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("٣", None),
    ],
)
def test_durations_that_are_typed(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "said"), [("soon", "'soon' is not a duration"), ("0", "more than 0"), ("999999h", "at most 30 days")]
)
def test_a_duration_that_cannot_be_meant(text: str, said: str) -> None:
    with pytest.raises(click.BadParameter, match=said):
        duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (12_000, "3 h 20 min"),
     (172_800, "2 d"), (187_200, "2 d 4 h")],
)  # fmt: skip
def test_durations_that_are_shown(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("rate", "unit", "text"),
    [
        (1234.5, "requests", "1,234 requests/s"),
        (1.5, "requests", "1.5 requests/s"),
        (0.5, "requests", "30 requests/min"),
        (0.02, "requests", "1.2 requests/min"),
        (0.01, "requests", "36 requests/h"),
        (0.00001, "requests", "0.0 requests/h"),
        (2_500_000, "bytes", "2.5 MB/s"),
    ],
)
def test_rates(rate: float, unit: str, text: str) -> None:
    assert wording.rate_text(rate, unit) == text


@pytest.mark.parametrize(
    ("pace", "done", "total", "text"),
    [
        (Pace(None, None), 1, 10, "time left unknown"),
        (Pace(2.0, 3.0), 1, 10, "2.0 requests/s · a few seconds left"),
        (Pace(2.0, 0.0), 1, 10, "2.0 requests/s · a few seconds left"),
        (Pace(2.0, 600.0), 1, 10, "2.0 requests/s · about 10 min left"),
        (Pace(2.0, None), 10, 10, "2.0 requests/s"),
        (Pace(None, None), 1, None, ""),
    ],
)
def test_speed(pace: Pace, done: int, total: int | None, text: str) -> None:
    assert wording.DOT.join(wording.speed(pace, done, total, "requests")) == text


@pytest.mark.parametrize(
    ("done", "total", "unit", "text"),
    [
        (12, 30, "requests", "12 of 30 · 40%"),
        (1999, 2000, "requests", "1,999 of 2,000 · 99%"),
        (40, 30, "requests", "40 of 30 · 100%"),
        (384, 60_000, "requests", "384 of 60,000 · 0.6%"),
        (59_999, 60_000, "requests", "59,999 of 60,000 · 99.9%"),
        (0, 0, "requests", "0 of 0"),
        (1_000_000, 3_000_000, "bytes", "1.0 MB of 3.0 MB · 33%"),
        (1500, None, "bytes", "1.5 kB"),
    ],
)
def test_so_much_of_so_much(done: int, total: int | None, unit: str, text: str) -> None:
    assert wording.of_total(done, total, unit) == text


def run_event(**changes: object) -> RunProgress:
    """Progress of a run in the middle of its work."""
    values: dict[str, object] = {
        "run": "run-k7m2q9x4", "requests": 100_000, "done": 12_345, "uncollected_succeeded": 2345,
        "uncollected_failed": 0, "verdicts": {"succeeded": 10_000}, "waiting": 0, "jobs": 7, "alive": 3, "collected": 2,
        "tokens": 36_000, "usd": 0.12, "offline": False, "elapsed": 720.0, "why": "the service is working",
    }  # fmt: skip
    return RunProgress(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "since", "text"),
    [
        ({}, 0, "7 jobs: 3 alive, 2 collected · $0.12 so far · running for 12 min · the service is working"),
        (
            {"waiting": 1600, "verdicts": {"succeeded": 1, "blocked": 2}, "uncollected_failed": 12},
            60,
            (
                "7 jobs: 3 alive, 2 collected · 1,600 to send · 2 blocked · 12 failed in active jobs · $0.12 so far · "
                "running for 13 min · the service is working"
            ),
        ),
        (
            {"usd": None, "jobs": 1},
            0,
            "1 job: 3 alive, 2 collected · 36,000 tokens · running for 12 min · the service is working",
        ),
        (
            {"offline": True},
            0,
            "7 jobs: 3 alive, 2 collected · $0.12 not paid (offline) · running for 12 min · the service is working",
        ),
        (
            {"oldest": 7200.0, "expires_in": 165_600.0, "usual": 3600.0, "usd": None, "tokens": 0},
            0,
            (
                "7 jobs: 3 alive, 2 collected · running for 12 min · the service is working · "
                "oldest job 2 h (usually 60 min), expires in 46 h"
            ),
        ),
    ],
    ids=["spend", "trouble", "no price", "offline", "old"],
)
def test_a_run_in_words(changes: dict[str, object], since: float, text: str) -> None:
    assert wording.DOT.join(wording.run_details(run_event(**changes), since=since)) == text


@pytest.mark.parametrize("width", [1, 20, 40, 80, 200])
def test_parts_are_not_broken(width: int) -> None:
    parts = ["34 requests/s", "about 43 min left", "3 jobs: 3 alive, 0 collected", "the service is working"]

    lines = wording.packed(parts, width)

    assert all(len(line) <= width for line in lines)
    if width >= 40:
        assert wording.DOT.join(lines).split(wording.DOT) == parts


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("utf-8", "a · b…"), ("cp437", "a - b..."), ("ascii", "a - b..."), ("cp1252", "a · b…"), ("no-such", "a - b...")],
)
def test_signs_that_a_code_page_lacks(encoding: str, text: str) -> None:
    assert wording.encodable("a · b…", encoding) == text


@pytest.mark.parametrize(
    ("message", "count", "width", "line"),
    [
        (None, 3, 80, "  3 failed: INTERNAL (keys: a, b, c)"),
        (None, 1_234, 10, "  1,234 failed: INTERNAL (keys: a, b, c, …)"),
        ("Wrong.", 3, None, "  3 failed: INTERNAL: Wrong. (keys: a, b, c)"),
        ("x" * 300, 3, None, f"  3 failed: INTERNAL: {'x' * 300} (keys: a, b, c)"),
        ("x" * 44, 3, 80, f"  3 failed: INTERNAL: {'x' * 41}… (keys: a, b, c)"),
        ("x" * 42, 3, 80, f"  3 failed: INTERNAL: {'x' * 42} (keys: a, b, c)"),
        ("x" * 42, 3, 10, f"  3 failed: INTERNAL: {'x' * 39}… (keys: a, b, c)"),
        ("x" * 40, 3, 10, f"  3 failed: INTERNAL: {'x' * 40} (keys: a, b, c)"),
    ],
)
def test_a_group_of_failures(message: str | None, count: int, width: int | None, line: str) -> None:
    """The service's words are cut off to fit on one line, but never to nothing."""
    reason = Reason(verdict="failed", reason="INTERNAL", message=message, count=count, keys=["a", "b", "c"])

    assert wording.failure_line(reason, width) == line
    assert width is None or message is None or width < 80 or len(line) <= width


def test_keys_cannot_break_the_line_of_a_group() -> None:
    reason = Reason(verdict="failed", reason="INTERNAL", message=None, count=2, keys=["a\nb", "\x1b[31mred"])

    assert wording.failure_line(reason, 80) == "  2 failed: INTERNAL (keys: a b,  [31mred)"
