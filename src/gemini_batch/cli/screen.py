"""What people see on stderr while a command works: a live line in a terminal, plain and sparse lines in a pipe."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import click

from gemini_batch.cli.outcome import as_invoked, clean, invoked, plain
from gemini_batch.errors import Next

if TYPE_CHECKING:
    from gemini_batch.events import Event, JobSeen, RunProgress, Transfer
    from gemini_batch.wire import RemoteJob

_PLAIN_EVERY = 10.0
_STILL_EVERY = 300.0
_LIVE_FROM = 1.0
#: Seconds from which the age of a run's oldest job is worth a word.
_OLD = 3600.0


class JsonEvents:
    """The same as JSON lines on stdout: ``{"version": 1, "event": …, …}``, one an event."""

    def __init__(self) -> None:
        self._moved = 0.0

    def __enter__(self) -> JsonEvents:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, text: str) -> None:
        """Nothing: what is for eyes only has no place in a stream of events."""

    def emit(self, event: Event) -> None:
        """Write an event of the library; bytes that move, at most every few seconds."""
        import msgspec

        from gemini_batch.events import Transfer, event_name

        if isinstance(event, Transfer):
            now = time.monotonic()
            if now - self._moved < _PLAIN_EVERY:
                return
            self._moved = now
        body = {"version": 1, "event": event_name(event), **msgspec.to_builtins(event, enc_hook=plain)}
        sys.stdout.buffer.write(msgspec.json.encode(body) + b"\n")
        sys.stdout.buffer.flush()


class Screen:
    """Shows events. Use as a context manager, so that a live line is taken away at the end."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live: Any = None
        self._lock = threading.RLock()
        self._is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._began = self._last = time.monotonic()
        self._seen = ""

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def say(self, text: str) -> None:
        """One line for a person."""
        if not self._quiet:
            with self._lock:
                self._close()
                click.echo(clean(as_invoked(text)), err=True)

    def emit(self, event: Event) -> None:
        """Show an event of the library; they come from several threads."""
        if not self._quiet:
            with self._lock:
                self._show(event)

    def _show(self, event: Event) -> None:
        from gemini_batch.events import JobSeen, Notice, RunProgress, Transfer

        match event:
            case Notice(message, level, following):
                sign = "Warning: " if level == "warning" else ""
                then = f" Next: {invoked(following)}" if isinstance(following, Next) else f" {following or ''}"
                self.say(f"{sign}{message}{then}".rstrip())
            case Transfer():
                self._moved(event)
            case JobSeen():
                self._seen_job(event)
            case RunProgress():
                self._went(event)

    def _moved(self, event: Transfer) -> None:
        now = time.monotonic()
        finished = event.total is not None and event.done >= event.total
        if self._is_terminal:
            # Short work is over before a line could be read; only long work is shown.
            if now - self._began >= _LIVE_FROM:
                self._update("" if finished else _progress(event))
        elif now - self._last >= _PLAIN_EVERY and not finished:
            self._last = now
            click.echo(_progress(event), err=True)

    def _seen_job(self, event: JobSeen) -> None:
        waited = f" · waited {span(event.waited)}"
        self._status(
            counts(event.job), f"{waited} · next look in {span(event.next_poll)}" if self._is_terminal else waited
        )

    def _went(self, event: RunProgress) -> None:
        answered = sum(event.verdicts.values())
        others = ", ".join(
            f"{count:,} {verdict}" for verdict, count in event.verdicts.items() if verdict != "succeeded"
        )
        parts = [f"{answered:,} of {plural(event.requests, 'request')} answered{f' ({others})' if others else ''}"]
        parts.append(f"{plural(event.jobs, 'job')}, {event.alive} at work, {event.done} collected")
        if event.waiting:
            parts.append(f"{event.waiting:,} requests to send")
        if event.tokens:
            parts.append(f"{event.tokens:,} tokens")
        if event.usd:
            parts.append(f"${usd(event.usd)}")
        rest = f" · {span(event.elapsed)} · {event.why}"
        if event.oldest is not None and event.expires_in is not None and event.oldest >= _OLD:
            usual = "" if event.usual is None else f" (usually {span(event.usual)})"
            rest += f" · oldest job {span(event.oldest)}{usual}, expires in {span(max(0.0, event.expires_in))}"
        self._status(" · ".join(parts), rest)

    def _status(self, line: str, rest: str) -> None:
        """How it stands: always in place in a terminal; in a pipe when it has changed, or at times."""
        if self._is_terminal:
            self._update(clean(line + rest))
            return
        now = time.monotonic()
        if line != self._seen or now - self._last >= _STILL_EVERY:
            self._seen, self._last = line, now
            click.echo(clean(line + rest), err=True)

    def _update(self, text: str) -> None:
        if not text:
            self._close()
            return
        from rich.text import Text

        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
            self._live.start()
        self._live.update(Text(text))

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _progress(event: Transfer) -> str:
    if event.unit == "bytes":
        done, total = size(event.done), None if event.total is None else size(event.total)
    else:
        done, total = f"{event.done:,}", None if event.total is None else f"{event.total:,}"
    share = f" ({100 * event.done // event.total} %)" if event.total else ""
    return f"{event.what}: {done}{f' of {total}' if total else ''}{share}"


def counts(job: RemoteJob) -> str:
    """``JOB_STATE_RUNNING: 3 of 10 done, 1 failed, 7 pending``."""
    if not job.total:
        return job.state
    return f"{job.state}: {tally(job.succeeded + job.failed, job.failed, job.pending, job.total)}"


def tally(done: int, failed: int, pending: int, total: int) -> str:
    """Progress in words."""
    return f"{done:,} of {total:,} done, {failed:,} failed, {pending:,} pending"


def place(backend: str, before: str = " · at ") -> str:
    """The address of what does not live at Google, with a word before it; empty for Google and for offline work."""
    from gemini_batch.report.billing import elsewhere

    address = elsewhere(backend)
    return f"{before}{address}" if address else ""


def plural(count: int, noun: str) -> str:
    """``1 request``, ``2 requests``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def usd(amount: float) -> str:
    """Two digits that count, however small the sum is."""
    if amount >= 1:
        return f"{amount:,.2f}"
    if amount == 0:
        return "0"
    digits = max(6, 1 - math.floor(math.log10(amount)))
    return f"{amount:.{digits}f}".rstrip("0")


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def span(seconds: float) -> str:
    """A duration for people: ``42 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
