"""The eight situations: what the service does, and what is right then.

They are the situations that twelve other clients were put through; docs/fault-matrix.md has the whole table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = ("mercury", "venus", "earth", "mars", "jupiter", "saturn")
SUCCEEDED, FAILED, EXPIRED = "JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_EXPIRED"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is right for ``gemini-batch run``, which resends what failed temporarily.

    ``jobs`` is how many it makes, ``verdicts`` by key what is no success in the end, ``paid`` by key how often the
    service may have answered it, where that is not once; ``says`` what the summary must not keep to itself.
    """

    code: int = 0
    jobs: int = 1
    verdicts: Mapping[str, str] = field(default_factory=dict)
    paid: Mapping[str, int] = field(default_factory=dict)
    says: str = ""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """One situation. ``fault`` is armed before anything is sent; the rest is what is right.

    For the three commands: ``status_code`` and ``results_code`` are the exit codes of two of them, ``verdicts`` by key
    what is no success, ``says`` what the summary on stderr must not keep to itself. For ``run``: ``run``, and
    ``lasting`` where it sends something again, which is right if the trouble does not pass but meets every job.
    """

    name: str
    fault: Mapping[str, object] | None = None
    state: str = SUCCEEDED
    status_code: int = 0
    results_code: int = 0
    verdicts: Mapping[str, str] = field(default_factory=dict)
    says: str = ""
    run: Run = field(default_factory=Run)
    lasting: Run | None = None


SITUATIONS = (
    Situation(name="no fault"),
    Situation(
        name="job FAILED",
        fault={"job": "FAILED", "rows": 0, "code": 13, "message": "An internal error has occurred."},
        state=FAILED,
        status_code=5,
        results_code=5,
        verdicts=dict.fromkeys(KEYS, "missing JOB_FAILED"),
        says="An internal error has occurred.",
        run=Run(jobs=2, says="6 succeeded"),
        lasting=Run(
            code=5,
            jobs=2,
            verdicts=dict.fromkeys(KEYS, "missing JOB_FAILED"),
            paid=dict.fromkeys(KEYS, 0),
            says="An internal error has occurred.",
        ),
    ),
    Situation(name="one 503 while polling", fault={"operation": "batches.get", "error": "overloaded"}),
    Situation(name="results in another order", fault={"output": "shuffle"}),
    Situation(
        name="one row absent",
        fault={"output": "drop", "key": "earth"},
        results_code=1,
        verdicts={"earth": "missing NO_LINE"},
        says="1 missing: NO_LINE (keys: earth)",
        # The service has worked on the row whose answer it lost; whether it charges for that, nobody knows.
        run=Run(jobs=2, paid={"earth": 2}, says="6 succeeded"),
        lasting=Run(
            code=1,
            jobs=2,
            verdicts={"earth": "missing NO_LINE"},
            paid={"earth": 2},
            says="1 missing: NO_LINE (keys: earth)",
        ),
    ),
    Situation(
        name="one row twice",
        fault={"output": "duplicate", "key": "earth"},
        says="1 extra answer",
        run=Run(says="1 extra answer"),
    ),
    Situation(
        name="EXPIRED with partial results",
        fault={"job": "EXPIRED", "rows": 2, "keep": True},
        state=EXPIRED,
        status_code=5,
        results_code=1,
        verdicts=dict.fromkeys(KEYS[2:], "missing JOB_EXPIRED"),
        says="2 succeeded, 4 missing",
        run=Run(jobs=2, says="6 succeeded"),
        lasting=Run(
            code=1,
            jobs=2,
            verdicts=dict.fromkeys(KEYS[4:], "missing JOB_EXPIRED"),
            paid=dict.fromkeys(KEYS[4:], 0),
            says="4 succeeded, 2 missing",
        ),
    ),
    Situation(name="file job answered inline", fault={"operation": "batches.get", "times": 0, "inline": True}),
)
