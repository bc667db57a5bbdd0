"""Progress on a terminal: a bar for the run or the job that is awaited, and one for each kind of transfer.

The text is made anew several times a second, on a thread of its own, from what was heard last: what is heard replaces
whole values, so that such a pass sees the old ones or the new ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gemini_batch.cli import wording
from gemini_batch.cli.pace import BYTES_WINDOW, REQUESTS_WINDOW, History, observe, pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.console import Console, RenderableType

    from gemini_batch.events import JobSeen, RunProgress, Transfer

_REFRESHES = 4
_BAR_LEAST, _BAR_MOST = 10, 60
#: A transfer that nothing was heard of for so many seconds has been given up.
_FORGOTTEN = 300.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One line with a bar; ``total`` None: nothing to compare with, so the bar only moves."""

    label: str
    done: int
    total: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Heard:
    """The last event of a kind, when it came, and what its progress was until then."""

    event: RunProgress | JobSeen
    at: float
    history: History


@dataclass(frozen=True, slots=True)
class Moving:
    """Transfers of one kind: those under way, by job, with those that were done in the meantime."""

    transfers: Mapping[str | None, Transfer]
    at: float
    history: History

    @property
    def done(self) -> int:
        """So much of all of them."""
        return sum(one.done for one in self.transfers.values())

    @property
    def total(self) -> int | None:
        """How much all of them are, if that is known of each."""
        totals = [one.total for one in self.transfers.values()]
        return None if None in totals else sum(total for total in totals if total is not None)


class Progress:
    """What was heard, as lines of text and bars; ``now`` is a monotonic clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._heard: Heard | None = None
        self._moving: dict[str, Moving] = {}

    def tell(self, event: RunProgress | JobSeen) -> None:
        """Take in how a run or a job stands."""
        before = self._heard.history if self._heard is not None and _same(self._heard.event, event) else None
        done, _ = _counts(event)
        now = self._now()
        self._heard = Heard(event, now, observe(before, now, done, window=REQUESTS_WINDOW))

    def move(self, event: Transfer) -> None:
        """Take in how far a transfer is."""
        now = self._now()
        before = self._moving.get(event.what)
        if before is not None and now - before.at > _FORGOTTEN:
            before = None
        transfers = {**(before.transfers if before else {}), event.job: event}
        rest = {what: moving for what, moving in self._moving.items() if what != event.what}
        if all(one.total is not None and one.done >= one.total for one in transfers.values()):
            self._moving = rest
            return
        done = sum(one.done for one in transfers.values())
        history = observe(before.history if before else None, now, done, window=BYTES_WINDOW)
        self._moving = {**rest, event.what: Moving(transfers, now, history)}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return self._heard is None and not self._moving

    def pace_left(self) -> float | None:
        """Seconds until all requests are done, if that is known."""
        if self._heard is None:
            return None
        return pace(self._heard.history, self._now(), _counts(self._heard.event)[1]).left

    def rows(self, width: int) -> Iterator[Bar | str]:
        """What stands on the screen now, for a terminal of that width."""
        now, heard, moving = self._now(), self._heard, self._moving
        if heard is not None:
            yield from _standing(heard, now, width)
        for what, one in moving.items():
            if now - one.at <= _FORGOTTEN:
                unit = next(iter(one.transfers.values())).unit
                going = pace(one.history, now, one.total)
                parts = [
                    wording.of_total(one.done, one.total, unit),
                    *wording.speed(going, one.done, one.total, unit),
                ]
                yield Bar(what, one.done, one.total, wording.DOT.join(parts))


def _counts(event: RunProgress | JobSeen) -> tuple[int, int | None]:
    from gemini_batch.events import RunProgress

    if isinstance(event, RunProgress):
        return event.done, event.requests
    return event.job.succeeded + event.job.failed, event.job.total or None


def _same(one: RunProgress | JobSeen, other: RunProgress | JobSeen) -> bool:
    """Whether two events speak of the same run or job."""
    from gemini_batch.events import RunProgress

    if isinstance(one, RunProgress) or isinstance(other, RunProgress):
        return type(one) is type(other)
    return one.job.name == other.job.name


def _standing(heard: Heard, now: float, width: int) -> Iterator[Bar | str]:
    from gemini_batch.events import RunProgress

    event, since = heard.event, max(0.0, now - heard.at)
    done, total = _counts(event)
    going = [*wording.speed(pace(heard.history, now, total), done, total, "requests")]
    if isinstance(event, RunProgress):
        label, details = event.run, [*wording.run_details(event, since=since)]
    else:
        label, details = event.job.state, [*wording.job_details(event, since=since)]
    yield Bar(label, done, total, wording.of_total(done, total, "requests") if total else "")
    yield from wording.packed([*going, *details], width)


def render(rows: list[Bar | str], console: Console) -> RenderableType:
    """The same as rich draws it: labels in one column, bars as wide as there is room.

    On a narrow terminal the label goes first, then the bar: the numbers say the same.
    """
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    def text(words: str, style: str = "") -> Text:
        return Text(wording.encodable(words, console.encoding), style=style, no_wrap=True, overflow="ellipsis")

    labels = max((len(row.label) for row in rows if isinstance(row, Bar)), default=0)
    drawn: list[RenderableType] = []
    for row in rows:
        if isinstance(row, str):
            drawn.append(text(row, "dim"))
            continue
        label, room = row.label.ljust(labels), console.width - labels - len(row.text) - 3
        if room < _BAR_LEAST:
            label, room = "", room + labels
        if room < _BAR_LEAST:
            drawn.append(text(row.text or row.label))
            continue
        bar = ProgressBar(
            total=row.total,
            completed=row.done,
            width=min(room, _BAR_MOST),
            complete_style="cyan",
            finished_style="green",
        )
        line = Table.grid(padding=(0, 1))
        line.add_row(*([text(label)] if label else []), bar, text(row.text))
        drawn.append(line)
    return Group(*drawn)


class LiveProgress:
    """Shows progress in place, at the bottom of what was printed; nothing of it stays."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.progress = Progress(now)
        self._live: Any = None

    def refresh(self) -> None:
        """Show what was heard; where there is nothing left to show, the place is given back."""
        if self.progress.is_empty:
            self.close()
        elif self._live is None:
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, highlight=False)
            self._live = Live(
                console=console,
                refresh_per_second=_REFRESHES,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                get_renderable=lambda: render([*self.progress.rows(console.width)], console),
            )
            self._live.start(refresh=True)

    def above(self, words: str) -> bool:
        """Print a line above what is shown; False where nothing is shown."""
        if self._live is None:
            return False
        from rich.text import Text

        console: Console = self._live.console
        console.print(Text(wording.encodable(words, console.encoding)), soft_wrap=True)
        return True

    def close(self) -> None:
        """Take it away."""
        if self._live is not None:
            self._live.stop()
            self._live = None
