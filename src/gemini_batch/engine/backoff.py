"""How long to wait and how often to poll: after failures, until a job ends, and for late output.

Everything here is pure. Times are monotonic seconds of this process, passed in by the caller.
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING

from gemini_batch.errors import ApiError
from gemini_batch.wire import Operation, Phase, inline_answers, remote_job

if TYPE_CHECKING:
    from collections.abc import Collection

    from gemini_batch.errors import Error
    from gemini_batch.settings import Settings


# Failures --------------------------------------------------------------------------------------------------------

#: Pauses after consecutive failures, in seconds.
PAUSES = (60.0, 120.0, 300.0, 600.0, 1200.0)
#: The service may be unavailable for this many seconds before a run stops (it can be continued later) ...
SECONDS = 6 * 3600.0
#: ... and must have failed this often: a machine that slept for a day has not retried for a day.
TRIES = 10
#: Waiting for the end of a single job stops after this many seconds without a successful poll.
WAIT_SECONDS = 3600.0


class Backoff:
    """Consecutive failures of one thing; over after more than ``seconds`` of them and at least ``tries``."""

    def __init__(self, *, seconds: float = SECONDS, tries: int = TRIES) -> None:
        self.tries = 0
        self._seconds, self._least = seconds, tries
        self._since: float | None = None

    def failed(self, now: float) -> None:
        """Count one more failure."""
        self.tries += 1
        self._since = now if self._since is None else self._since

    def worked(self, now: float) -> None:
        """Record a success: earlier failures no longer count."""
        self.tries, self._since = 0, now

    def excused(self, now: float) -> None:
        """Restart the time limit, because the failure has a good reason; the pauses keep growing."""
        self._since = now

    def is_over(self, now: float, *, seconds: float | None = None) -> bool:
        """Whether it has failed for too long (``seconds`` in place of its own) and often enough."""
        longest = self._seconds if seconds is None else seconds
        return self._since is not None and self.tries >= self._least and now - self._since > longest

    def pause(self, error: Error | None = None) -> float:
        """Seconds until the next attempt: longer each time, and, up to the longest pause, as the service asks."""
        asked = error.retry_after if isinstance(error, ApiError) else None
        return max(PAUSES[min(max(self.tries, 1), len(PAUSES)) - 1], min(asked or 0.0, PAUSES[-1]))


#: Seconds after which what is being collected makes room for something else, for answers may be waited for, for hours;
#: and how much is begun then at most.
ROOM_AFTER, MOST_AT_ONCE = 300.0, 8


def room_at(begun: Collection[float]) -> float:
    """When something else may be collected; ``begun``: when that began which is being collected now. One at a time, as
    long as none takes long; infinity: only once one is done."""
    if len(begun) >= MOST_AT_ONCE:
        return math.inf
    return max(begun) + ROOM_AFTER if begun else -math.inf


# Absence ---------------------------------------------------------------------------------------------------------

#: Something counts as gone after this many answers that say so, over this many seconds. A new job may not be found at
#: first, and a right that is withdrawn for a moment hides everything.
GONE_TIMES, GONE_SECONDS = 5, 900.0
#: A waiting user is told after this many: a job was observed to be back a moment later.
ABSENT_TIMES = 3


class Disappearance:
    """How often, and since when, the service has answered that something does not exist."""

    def __init__(self, now: float, *, times: int = GONE_TIMES, seconds: float = GONE_SECONDS) -> None:
        self.times, self._since = 0, now
        self._least, self._seconds = times, seconds

    def said(self) -> None:
        """Count one more such answer."""
        self.times += 1

    def is_certain(self, now: float) -> bool:
        """Whether there were enough such answers over enough time."""
        return self.times >= self._least and now - self._since >= self._seconds


class Disappearances:
    """What the service says does not exist, by job."""

    def __init__(self) -> None:
        self._by_job: dict[int, Disappearance] = {}

    def certain(self, job: int, now: float) -> bool:
        """Count one more answer that a job, or its results, do not exist; returns whether that is certain now."""
        disappearance = self._by_job.setdefault(job, Disappearance(now))
        disappearance.said()
        return disappearance.is_certain(now)


# A job's end -----------------------------------------------------------------------------------------------------

_POLL_FIRST, _POLL_GROWTH, _POLL_MOST, _POLL_LATE, _LATE_AFTER = 1.0, 1.5, 60.0, 300.0, 3600.0
#: Offline, a job advances only when it is polled, so longer pauses would only delay it.
_POLL_OFFLINE = 0.25


class PollBackoff:
    """Seconds between polls of active jobs: from 1 s, growing by half, to 60 s; 300 s after an hour. Or ``fixed``.

    The caller adds jitter.
    """

    def __init__(self, now: float, *, fixed: float | None = None) -> None:
        self._fixed = fixed
        self.restart(now)

    @classmethod
    def of(cls, settings: Settings, now: float) -> PollBackoff:
        """The poll backoff that the settings ask for."""
        offline = _POLL_OFFLINE if settings.offline else None
        return cls(now, fixed=offline if settings.poll is None else settings.poll)

    def restart(self, now: float) -> None:
        """Begin with short pauses again, because there is a new job."""
        self._began, self._polls = now, 0

    def waited(self, now: float) -> float:
        """Seconds since the start."""
        return now - self._began

    def pause(self, now: float) -> float:
        """Seconds from the last poll to the next one."""
        self._polls += 1
        if self._fixed is not None:
            return self._fixed
        if self.waited(now) >= _LATE_AFTER:
            return _POLL_LATE
        # The exponent is bounded: the pause has reached its maximum long before.
        return min(_POLL_MOST, _POLL_FIRST * _POLL_GROWTH ** min(self._polls - 1, 20))


# Late output -----------------------------------------------------------------------------------------------------

#: Seconds to wait for a job's output after its end: for a job that succeeded, which must have output; for a job that
#: did not succeed but counted answers, which often shows none (it is not collected without them unless the user says
#: so; only the wait ends); and for a job that ended without stating how.
LATE_SUCCEEDED, LATE_COUNTED, LATE_UNSAID = 86_400.0, 600.0, 15.0


class Output(enum.Enum):
    """The state of an ended job's output."""

    #: It is available, by the job's own state and counts, or none is expected.
    COMPLETE = "complete"
    #: It is not available yet and may still come: poll again.
    LATE = "late"
    #: It is not available and is long overdue: stop waiting.
    OVERDUE = "overdue"


def output_of(operation: Operation, ended_for: float) -> Output:
    """The state of the output of a job that ended ``ended_for`` seconds ago.

    The one policy for late output: ``status --wait``, ``results`` and ``run`` all use it.
    """
    latest = _latest(operation)
    if latest is None:
        return Output.COMPLETE
    return Output.LATE if ended_for < latest else Output.OVERDUE


def _latest(operation: Operation) -> float | None:
    """How many seconds to wait for the output; None if, by the job's own state and counts, nothing is missing."""
    job = remote_job(operation)
    counted_and_empty = job.output_inline and job.succeeded > 0 and not inline_answers(operation)
    if job.has_output and not counted_and_empty:
        return None
    if job.phase is Phase.SUCCEEDED:
        return LATE_SUCCEEDED
    if job.succeeded:
        return LATE_COUNTED
    said_to_fail = operation.error is not None or job.state == "JOB_STATE_FAILED"
    return LATE_UNSAID if job.phase is Phase.FAILED and not said_to_fail else None
