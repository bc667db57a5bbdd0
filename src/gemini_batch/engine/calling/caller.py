"""Sends the requests of one job as calls, as many at a time as the service allows, and keeps a journal of them.

What always holds: one loop decides, writes and sends. Each round writes the answers that have come and the calls that
are to go out, together, and then sends these. So what was written and not answered is exactly what was in flight.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gemini_batch.api.trouble import no_capacity
from gemini_batch.engine.calling.outcomes import FLEX, End, answer_line, end_of, error_line, is_json
from gemini_batch.engine.calling.pace import BUSY, FIRST_PAUSE, LONGEST_ASKED, refusal
from gemini_batch.errors import ApiError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from gemini_batch.api.calls import Called
    from gemini_batch.engine.calling.journal import Journal
    from gemini_batch.engine.calling.pace import Pace
    from gemini_batch.world import World


class Asked(NamedTuple):
    """One request of a job: its number from 0, its line, and the estimate of its tokens."""

    number: int
    line: bytes
    tokens: int


class _Line(msgspec.Struct):
    key: msgspec.Raw
    request: msgspec.Raw


#: So many cancellations mean that nothing is waited for.
_AT_ONCE = 2
#: Seconds from which on a pause is told.
_LONG = 5.0

_decode = msgspec.json.Decoder(_Line).decode
_NAMES = (b'"fileData"', b'"file_data"', b'"fileUri"', b'"cachedContent"', b'"cached_content"')


class Pause(NamedTuple):
    """A long time in which no call goes out: until when, by the monotonic clock, and why."""

    until: float
    why: str


@dataclass(slots=True)
class Tally:
    """What became of a job's calls so far. ``broken``: those whose connection broke before the answer came; ``pause``:
    none goes out now."""

    answered: int = 0
    errors: int = 0
    refused: int = 0
    broken: int = 0
    #: What ended the job before all of its requests were answered: an error that every other call would get, a refusal
    #: that does not pass, or the tier that served a call at another price than the one asked for.
    stopper: ServiceError | None = None
    gave_up: bool = False
    tier: str = ""
    pause: Pause | None = None

    @property
    def stopped(self) -> bool:
        """Whether nothing more is sent."""
        return self.stopper is not None or bool(self.tier)


class _Ended(NamedTuple):
    """A call that has ended; ``key`` is JSON."""

    of: Asked
    key: bytes
    got: Called | ServiceError


@dataclass(slots=True)
class _News:
    """What is to be written of calls that ended: lines of answers, and the numbers of other requests."""

    lines: list[bytes] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lines or self.refused or self.broken)


class Caller:
    """Sends the requests of one job. ``send``: makes one call. ``told``: is told of the tally now and then."""

    def __init__(
        self,
        world: World,
        pace: Pace,
        journal: Journal,
        *,
        send: Callable[[bytes], Awaitable[Called]],
        told: Callable[[Tally], None],
        standard: bool = False,
    ) -> None:
        """``standard``: go on when calls are served, and charged, as standard ones."""
        self._world, self._pace, self._journal, self._send, self._told = world, pace, journal, send, told
        self._standard = standard
        self.tally = Tally()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: list[_Ended] = []
        self._fault: BaseException | None = None
        self._later: list[tuple[float, Asked]] = []
        #: Requests that are on disk as sent and never will be, because the command was stopped meanwhile.
        self._unsent: list[int] = []

    @property
    def flying(self) -> int:
        """How many calls are in flight."""
        return len(self._tasks)

    async def run(self, requests: Iterator[Asked], *, grace: Callable[[], float]) -> Tally:
        """Send each request until it has an answer, or its call breaks, or the service refuses for good.

        A cancelled caller stops the sending; what is in flight is waited for, ``grace()`` seconds at most, or until it
        is cancelled once more. Raises OSError if the journal cannot be written: nothing more goes out then.
        """
        try:
            await self._loop(requests)
        except asyncio.CancelledError:
            stopped = asyncio.current_task()
            await self._land(grace() if stopped is None or stopped.cancelling() < _AT_ONCE else 0.0)
            raise
        return self.tally

    async def stop(self) -> None:
        """End the calls in flight: whether they are answered, and paid for, is not known."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _loop(self, requests: Iterator[Asked]) -> None:
        source = _Source(requests)
        while True:
            now = self._world.monotonic()
            news = self._take(now)
            going = [] if self.tally.stopped else list(self._due(source, now))
            if news or going:
                try:
                    await _whole(asyncio.to_thread(self._write, news, [one.number for one in going]))
                except asyncio.CancelledError:
                    self._unsent = [one.number for one in going]
                    raise
                self._told(self.tally)
            for one in going:
                task = asyncio.create_task(self._call(one))
                self._tasks.add(task)
                task.add_done_callback(self._landed)
            if self._fault is not None:
                raise self._fault
            if self._ended:
                continue
            if not self._tasks and (self.tally.stopped or (source.empty and not self._later)):
                return
            await self._wait(source)

    async def _land(self, seconds: float) -> None:
        """Wait for the calls in flight, and record what each comes to as it ends."""
        timer = asyncio.ensure_future(self._world.sleep(seconds))
        try:
            while self._tasks and seconds and not timer.done():
                await asyncio.wait({*self._tasks, timer}, return_when=asyncio.FIRST_COMPLETED)
                self._record()
        finally:
            timer.cancel()
            self._record()

    def _record(self) -> None:
        self._write(self._take(self._world.monotonic()), [])
        self._told(self.tally)

    def _write(self, news: _News, going: Sequence[int]) -> None:
        self._journal.write(news.lines, news.refused, news.broken, going)

    # Sending ---------------------------------------------------------------------------------------------------------

    def _due(self, source: _Source, now: float) -> Iterator[Asked]:
        """The requests that may go out now; each is counted as sent."""
        while self._pace.opens() <= now:
            if self._later and self._later[0][0] <= now:
                one = heapq.heappop(self._later)[1]
            elif (new := source.next()) is not None:
                one = new
            else:
                return
            self._pace.sent(one.tokens, now)
            yield one

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fault = fault

    async def _call(self, one: Asked) -> None:
        line = _decode(one.line)
        try:
            got: Called | ServiceError = await self._send(bytes(line.request))
        except ServiceError as error:
            got = error
        self._ended.append(_Ended(one, bytes(line.key), got))

    async def _wait(self, source: _Source) -> None:
        """Wait until a call ends, or the next one may go out."""
        until, why, now = math.inf, "", self._world.monotonic()
        if not self.tally.stopped:
            opens = self._pace.opens()
            first = -math.inf if not source.empty else self._later[0][0] if self._later else math.inf
            until, why = max(opens, first), BUSY if first > opens else self._pace.why
        self._pauses(Pause(until, why) if _LONG <= until - now < math.inf else None)
        timer = None
        if until < math.inf:
            timer = asyncio.ensure_future(self._world.sleep(max(0.0, until - now)))
        try:
            await asyncio.wait({*self._tasks, *([timer] if timer else [])}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if timer is not None:
                timer.cancel()

    def _pauses(self, pause: Pause | None) -> None:
        if pause != self.tally.pause:
            self.tally.pause = pause
            self._told(self.tally)

    # What calls come to ----------------------------------------------------------------------------------------------

    def _take(self, now: float) -> _News:
        """What has become of the calls that ended since the last time."""
        news = _News(refused=self._unsent)
        self._unsent = []
        ended, self._ended = self._ended, []
        for one, key, got in ended:
            if isinstance(got, ServiceError):
                self._failed(one, key, got, now, news)
            elif is_json(got.body):
                self._pace.answered(one.tokens, now)
                self.tally.answered += 1
                news.lines.append(answer_line(key, got))
                self._served(got.tier)
            else:
                self._broke(one, _unreadable(), now, news)
        return news

    def _failed(self, one: Asked, key: bytes, error: ServiceError, now: float, news: _News) -> None:
        named = any(name in one.line for name in _NAMES)
        end = end_of(error, names_files=named)
        match end:
            case End.ANSWER:
                self._pace.answered(one.tokens, now)
                self.tally.errors += 1
                news.lines.append(error_line(key, error))
            case End.REFUSED | End.NOT_SENT:
                load = end is End.NOT_SENT or no_capacity(error)
                details = error.details if isinstance(error, ApiError) else ()
                asked = error.retry_after if isinstance(error, ApiError) else None
                self._pace.refused(refusal(details, asked, load=load), now)
                self.tally.refused += end is End.REFUSED
                news.refused.append(one.number)
                self._again(one, now, min(asked or 0.0, LONGEST_ASKED))
                self._give_up(error)
            case End.BROKEN:
                self._broke(one, error, now, news)
            case End.STOP:
                self._pace.ended()
                news.refused.append(one.number)
                self.tally.stopper = self.tally.stopper or error

    def _broke(self, one: Asked, error: ServiceError, now: float, news: _News) -> None:
        """Leave a request whose answer is lost to another job: that one counts what it may cost once more."""
        self._pace.broke(now)
        self.tally.broken += 1
        self._give_up(error)
        news.broken.append(one.number)

    def _give_up(self, error: ServiceError) -> None:
        """Send nothing more if the service has been of no help for long."""
        if self._pace.gave_up:
            self.tally.stopper, self.tally.gave_up = self.tally.stopper or error, True

    def _again(self, one: Asked, now: float, asked: float) -> None:
        """Send a request again after a moment, or after as long as the service asks for, within bounds."""
        heapq.heappush(self._later, (now + max(asked, FIRST_PAUSE * self._world.uniform(0.75, 1.25)), one))

    def _served(self, tier: str) -> None:
        if tier not in {"", FLEX} and not self._standard:
            self.tally.tier = tier


class _Source:
    """The requests that were not sent yet."""

    def __init__(self, requests: Iterator[Asked]) -> None:
        self._requests = requests
        self._ahead = next(requests, None)

    @property
    def empty(self) -> bool:
        return self._ahead is None

    def next(self) -> Asked | None:
        found = self._ahead
        if found is not None:
            self._ahead = next(self._requests, None)
        return found


async def _whole(work: Awaitable[None]) -> None:
    """Await what must not be left half done, however often the caller is cancelled meanwhile."""
    task, stopped = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            stopped = error
    task.result()
    if stopped is not None:
        raise stopped


def _unreadable() -> ServiceError:
    return ServiceError("The service's answer to a call is not JSON.", code="unreadable_answer")
