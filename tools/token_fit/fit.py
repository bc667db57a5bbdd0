"""The fit: rates that are never negative, near to what is known of the tokenizer where few texts tell."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_batch.tokens.classes import ASCII, CLASSES, SCRIPTS
from token_fit.records import script_of

if TYPE_CHECKING:
    from token_fit.records import Record

#: What the tokenizer of Gemini and Gemma is known for (Gemma 3 report: SentencePiece, digits split, white space kept):
#: a token for each digit, each run of line feeds, each indentation; most common words are one token. With it, how far
#: a rate may be from that.
_PRIOR = {
    "words": (0.7, 0.15), "letters": (0.07, 0.03), "capitals": (0.3, 0.2), "digits": (1.0, 0.05),
    "numbers": (1.0, 0.15), "marks": (0.2, 0.2), "runs": (0.7, 0.2), "breaks": (1.0, 0.15), "indents": (1.0, 0.15),
    "latin": (0.5, 0.5), "signs": (0.8, 0.5), "emoji": (2.0, 0.5),
}  # fmt: skip
_OTHER_PRIOR = (0.4, 0.5)
_STRENGTH = 0.02
#: Below so many tokens, errors count as if there were so many.
_SHORT = 8.0
#: Where no text tells: tokens for a character, from long words in the vocabulary to one token for each byte.
UNMEASURED = (150, 700, 3000)
#: Classes that texts of all scripts use; their band is that of Latin.
_COMMON = ("signs", "emoji")
#: Bands are widened by this share, divided by the number of texts.
_MARGIN = 0.25
#: Declarations of functions are text, but not the text of their JSON.
_STEPS = 4000


@dataclass(frozen=True, slots=True)
class Table:
    """What is written: rates in thousandths, low, expected and high; the number of texts by script."""

    rates: dict[str, tuple[int, int, int]]
    calls: tuple[int, int, int]
    measured: dict[str, int]


def fitted(records: list[Record]) -> Table:
    """Fit the rates to the records."""
    plain = [one for one in records if not any(one.tally.calls)]
    rates = _expected(plain)
    groups = _groups(plain, rates)
    table = {}
    for name, rate in rates.items():
        low, high = _band(groups[_group(name)])
        table[name] = (math.floor(rate * low * 1000), round(rate * 1000), math.ceil(rate * high * 1000))
    return Table(
        rates=table,
        calls=_calls([one for one in records if any(one.tally.calls)], rates),
        measured={name: len(groups[name]) for name in SCRIPTS if name in rates and name in groups}
        | {name: len(groups["latin"]) for name in _COMMON},
    )


def _group(name: str) -> str:
    return "latin" if name in ASCII or name in _COMMON else name


def _expected(records: list[Record]) -> dict[str, float]:
    """Least squares of relative errors, each repository with the same weight; one coordinate at a time."""
    used = [at for at, name in enumerate(CLASSES) if name in ASCII or any(one.tally.text[at] for one in records)]
    many = Counter(one.repository for one in records)
    gram = [[0.0] * len(used) for _ in used]
    goal = [0.0] * len(used)
    for one in records:
        tokens = one.tokens - one.contents
        weight = 1 / max(tokens, _SHORT) ** 2 / many[one.repository]
        values = [one.tally.text[at] for at in used]
        for i, x in enumerate(values):
            if x:
                goal[i] += weight * x * tokens
                for j, y in enumerate(values):
                    gram[i][j] += weight * x * y
    rates = []
    for i, at in enumerate(used):
        value, spread = _PRIOR.get(CLASSES[at], _OTHER_PRIOR)
        gram[i][i] += (_STRENGTH / spread) ** 2
        goal[i] += (_STRENGTH / spread) ** 2 * value
        rates.append(value)
    for _ in range(_STEPS):
        for i, row in enumerate(gram):
            rates[i] = max(0.0, rates[i] - (sum(a * b for a, b in zip(row, rates, strict=True)) - goal[i]) / row[i])
    return {CLASSES[at]: rate for at, rate in zip(used, rates, strict=True)}


def _estimated(counts: tuple[int, ...], rates: dict[str, float]) -> float:
    return sum(rates.get(name, 0.0) * count for name, count in zip(CLASSES, counts, strict=True))


def _groups(records: list[Record], rates: dict[str, float]) -> dict[str, dict[str, list[float]]]:
    """By script: the ratios of counted to estimated tokens, by source; texts in which no script prevails are left."""
    groups: dict[str, dict[str, list[float]]] = {}
    for one in records:
        if script := script_of(one.tally):
            ratio = (one.tokens - one.contents) / _estimated(one.tally.text, rates)
            groups.setdefault(script, {}).setdefault(one.source, []).append(ratio)
    return groups


def _band(ratios: dict[str, list[float]]) -> tuple[float, float]:
    every = [ratio for ones in ratios.values() for ratio in ones]
    return min(every) * (1 - _MARGIN / len(ratios)), max(every) * (1 + _MARGIN / len(ratios))


def _calls(records: list[Record], rates: dict[str, float]) -> tuple[int, int, int]:
    """The tokens of declarations, for one token of their JSON as text, in thousandths."""
    ratios = {
        f"{one.source} {at}": [
            (one.tokens - one.contents - _estimated(one.tally.text, rates)) / _estimated(one.tally.calls, rates)
        ]
        for at, one in enumerate(records)
    }
    low, high = _band(ratios)
    middle = sum(ratio[0] for ratio in ratios.values()) / len(ratios)
    return math.floor(low * 1000), round(middle * 1000), math.ceil(high * 1000)
