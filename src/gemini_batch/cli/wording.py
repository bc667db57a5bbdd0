"""Numbers and progress in words, for people: counts, sums, sizes, durations, rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.safe_text import printable
from gemini_batch.transcript.sizes import counted, size, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gemini_batch.cli.pace import Pace
    from gemini_batch.events import JobSeen, RunProgress
    from gemini_batch.store.rows.row_records import Reason
    from gemini_batch.wire import RemoteJob

#: Seconds from which the age of a run's oldest job is worth a word.
_OLD = 3600.0
#: Characters of the service's message that are shown on the narrowest screen.
_LEAST_MESSAGE = 40
#: Requests from which progress is shown in tenths of a percent.
_TENTHS_FROM = 10_000
#: What a narrow code page cannot hold, and what stands for it there.
_PLAIN_SIGNS = str.maketrans({"·": "-", "…": "...", "–": "-", "—": "-", "“": '"', "”": '"', "’": "'"})
DOT = " · "


def place(backend: str, before: str = " · at ") -> str:
    """The address of what does not live at Google, with a word before it; empty for Google and for offline work."""
    from gemini_batch.report.billing import elsewhere

    address = elsewhere(backend)
    return f"{before}{address}" if address else ""


def failure_line(failure: Reason, width: int | None) -> str:
    """A group of failures: how many, why, in whose words, which keys. The words are cut off to fit into ``width``."""
    keys = ", ".join(map(printable, failure.keys)) + (", …" if failure.count > len(failure.keys) else "")
    before, after = f"  {failure.count:,} {failure.verdict}: {failure.reason}", f" (keys: {keys})"
    if failure.message is None:
        return before + after
    room = None if width is None else max(_LEAST_MESSAGE, width - len(before) - len(after) - 2)
    cut = room is not None and len(failure.message) > room
    return f"{before}: {failure.message[: room - 1] + '…' if room and cut else failure.message}{after}"


def amount(count: int, unit: str) -> str:
    """So many bytes or requests."""
    return size(count) if unit == "bytes" else f"{count:,}"


def share(done: int, total: int, unit: str) -> str:
    """Percents, rounded down, so that it is never 100 before the end; tenths where one percent takes long."""
    if unit == "requests" and total >= _TENTHS_FROM:
        return f"{1000 * min(done, total) // total / 10:.1f}%"
    return f"{100 * min(done, total) // total}%"


def of_total(done: int, total: int | None, unit: str) -> str:
    """``12 of 30 · 40%``, ``1.0 MB of 3.0 MB · 33%``; with no total what is done, alone."""
    if total is None:
        return amount(done, unit)
    both = f"{amount(done, unit)} of {amount(total, unit)}"
    return f"{both}{DOT}{share(done, total, unit)}" if total else both


def tally(done: int, failed: int, pending: int, total: int) -> str:
    """Progress in words."""
    return f"{done:,} of {total:,} done, {failed:,} failed, {pending:,} pending"


def counts(job: RemoteJob) -> str:
    """``JOB_STATE_RUNNING: 3 of 10 done, 1 failed, 7 pending``."""
    if not job.total:
        return job.state
    return f"{job.state}: {tally(job.succeeded + job.failed, job.failed, job.pending, job.total)}"


def rate_text(rate: float, unit: str) -> str:
    """``12 requests/s``, ``3.5 requests/min``, ``2.0 requests/h``, ``3.4 MB/s``."""
    if unit == "bytes":
        return f"{size(rate)}/s"
    for seconds, word in ((1.0, "s"), (60.0, "min"), (3600.0, "h")):
        value = rate * seconds
        if value >= 1 or word == "h":
            return f"{value:,.0f} {unit}/{word}" if value >= 10 else f"{value:.1f} {unit}/{word}"
    raise AssertionError("an hour is the last unit")


def left_text(left: float | None) -> str:
    """``about 12 min left``; what is not known is said to be unknown."""
    if left is None:
        return "time left unknown"
    return "a few seconds left" if left < 10 else f"about {span(left)} left"


def speed(pace: Pace, done: int, total: int | None, unit: str) -> Iterator[str]:
    """Rate and time left, as far as there is anything to say."""
    if pace.rate:
        yield rate_text(pace.rate, unit)
    if total is not None and done < total:
        yield left_text(pace.left)


def run_details(event: RunProgress, *, since: float = 0.0) -> Iterator[str]:
    """What there is to say of a run besides its bar, most important first; it was heard ``since`` seconds ago."""
    yield f"{counted(event.jobs, 'job')}: {event.alive:,} alive, {event.collected:,} collected"
    if event.waiting:
        yield f"{event.waiting:,} to send"
    others = [f"{count:,} {verdict}" for verdict, count in event.verdicts.items() if verdict != "succeeded"]
    if others:
        yield ", ".join(others)
    if event.uncollected_failed:
        yield f"{event.uncollected_failed:,} failed in active jobs"
    if event.usd:
        from gemini_batch.report.billing import usd

        yield f"${usd(event.usd)} {'not paid (offline)' if event.offline else 'so far'}"
    elif event.tokens:
        yield f"{event.tokens:,} tokens"
    if event.refused:
        yield f"{counted(event.refused, 'call')} refused"
    yield f"running for {span(event.elapsed + since)}"
    going_on = "" if event.goes_on_in is None else f"; going on in {span(max(0.0, event.goes_on_in - since))}"
    yield f"{event.why}{going_on}"
    if event.oldest is not None and event.expires_in is not None and event.oldest >= _OLD:
        usual = "" if event.usual is None else f" (usually {span(event.usual)})"
        yield f"oldest job {span(event.oldest + since)}{usual}, expires in {span(max(0.0, event.expires_in - since))}"


def job_details(event: JobSeen, *, since: float = 0.0) -> Iterator[str]:
    """The same for one job that is waited for."""
    if event.job.failed:
        yield f"{event.job.failed:,} failed"
    yield f"waited {span(event.waited + since)}"
    yield f"next poll in {span(max(0.0, event.next_poll - since))}"


def packed(parts: Sequence[str], width: int) -> list[str]:
    """Parts on as few lines as they need, none of them broken across two; one that is too wide is cut."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(DOT) + len(part) <= width:
            lines[-1] += DOT + part
        else:
            lines.append(part if len(part) <= width else part[: max(0, width - 1)] + "…")
    return lines


def encodable(text: str, encoding: str) -> str:
    """The text with plain signs for those that the code page lacks."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return text.translate(_PLAIN_SIGNS)
    return text
