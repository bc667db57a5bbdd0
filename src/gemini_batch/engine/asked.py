"""Finds the request of a job that an answer line belongs to, by its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gemini_batch.store.rows.row_records import Wanted
    from gemini_batch.store.rows.rows import Rows

#: At most so many requests are read ahead.
_AHEAD = 2000


class Asked:
    """The requests of a job, by key.

    Answers usually come in input order, so the next requests are read ahead: as many as have been useful lately. In any
    other order, reading ahead would cost more than it saves, and each key is looked up individually.
    """

    def __init__(self, rows: Rows, ordinal: int) -> None:
        self._rows, self._ordinal = rows, ordinal
        self._at_hand: dict[str, Wanted] = {}
        self._used = 0

    def find(self, key: str, *, labelled: bool = False) -> Wanted | None:
        """The request with this key, or with the label of its key; None if the job has none."""
        if labelled:
            return self._rows.labelled(key, self._ordinal)
        found = self._at_hand.get(key)
        if found is not None:
            self._used += 1
            return found
        found = self._rows.wanted(key, self._ordinal)
        if found is not None:
            # One lookup by key costs about as much as eight rows read in order. Some rows before it are read too, so
            # that an order that differs only locally stays cheap.
            count = min(_AHEAD, 8 * self._used + 16)
            self._at_hand, self._used = self._rows.wanted_from(max(0, found.seq - count // 8), count, self._ordinal), 0
        return found
