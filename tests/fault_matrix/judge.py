"""The rule by which a client is right: every row's answer under its own key, an honest status and exit code, nothing
paid twice, partial results kept. For ``run`` also: what failed temporarily is fixed, in so many jobs and no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fault_matrix.situations import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fault_matrix.situations import Run, Situation


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


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """What ``gemini-batch run`` did in a situation, and then the same command ``again``.

    ``failures`` are the keys in the file of failures, None where there is none. ``jobs`` and ``paid`` are what the
    service counted after the first command, ``jobs_again`` after the second; ``lines_again`` likewise.
    """

    first: Ended
    again: Ended
    lines: Sequence[Mapping[str, Any]] | None
    lines_again: Sequence[Mapping[str, Any]] | None
    failures: Sequence[str] | None
    jobs: int
    jobs_again: int
    paid: Mapping[str, int]


def prompt(key: str) -> str:
    """What is asked for a key; the service's made-up answers quote it."""
    return f"Tell me of {key}."


def judge(situation: Situation, outcome: Outcome) -> str:
    """``ok``, or everything that is wrong."""
    return "; ".join(_wrong(situation, outcome)) or "ok"


def judge_run(right: Run, outcome: RunOutcome) -> str:
    """The same for ``run``."""
    return "; ".join(_wrong_run(right, outcome)) or "ok"


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
    yield from _wrong_lines(situation.verdicts, outcome.lines)
    if outcome.jobs != 1:
        yield f"{outcome.jobs} jobs made"
    yield from _wrong_costs({}, outcome.paid)


def _wrong_run(right: Run, outcome: RunOutcome) -> Iterator[str]:
    first, again = outcome.first, outcome.again
    if first.code != right.code or not first.out.startswith("run-"):
        yield f"run exits {first.code} and says {first.out.strip() or 'nothing'}"
    if right.says not in first.err:
        yield f"not said: {right.says}"
    if "Traceback" in first.err + again.err:
        yield "a traceback"
    yield from _wrong_lines(right.verdicts, outcome.lines)
    if list(outcome.failures or ()) != list(right.verdicts):
        yield f"failures are {', '.join(outcome.failures or ()) or 'none'}"
    if outcome.jobs != right.jobs:
        yield f"{outcome.jobs} jobs made"
    yield from _wrong_costs(right.paid, outcome.paid)
    if (again.code, again.out, outcome.lines_again) != (first.code, first.out, outcome.lines):
        yield f"the same command again ends otherwise, exit {again.code}"
    if outcome.jobs_again != outcome.jobs:
        yield f"the same command again makes {outcome.jobs_again - outcome.jobs} more jobs"


def _wrong_lines(verdicts: Mapping[str, str], lines: Sequence[Mapping[str, Any]] | None) -> Iterator[str]:
    if lines is None:
        yield "no results"
        return
    keys = [line["key"] for line in lines]
    if keys != list(KEYS):
        yield f"keys are {', '.join(keys)}"
        return
    for line in lines:
        key = line["key"]
        expected = verdicts.get(key, "succeeded")
        found = f"{line['verdict']} {line['error']['reason']}" if "error" in line else str(line["verdict"])
        if found != expected:
            yield f"{key} is {found}, not {expected}"
        elif expected == "succeeded" and prompt(key) not in (line["response"]["text"] or ""):
            yield f"{key} has the answer of another row"


def _wrong_costs(right: Mapping[str, int], paid: Mapping[str, int]) -> Iterator[str]:
    """A key that was paid for more often than ``right`` allows, which is once if nothing is said."""
    if much := [f"{key} {times} times" for key, times in paid.items() if times > right.get(key, 1)]:
        yield f"paid too often: {', '.join(much)}"
