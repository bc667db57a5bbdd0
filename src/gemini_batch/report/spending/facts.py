"""What is known of jobs and their answers, before anything is summed up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from gemini_batch.prices import Kind, Spend


class JobFacts(NamedTuple):
    """A job that was created, or may have been.

    ``day``: the UTC day of its create. ``model``: the one that was asked. ``collected``: its answers are here, or the
    service has none. ``unread``: they are here, and cannot be read. ``missing``: its requests that have no answer from
    any job. ``unanswered``: its requests that this job did not answer. ``most``: what these may have cost at most, or
    all of them if it is not collected; in nano-USD, None if it is unknown. ``took``: seconds from create to end,
    if it has ended.
    """

    run: str
    ordinal: int
    name: str
    day: dt.date
    model: str
    requests: int
    collected: bool
    unread: bool
    missing: int
    unanswered: int
    most: int | None
    took: float | None


class AnswerFacts(NamedTuple):
    """Answers of one job that one model gave, with one use: a verdict, ``duplicate`` or ``retried``.

    ``waste``: why nothing came of them, None if they are usable; ``counts``: tokens and uses by kind.
    """

    run: str
    ordinal: int
    day: dt.date
    model: str
    use: str
    waste: str | None
    answers: int
    counts: Mapping[Kind, int]
    spend: Spend


@dataclass(slots=True)
class Facts:
    """All of them, and what could not be read or does not belong here.

    ``unread``: runs that cannot be read, with the reason. ``emulated``: runs that an emulator answered. ``elsewhere``:
    jobs at other addresses than Google's, by address.
    """

    jobs: list[JobFacts] = field(default_factory=list)
    answers: list[AnswerFacts] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    emulated: list[str] = field(default_factory=list)
    elsewhere: dict[str, int] = field(default_factory=dict)
