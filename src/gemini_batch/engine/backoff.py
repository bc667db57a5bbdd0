"""How long to wait and how often to ask: after failures, for a job's end, and for output that is late.

Everything here is pure: times are a process's monotonic seconds, handed in by the caller.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from gemini_batch.errors import ApiError
from gemini_batch.wire import Operation, Phase, inline_answers, remote_job

if TYPE_CHECKING:
    from gemini_batch.errors import Error
    from gemini_batch.settings import Settings


# Failures --------------------------------------------------------------------------------------------------------

#: Pauses after failures in a row, in seconds.
PAUSES = (60.0, 120.0, 300.0, 600.0, 1200.0)
#: The service may be away for so many seconds before a run gives up (and can go on later) ...
SECONDS = 6 * 3600.0
#: ... and must have failed so often: a machine that slept for a day has not been patient for a day.
TRIES = 10
#: Whoever only waits for one job's end gives up after so many seconds without one good answer.
WAIT_SECONDS = 3600.0


class Backoff:
    """Failures in a row of one thing; over after more than ``seconds`` of them and at least ``tries``."""

    def __init__(self, *, seconds: float = SECONDS, tries: int = TRIES) -> None:
        self.tries = 0
        self._seconds, self._least = seconds, tries
        self._since: float | None = None

    def failed(self, now: float) -> None:
        """It has failed once more."""
        self.tries += 1
        self._since = now if self._since is None else self._since

    def worked(self, now: float) -> None:
        """It has gone well: the failures before that do not count any more."""
        self.tries, self._since = 0, now

    def excused(self, now: float) -> None:
        """There is a good reason for it: its time counts from now on, and the pauses grow all the same."""
        self._since = now

    def is_over(self, now: float) -> bool:
        """Whether it has failed for too long, and often enough."""
        return self._since is not None and self.tries >= self._least and now - self._since > self._seconds

    def pause(self, error: Error | None = None) -> float:
        """Seconds until the next try: ever longer, and as long as the service has asked for within reason."""
        asked = error.retry_after if isinstance(error, ApiError) else None
        return max(PAUSES[min(max(self.tries, 1), len(PAUSES)) - 1], min(asked or 0.0, PAUSES[-1]))


# Absence ---------------------------------------------------------------------------------------------------------

#: Something is gone after so many answers that say so, over so many seconds: a new job may not be found at first, and
#: a right that is withdrawn for a moment hides everything.
GONE_TIMES, GONE_SECONDS = 5, 900.0
#: A user who waits for the answer hears of it after so many: a job was seen to be back a moment later.
ABSENT_TIMES = 3


class Disappearance:
    """How often, and since when, the service has said that something is not there."""

    def __init__(self, now: float, *, times: int = GONE_TIMES, seconds: float = GONE_SECONDS) -> None:
        self.times, self._since = 0, now
        self._least, self._seconds = times, seconds

    def said(self) -> None:
        """The service has said so once more."""
        self.times += 1

    def is_certain(self, now: float) -> bool:
        """Whether that was often enough, and for long enough."""
        return self.times >= self._least and now - self._since >= self._seconds


# A job's end -----------------------------------------------------------------------------------------------------

_POLL_FIRST, _POLL_GROWTH, _POLL_MOST, _POLL_LATE, _LATE_AFTER = 1.0, 1.5, 60.0, 300.0, 3600.0
#: Offline a job moves on only while it is asked for, so that long pauses would only make it late.
_POLL_OFFLINE = 0.25


class PollBackoff:
    """Seconds between polls of living jobs: 1 s growing by half to 60 s, and 300 s after an hour; or always ``fixed``.

    Jitter is for the caller to add.
    """

    def __init__(self, now: float, *, fixed: float | None = None) -> None:
        self._fixed = fixed
        self.restart(now)

    @classmethod
    def of(cls, settings: Settings, now: float) -> PollBackoff:
        """The one that the settings ask for."""
        offline = _POLL_OFFLINE if settings.offline else None
        return cls(now, fixed=offline if settings.poll is None else settings.poll)

    def restart(self, now: float) -> None:
        """There is a new job: begin with short pauses again."""
        self._began, self._polls = now, 0

    def waited(self, now: float) -> float:
        """Seconds since the beginning."""
        return now - self._began

    def pause(self, now: float) -> float:
        """Seconds from the poll that was just done to the next one."""
        self._polls += 1
        if self._fixed is not None:
            return self._fixed
        if self.waited(now) >= _LATE_AFTER:
            return _POLL_LATE
        # The exponent is bounded: the pause has long reached its ceiling by then.
        return min(_POLL_MOST, _POLL_FIRST * _POLL_GROWTH ** min(self._polls - 1, 20))


# Late output -----------------------------------------------------------------------------------------------------

#: Seconds after its end for which the output of a job is waited for: of one that has succeeded, which must have some;
#: of one that did not and has counted answers all the same, which often shows none; and of one that ended without a
#: word about how.
LATE_SUCCEEDED, LATE_COUNTED, LATE_UNSAID = 86_400.0, 600.0, 15.0


class Output(enum.Enum):
    """How the output of a job stands that has ended."""

    #: It is there, as far as the job itself says, or there is none to come.
    COMPLETE = "complete"
    #: It is not there and may come yet: whoever wants it asks again.
    LATE = "late"
    #: It is not there and should have been for long: it is not waited for any more.
    OVERDUE = "overdue"


def output_of(operation: Operation, ended_for: float) -> Output:
    """How the output stands of a job that ended ``ended_for`` seconds ago.

    The one policy for output that is late: ``status --wait``, ``results`` and ``run`` all ask here.
    """
    latest = _latest(operation)
    if latest is None:
        return Output.COMPLETE
    return Output.LATE if ended_for < latest else Output.OVERDUE


def _latest(operation: Operation) -> float | None:
    """For how long the output is waited for; None where nothing is missing by the job's own state and counts."""
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
