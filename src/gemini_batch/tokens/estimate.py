"""The tokens of prompts, estimated with a band: ``estimate_line`` for one request, ``estimate_lines`` for many."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from gemini_batch.tokens.classes import CLASSES, SCRIPTS
from gemini_batch.tokens.media import NONE, Range, Size, generation
from gemini_batch.tokens.requests import Tally, tally
from gemini_batch.tokens.table import CALLS, GENERATIONS, MEASURED, RATES, UNMEASURED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Up to this generation a content costs nothing of its own; later ones add a token to each.
_NO_START = (2, 0)
#: The band of a model of which no count is recorded is wider by this share, at both ends.
_OTHER_MODEL = 0.1
_LATIN = "latin"
_LETTERS = CLASSES.index("letters")
_NOT_LETTERS = ("signs", "emoji", "others")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The tokens of some prompts; estimates can be added.

    The band should hold the true number in 95 % of cases. The bands of many rows add up as if all errors went the same
    way, so it is wide for many rows of different kinds.
    """

    rows: int = 0
    """The number of requests."""
    range: Range = NONE
    """Low end, expected number and high end, in thousandths of tokens."""
    unknown: Mapping[str, int] = field(default_factory=dict)
    """What has tokens that nothing tells (audio, PDF, cached content …), and how often; not part of ``range``."""
    unmeasured: frozenset[str] = frozenset()
    """Scripts in the text, and models, of which no recorded count is known: their part of the band is a guess."""
    scripts: Mapping[str, int] = field(default_factory=dict)
    """Letters of the text, by script."""
    learned: int = 0
    """How many rows of this state folder the estimate was learned from; 0 if it is the general one."""

    @property
    def tokens(self) -> int:
        """The expected number."""
        return round(self.range.tokens / 1000)

    @property
    def low(self) -> int:
        """The low end of the band."""
        return self.range.low // 1000

    @property
    def high(self) -> int:
        """The high end of the band."""
        return -(-self.range.high // 1000)

    @property
    def measured(self) -> bool:
        """True if recorded counts are known for every script of the text and for the model."""
        return not self.unmeasured

    @property
    def basis(self) -> str:
        """Where the numbers are from, in words."""
        return f"learned from {self.learned:,} rows here" if self.learned else "general"

    @property
    def script(self) -> str:
        """The script that most of the text is in; empty without text."""
        return max(self.scripts, key=lambda name: (self.scripts[name], name), default="")

    def __add__(self, other: Estimate) -> Estimate:
        """Both together: learned only if both are."""
        return Estimate(
            rows=self.rows + other.rows,
            range=self.range.plus(other.range),
            unknown=Counter(self.unknown) + Counter(other.unknown),
            unmeasured=self.unmeasured | other.unmeasured,
            scripts=Counter(self.scripts) + Counter(other.scripts),
            learned=min(self.learned, other.learned) if self.rows and other.rows else self.learned or other.learned,
        )


def estimate_line(line: bytes, model: str, files: Mapping[str, Size] | None = None) -> Estimate:
    """Estimate the prompt of one request line. A line that cannot be read has unknown tokens."""
    return of_tally(tally([line], model, files), model)


def estimate_lines(lines: Iterable[bytes], model: str, files: Mapping[str, Size] | None = None) -> Estimate:
    """Estimate the prompts of many request lines, as the sum of ``estimate_line``; memory is bounded."""
    return of_tally(tally(lines, model, files), model)


def of_tally(counted: Tally, model: str) -> Estimate:
    """Estimate what was counted for ``model``."""
    rates = _rates(model)
    total = rates.content.times(counted.contents).plus(counted.media)
    for of_each, counts in ((rates.text, counted.text), (rates.calls, counted.calls)):
        for one, count in zip(of_each, counts, strict=True):
            if count:
                total = total.plus(one.times(count))
    letters = {name: count for name, count in zip(CLASSES, counted.text, strict=True) if name in SCRIPTS and count}
    for name in _NOT_LETTERS:
        letters.pop(name, None)
    if ascii_letters := counted.text[_LETTERS]:
        letters[_LATIN] = letters.get(_LATIN, 0) + ascii_letters
    used = {name for at, name in enumerate(CLASSES) if counted.text[at] or counted.calls[at]}
    return Estimate(
        rows=counted.rows,
        range=total,
        unknown=counted.unknown,
        unmeasured=frozenset(used & set(SCRIPTS) - set(MEASURED)) | (rates.unmeasured if counted.rows else frozenset()),
        scripts=letters,
    )


@dataclass(frozen=True, slots=True)
class _Rates:
    """Thousandths of tokens for one of each class, and for one content."""

    text: tuple[Range, ...]
    calls: tuple[Range, ...]
    content: Range
    unmeasured: frozenset[str]


@cache
def _rates(model: str) -> _Rates:
    version = generation(model)
    known = version in GENERATIONS
    wider = 0.0 if known else _OTHER_MODEL
    text = [Range(*RATES.get(name, UNMEASURED)) for name in CLASSES]
    text = [Range(round(one.low * (1 - wider)), one.tokens, round(one.high * (1 + wider))) for one in text]
    return _Rates(
        text=tuple(text),
        calls=tuple(
            Range(*(round(rate * share / 1000) for rate, share in zip(one, CALLS, strict=True))) for one in text
        ),
        content=Range(0, 0, 1000) if version is not None and version <= _NO_START else Range(0, 1000, 2000),
        unmeasured=frozenset() if known else frozenset({model.removeprefix("models/")}),
    )
