"""What people see on stderr while a command works: bars on a terminal, plain and sparse lines in a pipe."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, TextIO

import click

from gemini_batch.cli import wording
from gemini_batch.cli.outcome import clean, documented, invoked, write_line
from gemini_batch.errors import Next
from gemini_batch.transcript.sizes import counted, span

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.events import Event, RunProgress, Transfer

#: Seconds between two lines in a pipe while only numbers change, and while nothing does.
_PLAIN_EVERY, _STILL_EVERY = 10.0, 300.0
#: Work that is shorter is over before a line could be read.
_LIVE_FROM = 1.0


class JsonEvents:
    """The same as JSON lines on stdout: ``{"version": 1, "event": …, …}``, one an event."""

    def __init__(self) -> None:
        self._moved = 0.0

    def __enter__(self) -> JsonEvents:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, text: str) -> None:
        """Nothing: text for people has no place in a stream of events."""

    def emit(self, event: Event) -> None:
        """Write an event of the library; bytes that move, at most every few seconds."""
        from gemini_batch.events import Transfer, event_name

        if isinstance(event, Transfer):
            now = time.monotonic()
            if now - self._moved < _PLAIN_EVERY:
                return
            self._moved = now
        write_line(event=event_name(event), **documented(event))


class Screen:
    """Shows events. Use as a context manager, so that a bar is taken away at the end."""

    def __init__(self, *, quiet: bool, now: Callable[[], float] = time.monotonic) -> None:
        from gemini_batch.cli.live import LiveProgress

        self._quiet, self._now = quiet, now
        self._is_terminal = sys.stderr.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}
        self._live = LiveProgress(now)
        self._began = now()
        self._last: float | None = None
        self._line: str | None = None
        self._shape: object = None

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.close()

    def say(self, text: str) -> None:
        """One line for a person, once the work is done: a bar goes away."""
        if not self._quiet:
            self._live.close()
            _echo(clean(text))

    def emit(self, event: Event) -> None:
        """Show an event of the library; all of them come on one thread."""
        if not self._quiet:
            self._show(event)

    def _show(self, event: Event) -> None:
        from gemini_batch.events import JobSeen, Notice, RunProgress, Transfer

        match event:
            case Notice(message, level, following):
                sign = "Warning: " if level == "warning" else ""
                then = f" Next: {invoked(following)}" if isinstance(following, Next) else f" {following or ''}"
                words = clean(f"{sign}{message}{then}".rstrip())
                if not self._live.above(words):
                    _echo(words)
            case Transfer():
                self._transfer(event)
            case JobSeen():
                self._live.progress.tell(event)
                self._stands(wording.counts(event.job), f"waited {span(event.waited)}", event.job.state)
            case RunProgress():
                self._live.progress.tell(event)
                self._run(event)

    def _transfer(self, event: Transfer) -> None:
        now = self._now()
        if self._is_terminal:
            self._live.progress.move(event)
            if now - self._began >= _LIVE_FROM:
                self._live.refresh()
            return
        finished = event.total is not None and event.done >= event.total
        if now - (self._began if self._last is None else self._last) >= _PLAIN_EVERY and not finished:
            self._last = now
            _echo(f"{event.what}: {wording.of_total(event.done, event.total, event.unit)}")

    def _run(self, event: RunProgress) -> None:
        done = f"{event.done:,} of {counted(event.requests, 'request')} done"
        first, *rest = wording.run_details(event)
        self._stands(
            f"{done} · {first}",
            wording.DOT.join(rest),
            (event.jobs, event.alive, event.collected, event.goes_on_in is None),
        )

    def _stands(self, line: str, rest: str, shape: object) -> None:
        """The current progress: in place on a terminal; in a pipe when a job changed (``shape``) or at intervals."""
        if self._is_terminal:
            self._live.refresh()
            return
        now = self._now()
        silent = None if self._last is None or self._line is None else now - self._last
        changed = shape != self._shape or (line != self._line and (silent is None or silent >= _PLAIN_EVERY))
        if silent is None or changed or silent >= _STILL_EVERY:
            self._line, self._last, self._shape = line, now, shape
            left = self._live.progress.pace_left()
            parts = (line, "" if left is None else wording.left_text(left), rest)
            _echo(clean(wording.DOT.join(part for part in parts if part)))


def screen_width(stream: TextIO | None = None) -> int | None:
    """The columns of the terminal that shows a stream, stderr by default; None where lines may have any length."""
    try:
        return os.get_terminal_size((stream or sys.stderr).fileno()).columns or None
    except (OSError, ValueError, AttributeError):  # no terminal, or a stream without a file
        return None


def _echo(words: str) -> None:
    click.echo(wording.encodable(words, getattr(sys.stderr, "encoding", None) or "ascii"), err=True)
