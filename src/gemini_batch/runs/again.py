"""What can be done about requests without a good answer: the command to type, from what became of them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from gemini_batch.results.reasons import GRPC_NAMES, TRANSIENT_CODES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemini_batch.runs.records import Job, Run
    from gemini_batch.runs.rowtypes import Reason

_PASSING = frozenset(GRPC_NAMES[code] for code in TRANSIENT_CODES)
#: Room for an answer that was cut off; the prompt decides how much is needed.
MORE_TOKENS = 8192


def retry_options(verdicts: Mapping[str, int]) -> list[str]:
    """The options of ``retry`` that would send something, one for each verdict that a repetition can mend."""
    found = []
    if verdicts.get("truncated"):
        found.append(f"--only truncated --max-output-tokens {MORE_TOKENS}")
    if again := [verdict for verdict in ("empty", "invalid") if verdicts.get(verdict)]:
        found.append(f"--only {','.join(again)}")
    if verdicts.get("blocked"):
        found.append("--only blocked --temperature 1")
    if again := [verdict for verdict in ("failed", "missing") if verdicts.get(verdict)]:
        found.append(f"--only {','.join(again)}")
    return found


def what_next(run: Run, jobs: Sequence[Job], verdicts: Mapping[str, int], failures: Sequence[Reason]) -> str | None:
    """The one command that helps most, or None where everything is well or no command helps."""
    if run.origin != "made" or not failures:
        return None
    alone = len(jobs) == 1 and run.options is None
    if alone and verdicts.get("missing", 0) == run.requests:
        source = f"gemini-batch create {shlex.quote(run.source)}" if run.source else "the same create"
        return f"{source}  (another job of the same requests, once the cause is mended)"
    passing = any(one.reason in _PASSING or one.verdict == "missing" for one in failures)
    if alone and passing and jobs[0].cancelled_at is None:
        return f"gemini-batch run {run.id} -o results.jsonl  (sends again what failed in passing)"
    options = retry_options({verdict: count for verdict, count in verdicts.items() if verdict != "blocked"})
    return f"gemini-batch retry {run.id} {options[0]} -o results.jsonl" if options else None
