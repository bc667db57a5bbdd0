"""Patience: how long what passes by itself is waited for, and how often it is tried meanwhile."""

from __future__ import annotations

from gemini_batch.errors import ApiError, Error

#: Pauses after failures in a row, in seconds.
PAUSES = (60.0, 120.0, 300.0, 600.0, 1200.0)
#: The service may be away for so many seconds before a run gives up (and can go on later) ...
SECONDS = 6 * 3600.0
#: ... and must have failed so often: a machine that slept for a day has not been patient for a day.
TRIES = 10


class Backoff:
    """Failures in a row of one thing."""

    def __init__(self) -> None:
        self.tries = 0
        self._since: float | None = None

    def failed(self, now: float) -> None:
        """It has failed once more."""
        self.tries += 1
        self._since = now if self._since is None else min(self._since, now)

    def excused(self, now: float) -> None:
        """There is a good reason for it: its time counts from now on, and the pauses grow all the same."""
        self._since = now

    def is_over(self, now: float) -> bool:
        """Whether it has failed for too long, and often enough. A clock that was set back only makes it last longer."""
        if self._since is None:
            return False
        self._since = min(self._since, now)
        return self.tries >= TRIES and now - self._since > SECONDS

    def pause(self, error: Error | None = None) -> float:
        """Seconds until the next try: ever longer, and as long as the service has asked for within reason."""
        asked = error.retry_after if isinstance(error, ApiError) else None
        return max(PAUSES[min(max(self.tries, 1), len(PAUSES)) - 1], min(asked or 0.0, PAUSES[-1]))


#: Something is gone after so many answers that say so, over so many seconds: a new job may not be found at first, and
#: a right that is withdrawn for a moment hides everything.
GONE_TIMES, GONE_SECONDS = 5, 900.0


def is_absence(error: Error) -> bool:
    """Whether the service itself says that there is no such thing: 404, or 403 for a file; a proxy gives no reason."""
    return isinstance(error, ApiError) and error.status in {403, 404} and bool(error.reason)


class Disappearance:
    """How often, and since when, the service has said that something is not there."""

    def __init__(self, now: float) -> None:
        self.times, self._since = 0, now

    def said(self, now: float) -> None:
        """The service has said so once more."""
        self.times += 1
        self._since = min(self._since, now)

    def is_certain(self, now: float) -> bool:
        """Whether that was often enough, and for long enough."""
        return self.times >= GONE_TIMES and now - self._since >= GONE_SECONDS
