"""How many of a run's requests are where, with which verdict: one pass over the rows answers many questions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemini_batch.store.rows.conditions import ELSEWHERE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: The verdict of a request without an answer.
MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Census:
    """The number of requests by place, as in :mod:`gemini_batch.store.rows.conditions`, and verdict."""

    counts: Mapping[tuple[int | None, str], int] = field(default_factory=dict)

    def at(self, place: int) -> int:
        """How many requests are in a job, or in another place."""
        return sum(count for (where, _), count in self.counts.items() if where == place)

    def missing(self, place: int) -> int:
        """How many of these have no answer from any job."""
        return self.counts.get((place, MISSING), 0)

    def given(self, place: int) -> int:
        """How many of these have one."""
        return self.at(place) - self.missing(place)

    def of(self, places: Collection[int | None]) -> Census:
        """Only what is in one of these places."""
        return Census({key: count for key, count in self.counts.items() if key[0] in places})

    def plus(self, other: Census) -> Census:
        """This and what is in other places."""
        return Census({**self.counts, **other.counts})

    def to_send(self, sent: Collection[int]) -> int:
        """How many requests are to be sent, for the first time or again, or to be answered in another run.

        ``sent`` holds the jobs that were created, or may have been.
        """
        return sum(
            count
            for (place, _), count in self.counts.items()
            if place in {None, ELSEWHERE} or (place > 0 and place not in sent)
        )

    def verdicts(self, *, unsent: int = 0) -> dict[str, int]:
        """How many requests have each verdict; one that was never sent is not missing."""
        found = Counter({MISSING: -unsent})
        for (_, verdict), count in self.counts.items():
            found[verdict] += count
        return dict(+found)

    @property
    def answered(self) -> int:
        """How many requests have an answer of any kind."""
        return sum(count for (_, verdict), count in self.counts.items() if verdict != MISSING)

    @property
    def undone(self) -> set[int]:
        """The ordinals of the jobs with a request that has not succeeded in any job."""
        return {place for place, verdict in self.counts if place is not None and place > 0 and verdict != "succeeded"}
