"""What answers teach: sums over rows whose prompt was estimated and counted, and an estimate corrected by them.

Keep one ``Observed`` per key (``key_of``): six whole numbers, which are added as answers arrive.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, NamedTuple

from gemini_batch.tokens.media import Range

if TYPE_CHECKING:
    from gemini_batch.tokens.estimate import Estimate

#: Fewer rows than these teach nothing.
LEAST = 5
#: No band is narrower than this share of the tokens: later rows may differ from those seen.
_NARROWEST = 0.02


class Observed(NamedTuple):
    """Sums over rows: the number of rows, the general estimates, the service's counts, their squares and products.

    Estimates are in thousandths of tokens: a short prompt has a few tokens, and rounding would bend the sums. A row of
    which anything was unknown must not be added.
    """

    rows: int = 0
    estimated: int = 0
    counted: int = 0
    estimated_squared: int = 0
    counted_squared: int = 0
    products: int = 0

    def plus(self, other: Observed) -> Observed:
        """Both together."""
        return Observed(*(one + two for one, two in zip(self, other, strict=True)))


class Key(NamedTuple):
    """What rows must have in common to teach each other."""

    model: str
    script: str
    template: str = ""


def key_of(estimate: Estimate, model: str, template: str = "") -> Key:
    """The key of one row: its model, the script of its text, and what identifies its template, if anything does."""
    return Key(model.removeprefix("models/"), estimate.script, template)


def observe(estimate: Estimate, counted: int) -> Observed:
    """One row: its general estimate, and the ``promptTokenCount`` of its answer.

    Raises ``ValueError`` for an estimate that is not of one row, was learned, or has unknown tokens.
    """
    if estimate.rows != 1 or estimate.learned or estimate.unknown:
        raise ValueError("only the general estimate of one row of which all is known can teach")
    expected = estimate.range.tokens
    return Observed(1, expected, counted, expected * expected, counted * counted, expected * counted)


def learn(estimate: Estimate, observed: Observed) -> Estimate:
    """Correct the general estimate of rows by what was observed of rows with the same key.

    The expected number is multiplied by counted / estimated. The band is that of the sum of independent rows, with the
    uncertainty of the ratio; it is never narrower than 2 %. The estimate is returned as it is if fewer than five rows
    were observed. What is unknown stays unknown.
    """
    if observed.rows < LEAST or not observed.estimated or not estimate.range.tokens:
        return estimate
    ratio = observed.counted / observed.estimated  # tokens for each thousandth
    squares = observed.counted_squared - 2 * ratio * observed.products + ratio * ratio * observed.estimated_squared
    spread = max(0.0, squares) / (observed.rows - 1)
    mean = observed.estimated / observed.rows
    share = estimate.range.tokens / mean  # in rows of the mean size
    deviation = math.sqrt(spread * (share + share * share / observed.rows))
    expected = estimate.range.tokens * ratio * 1000
    half = max(_quantile(observed.rows - 1) * deviation * 1000, _NARROWEST * expected)
    return dataclasses.replace(
        estimate,
        range=Range(max(0, math.floor(expected - half)), round(expected), math.ceil(expected + half)),
        unmeasured=frozenset(),
        learned=observed.rows,
    )


def _quantile(freedom: int) -> float:
    """A little more than the 97.5 % quantile of Student's t."""
    return 1.96 + 3.3 / freedom
