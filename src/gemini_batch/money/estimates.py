"""What requests will use and cost: tokens of prompts and answers, as ranges, and from them USD. Pure functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from gemini_batch.prices import Kind, spend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from gemini_batch.prices import Price

AnswerBasis = Literal["trial", "history", "bound"]
#: So many standard errors on both sides of a mean hold it with 95 %.
_ERRORS = 1.96
#: From fewer answers nothing is concluded.
FEWEST = 5


class Range(NamedTuple):
    """A number with the least and the most that it may be; None: not known."""

    low: int
    expected: int | None
    high: int | None


class Lengths(NamedTuple):
    """How many answers there were, the sum of their tokens (thoughts included), and the sum of the squares."""

    answers: int = 0
    tokens: int = 0
    squares: int = 0

    def __add__(self, other: object) -> Lengths:
        """Both together."""
        assert isinstance(other, Lengths)
        return Lengths(*(one + two for one, two in zip(self, other, strict=True)))


def answer_tokens(
    requests: int, known: Mapping[AnswerBasis, Lengths], most: int | None
) -> tuple[Range, AnswerBasis, int]:
    """The tokens of the answers to so many requests, what they are estimated from, and from how many answers.

    ``known``: the lengths of answers of the same run (``trial``) and of earlier runs of the same shape (``history``);
    the first that has enough answers counts. Otherwise all that is known is that there are at most ``most`` tokens.
    """
    for basis in ("trial", "history"):
        lengths = known.get(basis, Lengths())
        if lengths.answers >= FEWEST:
            return _scaled(requests, lengths, most), basis, lengths.answers
    return Range(0, None, most), "bound", 0


def _scaled(requests: int, lengths: Lengths, most: int | None) -> Range:
    mean = lengths.tokens / lengths.answers
    variance = max(0.0, lengths.squares / lengths.answers - mean * mean) * lengths.answers / (lengths.answers - 1)
    # The mean is uncertain, and so is the sum of new answers around it.
    error = _ERRORS * math.sqrt(variance * (requests / lengths.answers + 1) * requests)
    high = math.ceil(requests * mean + error)
    return Range(
        max(0, math.floor(requests * mean - error)),
        round(requests * mean) if most is None else min(round(requests * mean), most),
        high if most is None else min(high, most),
    )


def counted_tokens(sample: Sequence[tuple[int, int]], requests: int, estimate: int, *, among: bool) -> Range:
    """The tokens of all prompts, from ``(estimate, exact count)`` of some prompts and the estimate of all.

    The counts say by how much estimates are wrong; how much that differs from row to row makes the range. ``among``:
    the counted prompts are some of those that are estimated, or all; else they are others of the same kind.
    """
    counts = sum(count for _, count in sample)
    if among and len(sample) >= requests:
        return Range(counts, counts, counts)
    ratio = counts / max(1, sum(guess for guess, _ in sample))
    rest = sum((count - ratio * guess) ** 2 for guess, count in sample) / max(1, len(sample) - 1)
    uncertain = requests * (1 / len(sample) - 1 / requests if among else 1 / len(sample) + 1 / requests)
    error = _ERRORS * math.sqrt(rest * requests * uncertain)
    expected = ratio * estimate
    return Range(max(0, math.floor(expected - error)), round(expected), math.ceil(expected + error))


def token_cost(
    prompts: int | None, answers: int | None, price: Price | None, *, interactive: bool = False
) -> Decimal | None:
    """What so many tokens cost in a batch, or outside of one; None where a count or a price is not known."""
    if prompts is None or answers is None or price is None or price.batch is None:
        return None
    found = spend({Kind.INPUT: prompts, Kind.OUTPUT: answers}, price, "")
    return None if found.unpriced else found.interactive if interactive else found.priced
