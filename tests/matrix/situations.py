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
class Situation:
    """One situation. ``fault`` is armed before anything is sent; the rest is what is right.

    ``status_code`` and ``results_code`` are the exit codes of the two commands, ``verdicts`` by key what is no success,
    ``says`` what the summary on stderr must not keep to itself.
    """

    name: str
    fault: Mapping[str, object] | None = None
    state: str = SUCCEEDED
    status_code: int = 0
    results_code: int = 0
    verdicts: Mapping[str, str] = field(default_factory=dict)
    says: str = ""


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
    ),
    Situation(name="one 503 while polling", fault={"operation": "batches.get", "error": "overloaded"}),
    Situation(name="results in another order", fault={"output": "shuffle"}),
    Situation(
        name="one row absent",
        fault={"output": "drop", "key": "earth"},
        results_code=1,
        verdicts={"earth": "missing NO_LINE"},
        says="1 missing: NO_LINE (keys: earth)",
    ),
    Situation(name="one row twice", fault={"output": "duplicate", "key": "earth"}, says="1 answer more than requests"),
    Situation(
        name="EXPIRED with partial results",
        fault={"job": "EXPIRED", "rows": 2, "keep": True},
        state=EXPIRED,
        status_code=5,
        results_code=1,
        verdicts=dict.fromkeys(KEYS[2:], "missing JOB_EXPIRED"),
        says="2 succeeded, 4 missing",
    ),
    Situation(name="file job answered inline", fault={"operation": "batches.get", "times": 0, "inline": True}),
)
