"""What requests will use and cost: tokens of prompts and answers, as ranges, and from them USD. Pure functions."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

from gemini_batch.money.costs import counts_of
from gemini_batch.prices import ANSWER_KINDS, FEES, PROMPT_KINDS, ZERO, Kind, spend, total

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

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
    """How many prompts or answers there were, the sum of their tokens (with thoughts), and the sum of the squares."""

    number: int = 0
    tokens: int = 0
    squares: int = 0

    @classmethod
    def of(cls, tokens: Iterable[int]) -> Lengths:
        """The lengths of some."""
        found = list(tokens)
        return cls(len(found), sum(found), sum(one * one for one in found))

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
        if lengths.number >= FEWEST:
            low, expected, high = scaled(requests, lengths)
            if most is not None:
                low, expected, high = min(low, most), min(expected, most), min(high, most)
            return Range(low, expected, high), basis, lengths.number
    return Range(0, None, most), "bound", 0


def scaled(requests: int, lengths: Lengths) -> tuple[int, int, int]:
    """The tokens of so many prompts or answers, from the lengths of others like them: low end, expected, high end."""
    mean = lengths.tokens / lengths.number
    variance = max(0.0, lengths.squares / lengths.number - mean * mean) * lengths.number / (lengths.number - 1)
    # The mean is uncertain, and so is the sum of new ones around it.
    error = _ERRORS * math.sqrt(variance * (requests / lengths.number + 1) * requests)
    expected = requests * mean
    return max(0, math.floor(expected - error)), round(expected), math.ceil(expected + error)


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


class Cost(NamedTuple):
    """What requests cost in a batch, in USD: the least, what is expected, and the most; None: not known.

    ``charges``: the part of ``expected`` that is not tokens (searches). ``interactive``: what the same costs outside a
    batch.
    """

    low: Decimal | None
    expected: Decimal | None
    high: Decimal | None
    charges: Decimal | None = None
    interactive: Decimal | None = None


def expected_cost(
    requests: int, prompts: Range, answers: Range, price: Price | None, used: Sequence[Mapping[str, int]]
) -> Cost:
    """What so many requests cost, from the tokens of their prompts and answers.

    ``used``: what earlier answers like theirs used, in sums (``Rows.usage``). They tell of which kinds the tokens are,
    and how many searches an answer makes. Without them, all tokens are text, at the rates of short prompts. What is not
    known, or has no price, makes the amount unknown.
    """
    answered = sum(sums["answers"] for sums in used)
    prompt = _rate(used, price, PROMPT_KINDS, Kind.INPUT, sum(sums["input"] for sums in used))
    answer = _rate(used, price, ANSWER_KINDS, Kind.OUTPUT, sum(sums["output"] + sums["thoughts"] for sums in used))
    charge = _rate(used, price, FEES, None, answered)
    uses = sum(counts_of(sums, price).get(kind, 0) for sums in used for kind in FEES)
    # The number of searches varies about as that of independent events does.
    wrong = _ERRORS * math.sqrt(requests * (requests / answered + 1) / uses * answered) if uses else 0.0

    def amount(
        prompt_tokens: int | None, answer_tokens: int | None, others: float, *, batch: bool = True
    ) -> Decimal | None:
        found = ZERO
        for count, rate in ((prompt_tokens, prompt), (answer_tokens, answer), (Decimal(max(0.0, others)), charge)):
            usd = None if rate is None else rate.batch if batch else rate.interactive
            if count is None or (usd is None and count):
                return None
            found += count * (usd or ZERO)
        return found

    expected = amount(prompts.expected, answers.expected, requests)
    return Cost(
        amount(prompts.low, answers.low, 0 if charge is None else requests - wrong),
        expected,
        amount(prompts.high, answers.high, requests + wrong),
        charge.batch * requests if expected is not None and charge is not None else None,
        amount(prompts.expected, answers.expected, requests, batch=False),
    )


class _Rate(NamedTuple):
    """USD for one token, or for what one answer is charged apart from tokens."""

    batch: Decimal
    interactive: Decimal | None


def _rate(
    used: Sequence[Mapping[str, int]], price: Price | None, kinds: AbstractSet[Kind], default: Kind | None, count: int
) -> _Rate | None:
    """The mean rate of these kinds in earlier answers, which used ``count``; None if it is not known."""
    if not count:
        return _Rate(ZERO, ZERO) if default is None else _rate_of({default: 1}, price)
    spends = []
    for sums in used:
        counts = counts_of(sums, price)
        if Kind.MAPS in kinds and sums["maps"] and Kind.MAPS not in counts:  # paid by query, which answers do not state
            return None
        some = {kind: number for kind, number in counts.items() if kind in kinds}
        spends.append(spend(some, price, "", long=bool(sums["long"])))
    found = total(spends)
    if found.unpriced:
        return None
    return _Rate(found.priced / count, None if found.interactive is None else found.interactive / count)


def _rate_of(one: Mapping[Kind, int], price: Price | None) -> _Rate | None:
    found = spend(one, price, "")
    return None if found.unpriced else _Rate(found.priced, found.interactive)
