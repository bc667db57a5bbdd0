"""How many calls may be in flight, and how soon the next one may follow: decided by what the service has refused.

What always holds: nothing is assumed until the service refuses. A quota of calls or tokens a minute (429) spaces the
calls evenly; too much load (503) lowers how many are in flight at once, and answers raise it again. All times are of
one monotonic clock.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_batch.store.ledger.records import Rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MINUTE = 60.0
#: So many calls may be in flight before the service has answered any.
FIRST = 8
#: If more of the last calls than this part were refused for load, fewer are sent at once.
OFTEN, LAST = 0.15, 40
LOWERED_TO = 0.7
#: Seconds after which a rate that refusals suggest is raised a little, if the service has not refused since.
RAISED_EVERY = 30.0
RAISED_BY = 1.05
#: After a refusal for a quota that the service does not state, calls follow at this part of what it accepted.
CAREFUL = 0.95
#: Seconds until a request that was refused for load is sent again.
FIRST_PAUSE = 1.0
#: Seconds until the next call of any request, if all are refused: at first, and at most.
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 60.0
#: Seconds without any answer, but with refusals, after which calls are given up.
PATIENCE = 3600.0
#: Why no call may go out for a while.
USED_UP, BUSY, SILENT = "the quota of a minute is used up", "the service is busy", "calls get no answer"
#: The service may ask for a pause of so many seconds; a longer one means that a quota of the day is used up.
LONGEST_ASKED = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a refused call says: which quota it met, if it was one, and how long to wait.

    ``load``: it was no quota. ``rate``: the quotas a minute that it states. ``daily``: it met a quota of the day.
    """

    load: bool
    asked: float | None = None
    rate: Rate
    daily: bool = False


def refusal(details: Iterable[Mapping[str, object]], asked: float | None, *, load: bool) -> Refusal:
    """Read a refusal: ``google.rpc.QuotaFailure`` names the quotas, for example
    ``GenerateRequestsPerMinutePerProjectPerModel``, and their values.
    """
    if load:
        return Refusal(load=True, asked=asked, rate=Rate())
    calls = tokens = None
    daily = False
    for name, value in _violations(details):
        daily = daily or "perday" in name
        if "perminute" in name and value:
            calls, tokens = (calls, value) if "token" in name else (value, tokens)
    return Refusal(load=False, asked=asked, rate=Rate(calls, tokens), daily=daily or (asked or 0.0) > LONGEST_ASKED)


def _violations(details: Iterable[Mapping[str, object]]) -> Iterable[tuple[str, float | None]]:
    for detail in details:
        found = detail.get("violations")
        for violation in found if isinstance(found, list) else ():
            if isinstance(violation, dict):
                value = str(violation.get("quotaValue", ""))
                name = str(violation.get("quotaId") or violation.get("quotaMetric") or "")
                yield name.replace("_", "").lower(), float(value) if value.isdecimal() else None


class Pace:
    """The pace of one run's calls. ``most``: how many may ever be in flight. ``known``: the rate learned before."""

    def __init__(self, most: int, known: Rate, now: float) -> None:
        self.rate, self.gave_up = known, False
        self._most, self._allowed, self._flying = most, float(min(most, FIRST)), 0
        self._next = self._hold = -math.inf
        self._accepted: deque[tuple[float, int]] = deque()
        self._guessed = False
        self._loaded, self._unanswered = 0.0, 0
        self._changed = -math.inf
        self._steep = True
        self._alone_since: float | None = None
        self._began = now
        #: Why the next call has to wait.
        self.why = USED_UP

    @property
    def allowed(self) -> int:
        """How many calls may be in flight now."""
        return max(1, int(self._allowed))

    def opens(self) -> float:
        """When the next call may go out; infinity: only after one has ended."""
        return math.inf if self._flying >= self.allowed else max(self._next, self._hold)

    def sent(self, tokens: int, now: float) -> None:
        """A call goes out."""
        self._flying += 1
        if self.rate == Rate():
            return
        pauses = [MINUTE / self.rate.calls] if self.rate.calls else []
        if self.rate.tokens:
            pauses.append(MINUTE * tokens / self.rate.tokens)
        # What could not be sent in time is not made up for by more than a second's worth.
        self._next = max(self._next, now - 1.0) + max(pauses)

    def answered(self, tokens: int, now: float) -> None:
        """A call got an answer, or an error that is one."""
        self._flying -= 1
        self._alone_since = None
        self._accepted.append((now, tokens))
        self._forget(now)
        self._loaded *= 1 - 1 / LAST
        self._unanswered = 0
        self._allowed = min(self._most, self._allowed + (1.0 if self._steep else 1 / self._allowed))
        if self._guessed and now - max(self._changed, self._began) >= RAISED_EVERY:
            self.rate, self._changed = Rate(_raised(self.rate.calls), _raised(self.rate.tokens)), now

    def ended(self) -> None:
        """A call came to nothing that says anything of the service's pace."""
        self._flying -= 1

    def broke(self, now: float) -> None:
        """A call got no answer."""
        self._flying -= 1
        self._without_answer(now, SILENT)

    def _without_answer(self, now: float, why: str) -> None:
        """Wait longer and longer if no call is answered, and give up after hours."""
        if self._alone_since is None:
            self._alone_since = now
        self.gave_up = self.gave_up or now - self._alone_since > PATIENCE
        self._unanswered += 1
        if (more := self._unanswered - self.allowed) > 0:  # a whole round of calls
            self._hold, self.why = now + min(LONGEST_PAUSE, SHORTEST_PAUSE * 2.0 ** min(more, 20)), why

    def refused(self, what: Refusal, now: float) -> None:
        """A call was refused: it is not paid for, and is sent again."""
        self._flying -= 1
        if self._alone_since is None:
            self._alone_since = now
        self.gave_up = self.gave_up or what.daily or now - self._alone_since > PATIENCE
        if what.load:
            self._loaded += (1 - self._loaded) / LAST
            if self._loaded > OFTEN:
                self._allowed, self._loaded, self._steep = max(1.0, self._allowed * LOWERED_TO), 0.0, False
            self._without_answer(now, BUSY)
            return
        self.why = USED_UP
        self._forget(now)
        if what.rate != Rate():
            self.rate = Rate(what.rate.calls or self.rate.calls, what.rate.tokens or self.rate.tokens)
            self._guessed = False
        elif self._accepted and now >= self._hold:
            self.rate, self._guessed = Rate(CAREFUL * len(self._accepted), self.rate.tokens), True
            self._changed = now
        self._hold = max(self._hold, now + (what.asked if what.asked is not None else FIRST_PAUSE))

    def _forget(self, now: float) -> None:
        while self._accepted and self._accepted[0][0] <= now - MINUTE:
            self._accepted.popleft()


def _raised(most: float | None) -> float | None:
    return None if most is None else most * RAISED_BY
