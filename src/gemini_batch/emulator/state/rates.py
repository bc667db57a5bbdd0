"""How many calls a project may make to a model in a minute or a day: counted in memory, by the emulator's clock.

A minute is any 60 seconds, a day any 24 hours. A refused call does not count. As at the service, and unlike the refusal
of a batch, a 429 names the quota that was reached and says when to try again.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.state.clock import DAY, SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping

_MINUTE = 60 * SECOND


class Kind(NamedTuple):
    """One kind of quota: its window in nanoseconds, whether it counts tokens, and its names at the service."""

    window: int
    tokens: bool
    metric: str
    quota_id: str


#: By the name of the field in :class:`~gemini_batch.emulator.state.quotas.Quotas`.
KINDS = {
    "requests_per_minute": Kind(
        _MINUTE, False, "generate_requests_per_model", "GenerateRequestsPerMinutePerProjectPerModel"
    ),
    "tokens_per_minute": Kind(
        _MINUTE,
        True,
        "generate_content_paid_tier_input_token_count",
        "GenerateContentPaidTierInputTokensPerModelPerMinute",
    ),
    "requests_per_day": Kind(
        DAY, False, "generate_requests_per_model_per_day", "GenerateRequestsPerDayPerProjectPerModel"
    ),
}


class _Window:
    """The calls of one project to one model within one kind's window."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._calls: deque[tuple[int, int]] = deque()
        self.used = 0

    def drop(self, now: int) -> None:
        while self._calls and self._calls[0][0] + self._length <= now:
            self.used -= self._calls.popleft()[1]

    def add(self, now: int, weight: int) -> None:
        self._calls.append((now, weight))
        self.used += weight

    def free_in(self, now: int, weight: int, limit: int) -> int:
        """Nanoseconds until ``weight`` more fits; the whole window if it never does."""
        left = self.used
        for moment, held in self._calls:
            left -= held
            if left + weight <= limit:
                return moment + self._length - now
        return self._length


class Rates:
    """The calls of the last minute and day. Safe to use from many threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._windows: dict[tuple[str, str, str], _Window] = {}

    def admit(self, key: tuple[str, str], calls: int, tokens: int, limits: Mapping[str, int], now: int) -> None:
        """Count ``calls`` with ``tokens`` of prompts in all, of a project to a model.

        ``limits`` are by the names of :data:`KINDS`. Raises :class:`errors.ApiFailure` (429), and counts nothing, if
        one of them is exceeded.
        """
        violations: list[dict[str, Any]] = []
        wait = 0
        with self._guard:
            taken: list[tuple[_Window, int]] = []
            for name, limit in limits.items():
                kind = KINDS[name]
                window = self._windows.setdefault((*key, name), _Window(kind.window))
                window.drop(now)
                weight = tokens if kind.tokens else calls
                if window.used + weight > limit:
                    violations.append(_violation(kind, key[1], limit))
                    wait = max(wait, window.free_in(now, weight, limit))
                taken.append((window, weight))
            if not violations:
                for window, weight in taken:
                    window.add(now, weight)
                return
        raise errors.rate_exceeded(violations, wait / SECOND)

    def held(self, owner: str, now: int) -> dict[str, dict[str, int]]:
        """What a project has used of each quota that is set, by model."""
        found: dict[str, dict[str, int]] = {}
        with self._guard:
            for (of, model, name), window in self._windows.items():
                window.drop(now)
                if of == owner and window.used:
                    found.setdefault(model, {})[name] = window.used
        return found


def _violation(kind: Kind, model: str, limit: int) -> dict[str, Any]:
    return {
        "quotaMetric": f"generativelanguage.googleapis.com/{kind.metric}",
        "quotaId": kind.quota_id,
        "quotaDimensions": {"location": "global", "model": model},
        "quotaValue": str(limit),
    }
