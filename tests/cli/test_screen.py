"""What stands on stderr: bars on a terminal of any width and code page, sparse lines in a pipe, nothing if quiet."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cli.test_wording import run_event
from gemini_batch.cli.live import Bar, Progress, render
from gemini_batch.cli.screen import Screen, screen_width
from gemini_batch.events import JobSeen, Notice, Transfer
from gemini_batch.wire import Phase, RemoteJob

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gemini_batch.events import Event


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def job(**changes: Any) -> RemoteJob:
    values: dict[str, Any] = {
        "name": "batches/a", "state": "JOB_STATE_RUNNING", "phase": Phase.ALIVE, "total": 200, "succeeded": 60,
        "failed": 6, "pending": 134,
    }  # fmt: skip
    return RemoteJob(**{**values, **changes})


def drawn(progress: Progress, width: int = 80, encoding: str = "utf-8", **how: Any) -> list[str]:
    """The lines of a terminal."""
    from rich.console import Console

    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", newline="")
    console = Console(file=file, width=width, force_terminal=True, legacy_windows=False, **{"no_color": True, **how})
    console.print(render([*progress.rows(width)], console))
    file.flush()
    assert isinstance(file.buffer, io.BytesIO)
    return file.buffer.getvalue().decode(encoding).splitlines()


def plain(line: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip()


# Terminals ------------------------------------------------------------------------------------------------------------


def test_a_run_on_a_terminal() -> None:
    now = Hand()
    progress = Progress(now)
    for done in (10_000, 11_000, 12_345):
        progress.tell(run_event(done=done))
        now.time += 60
    now.time -= 30

    bar, first, second = map(plain, drawn(progress))

    assert bar.startswith("run-k7m2q9x4 ━")
    assert bar.endswith(" 12,345 of 100,000 · 12.3%")
    assert first == "20 requests/s · about 74 min left · 7 jobs: 3 alive, 2 collected · $0.12 so far"
    assert second == "running for 12 min · the service is working"


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    progress = Progress(Hand())
    progress.tell(run_event())

    assert plain(drawn(progress)[1]).startswith("time left unknown · 7 jobs")


@pytest.mark.parametrize("width", [20, 40, 80, 120, 300])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    progress = Progress(Hand())
    progress.tell(run_event(verdicts={"blocked": 3, "truncated": 4, "empty": 5, "invalid": 6}))
    progress.move(Transfer("uploading", 1_000_000, 30_000_000, job="run-k7m2q9x4-1"))

    lines = [plain(line) for line in drawn(progress, width)]

    assert all(len(line) <= width for line in lines)
    assert any("━" in line for line in lines) == (width >= 40)
    assert any("12,345 of 100,000" in line for line in lines)


def test_a_terminal_that_knows_ascii_only() -> None:
    """Strict encoding: whatever the code page lacks would raise."""
    progress = Progress(Hand())
    progress.tell(run_event())

    lines = [plain(line) for line in drawn(progress, encoding="ascii")]

    assert lines[0].startswith("run-k7m2q9x4 ---")
    assert "12,345 of 100,000 - 12.3%" in lines[0]


def test_no_color_has_no_colour() -> None:
    progress = Progress(Hand())
    progress.tell(run_event())

    assert not [line for line in drawn(progress, color_system="truecolor", no_color=True) if "\x1b[3" in line]
    assert [line for line in drawn(progress, color_system="truecolor", no_color=False) if "\x1b[3" in line]


def test_a_job_that_is_waited_for() -> None:
    now = Hand()
    progress = Progress(now)
    progress.tell(JobSeen(job(), 20.0, 60.0))
    now.time += 25

    bar, details = map(plain, drawn(progress))

    assert bar.startswith("JOB_STATE_RUNNING ━")
    assert bar.endswith(" 66 of 200 · 33%")
    assert details == "time left unknown · 6 failed · waited 45 s · next poll in 35 s"


def test_a_job_whose_counts_are_not_shown() -> None:
    progress = Progress(Hand())
    progress.tell(JobSeen(job(total=0, succeeded=0, failed=0, pending=0), 20.0, 60.0))

    (bar, _) = progress.rows(80)
    assert bar == Bar("JOB_STATE_RUNNING", 0, None, "")


def test_uploads_at_the_same_time_are_one_bar() -> None:
    now = Hand()
    progress = Progress(now)
    for done in (1_000_000, 2_000_000, 3_000_000):
        progress.move(Transfer("uploading", done, 10_000_000, job="a"))
        progress.move(Transfer("uploading", done, 10_000_000, job="b"))
        now.time += 1
    now.time -= 1

    assert [*progress.rows(80)] == [
        Bar("uploading", 6_000_000, 20_000_000, "6.0 MB of 20.0 MB · 30% · 2.5 MB/s · a few seconds left")
    ]
    progress.move(Transfer("uploading", 10_000_000, 10_000_000, job="a"))
    ((bar,)) = progress.rows(80)
    assert isinstance(bar, Bar)
    assert (bar.done, bar.total) == (13_000_000, 20_000_000), "what is through stays in the sum"
    progress.move(Transfer("uploading", 10_000_000, 10_000_000, job="b"))
    assert progress.is_empty


def test_a_download_of_unknown_size() -> None:
    progress = Progress(Hand())
    progress.move(Transfer("downloading", 1_500_000, None))
    assert [*progress.rows(80)] == [Bar("downloading", 1_500_000, None, "1.5 MB")]

    progress.move(Transfer("downloading", 2_000_000, 2_000_000))
    assert progress.is_empty


def test_a_transfer_that_was_given_up_goes_away() -> None:
    now = Hand()
    progress = Progress(now)
    progress.move(Transfer("uploading", 1, 10, job="a"))
    now.time += 301
    assert [*progress.rows(80)] == []

    progress.move(Transfer("uploading", 5, 10, job="b"))
    assert [*progress.rows(80)] == [Bar("uploading", 5, 10, "5 bytes of 10 bytes · 50% · time left unknown")]


# Pipes ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What is written to a stderr that is no terminal, for events at times."""

    def written(*events: tuple[float, Event], quiet: bool = False, encoding: str = "utf-8") -> list[str]:
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
        monkeypatch.setattr(sys, "stderr", file)
        now = Hand()
        with Screen(quiet=quiet, now=now) as screen:
            for at, event in events:
                now.time = 100.0 + at
                screen.emit(event)
        file.flush()
        assert isinstance(file.buffer, io.BytesIO)
        return file.buffer.getvalue().decode(encoding).splitlines()

    return written


def test_a_pipe_gets_few_lines(lines: Callable[..., list[str]]) -> None:
    """At once when a job has changed; every ten seconds while only counts do; every five minutes while nothing does."""
    found = lines(
        (0, run_event(done=0)),
        (1, run_event(done=10)),
        (9, run_event(done=20)),
        (10, run_event(done=30)),
        (11, run_event(done=30, alive=2, collected=3)),
        (100, run_event(done=30, alive=2, collected=3, elapsed=800.0)),
        (311, run_event(done=30, alive=2, collected=3)),
    )

    assert [line.split(" ")[0] for line in found] == ["0", "30", "30", "30"]
    assert found[1] == (
        "30 of 100,000 requests done · 7 jobs: 3 alive, 2 collected · about 9 h 15 min left · $0.12 so far · "
        "running for 12 min · the service is working"
    )


def test_a_job_in_a_pipe(lines: Callable[..., list[str]]) -> None:
    pending = job(state="JOB_STATE_PENDING", succeeded=0, failed=0, pending=200)

    assert lines((0, JobSeen(pending, 0.0, 1.0)), (1, JobSeen(pending, 1.0, 1.0)), (2, JobSeen(job(), 2.0, 3.0))) == [
        "JOB_STATE_PENDING: 0 of 200 done, 0 failed, 200 pending · waited 0 s",
        "JOB_STATE_RUNNING: 66 of 200 done, 6 failed, 134 pending · waited 2 s",
    ]


def test_long_transfers_in_a_pipe(lines: Callable[..., list[str]]) -> None:
    assert lines(
        (1, Transfer("uploading", 1_000_000, 9_000_000)),
        (12, Transfer("uploading", 3_000_000, 9_000_000)),
        (13, Transfer("uploading", 4_000_000, 9_000_000)),
        (30, Transfer("uploading", 9_000_000, 9_000_000)),
    ) == ["uploading: 3.0 MB of 9.0 MB · 33%"]


def test_quiet_is_silent(lines: Callable[..., list[str]]) -> None:
    assert lines((0, run_event()), (50, Notice("A word.")), (99, Transfer("uploading", 1, 9)), quiet=True) == []


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "cp1252", "cp932"])
def test_a_pipe_of_any_code_page(lines: Callable[..., list[str]], encoding: str) -> None:
    (line,) = lines((0, run_event()), encoding=encoding)
    assert "\\x" not in line
    assert "\\u" not in line


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_is_a_pipe(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    file = Terminal()
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setenv("TERM", term)
    with Screen(quiet=False) as screen:
        screen.emit(run_event())

    assert file.getvalue().startswith("12,345 of 100,000 requests done")
    assert "\x1b" not in file.getvalue()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
def test_the_width_of_the_terminal_that_shows_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl
    import struct
    import termios

    controller, terminal = os.openpty()
    try:
        with open(terminal, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a file descriptor
            monkeypatch.setattr("sys.stderr", stream)
            for columns, found in ((132, 132), (0, None)):
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
                assert screen_width() == found
            monkeypatch.undo()
    finally:
        os.close(controller)


def test_where_stderr_is_no_terminal_there_is_no_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "log").open("w") as log:
        for stream in (log, io.StringIO(), None):
            monkeypatch.setattr("sys.stderr", stream)
            assert screen_width() is None
        monkeypatch.undo()
