"""How far one machine goes: what was measured of ten thousand rows and more, and what follows for far more. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.lines import Line
    from gemini_batch.catalog import EnqueuedTokens, Model

#: What a row is taken to be: bytes of its request and of its result line, tokens of its prompt and of its answer.
REQUEST, RESULT, PROMPT, ANSWER = 1_000, 1_200, 250, 100
#: Hours that a queue full of jobs takes to be worked off.
HOURS = 6
#: Rows of a job.
JOB = 50_000
_POWERS = range(5, 10)
_BEGIN, _END = "<!-- reach: `make bench` writes it -->", "<!-- end of the table -->"


def written(text: str, lines: Sequence[Line], model: Model) -> str:
    """A page with the table between its two marks renewed."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n\n{chr(10).join(_table(lines, model))}\n\n{_END}{after}"


def _table(lines: Sequence[Line], model: Model) -> Iterator[str]:
    largest = max(int(line.work) for line in lines)
    quota = model.enqueued_tokens
    assert quota is not None
    yield "| rows | requests | results | `rows.db` | time here | jobs | tier 1 | tier 2 | tier 3 | cost |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for power in _POWERS:
        rows = 10**power
        like = min(rows, largest)
        here = rows * sum(_of(lines, like, "µs")) / 1e6
        disk = rows * max(_of(lines, like, "bytes"))
        cells = (
            f"10<sup>{power}</sup>{'' if rows <= largest else ' *'}",
            _size(rows * REQUEST),
            _size(rows * RESULT),
            _size(disk),
            _time(here),
            f"{math.ceil(rows / JOB):,}",
            *(_time(3600 * HOURS * _rounds(rows, quota, tier)) for tier in (1, 2, 3)),
            _money(rows, model),
        )
        yield f"| {' | '.join(cells)} |"


def _of(lines: Sequence[Line], rows: int, unit: str) -> list[float]:
    return [line.ours for line in lines if int(line.work) == rows and line.unit == unit]


def _rounds(rows: int, quota: EnqueuedTokens, tier: int) -> int:
    """How often the queue is filled."""
    return math.ceil(rows * PROMPT / (quota.of_tier(tier) or 1))


def _money(rows: int, model: Model) -> str:
    rates = model.prices[-1].batch
    assert rates is not None
    return f"${float(rows * (PROMPT * (rates.input or 0) + ANSWER * (rates.output or 0))) / 1e6:,.0f}"


def _size(count: float) -> str:
    for unit in ("MB", "GB"):
        if count < 1e9 or unit == "GB":
            return f"{count / (1e6 if unit == 'MB' else 1e9):,.0f} {unit}"
    raise AssertionError


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 72 * 3600 else f"{seconds / 86400:,.0f} days"
