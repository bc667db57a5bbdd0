"""The rule by which a client is right: every row's answer under its own key, an honest status and exit code, nothing
paid twice, partial results kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matrix.situations import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matrix.situations import Situation


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How one command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the three commands did in a situation, and what the service counted.

    ``lines`` are those of the results file, None where there is no file. ``paid``: how often each key was paid for.
    """

    create: Ended
    status: Ended
    results: Ended
    lines: Sequence[Mapping[str, Any]] | None
    jobs: int
    paid: Mapping[str, int]


def prompt(key: str) -> str:
    """What is asked for a key; the service's made-up answers quote it."""
    return f"Tell me of {key}."


def judge(situation: Situation, outcome: Outcome) -> str:
    """``ok``, or everything that is wrong."""
    return "; ".join(_wrong(situation, outcome)) or "ok"


def _wrong(situation: Situation, outcome: Outcome) -> Iterator[str]:
    create, status, results = outcome.create, outcome.status, outcome.results
    if create.code != 0 or not create.out.startswith("batches/"):
        yield f"create exits {create.code}"
    if status.out != f"{situation.state}\n" or status.code != situation.status_code:
        yield f"status says {status.out.strip() or 'nothing'}, exit {status.code}"
    if results.code != situation.results_code:
        yield f"results exits {results.code}"
    if situation.says not in status.err + results.err:
        yield f"not said: {situation.says}"
    if any("Traceback" in step.err for step in (create, status, results)):
        yield "a traceback"
    if outcome.lines is None:
        yield "no results"
    else:
        yield from _wrong_lines(situation, outcome.lines)
    if outcome.jobs != 1:
        yield f"{outcome.jobs} jobs made"
    if twice := [key for key, times in outcome.paid.items() if times > 1]:
        yield f"paid twice: {', '.join(twice)}"


def _wrong_lines(situation: Situation, lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    keys = [line["key"] for line in lines]
    if keys != list(KEYS):
        yield f"keys are {', '.join(keys)}"
        return
    for line in lines:
        key = line["key"]
        expected = situation.verdicts.get(key, "succeeded")
        found = f"{line['verdict']} {line['error']['reason']}" if "error" in line else str(line["verdict"])
        if found != expected:
            yield f"{key} is {found}, not {expected}"
        elif expected == "succeeded" and prompt(key) not in (line["response"]["text"] or ""):
            yield f"{key} has the answer of another row"
