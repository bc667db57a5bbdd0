"""What to do next: the command that helps, from the state of a job and from what became of its requests."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.answers.reasons import GRPC_NAMES, TRANSIENT_CODES
from gemini_batch.errors import ApiError
from gemini_batch.report.billing import paid_again
from gemini_batch.wire import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemini_batch.session import Session, Target
    from gemini_batch.store.records import Job, Run
    from gemini_batch.store.row_records import Reason
    from gemini_batch.wire import RemoteJob


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


_USUAL_ENDING = 24 * 3600.0
_MEANINGS = {
    1: "It was cancelled.",
    3: "The service could not use the input: look at the request format, the model's name and the media it refers to.",
    7: "The key may not use this model or one of the files.",
    8: "A quota was used up. Smaller jobs, or a later time, go through.",
    13: "A fault inside the service; the same requests usually go through when sent again.",
    14: "The service was overloaded; the same requests usually go through when sent again.",
}


class JobErrorInfo(msgspec.Struct, frozen=True):
    """The service's own error for a job, with what it probably means."""

    code: int | None
    """gRPC status code."""
    message: str | None
    """The service's message."""
    meaning: str | None
    """What the error probably means."""


def explained(seen: RemoteJob) -> JobErrorInfo | None:
    """The service's error for a job with what it probably means; None where there is none."""
    if seen.error_code is None and seen.error_message is None:
        if seen.phase is Phase.FAILED:
            return JobErrorInfo(None, None, "The service gave no reason. Sending again often goes through.")
        return None
    if seen.phase is Phase.CANCELLED:
        return JobErrorInfo(seen.error_code, seen.error_message, "The service words a cancelled job this way.")
    return JobErrorInfo(seen.error_code, seen.error_message, _MEANINGS.get(seen.error_code or 0))


def next_step(seen: RemoteJob, age: float | None, *, collected: bool) -> str | None:
    """What to do now, as a sentence with the command in it."""
    if seen.phase.ended:
        if seen.phase is Phase.SUCCEEDED or seen.has_output or collected:
            return f"gemini-batch results {seen.name} -o results.jsonl"
        if seen.phase is Phase.EXPIRED:
            return "It was not served within 48 hours. Create it again, perhaps in smaller files."
        again = "the same create makes another job of these requests."
        return f"Mend the cause; {again}" if seen.phase is Phase.FAILED else f"If they are wanted after all, {again}"
    if seen.phase is Phase.UNKNOWN:
        return "This state is not known here; it is treated as alive. Look again later."
    if age is not None and age > _USUAL_ENDING:
        return (
            "Longer than the 24 hours that the service aims at. It happens; another job would wait in the same queue. "
            "It ends by itself, at the latest when it expires."
        )
    return f"gemini-batch status {seen.name} --wait"


#: How alike two names must be for one to be taken for a slip of the other; names of jobs are long and random.
_NEAR = 0.8


def helped(session: Session, target: Target, error: ApiError) -> ApiError:
    """A "no such job" of the service with what to type next; any other error as it is."""
    if error.reason_code != "job_not_found":
        return error
    if target.run is not None:
        message = f"{target.name} was made here, and the service does not know it any more ({error.status}): "
        following = f"gemini-batch list --remote shows what is there; create --new makes another job{_again(session)}."
        return _instead(error, message + "somebody has deleted it, or it does not show it at this moment.", following)
    message = (
        f"The service does not know {target.name} with this API key ({error.status}): the name is mistyped, the job "
        "was deleted, or it was made with the key of another project."
    )
    near = _near(session, target.name)
    listed = "gemini-batch list shows the jobs made here, gemini-batch list --remote all of this key's project."
    return _instead(error, message, f"Did you mean {near}?" if near else listed)


def _again(session: Session) -> str:
    return paid_again(session.settings)


def _instead(error: ApiError, message: str, following: str) -> ApiError:
    return ApiError(message, status=error.status, reason=error.reason, code=error.reason_code, next=following)


def _near(session: Session, name: str) -> str | None:
    """A job of this home whose name is nearly that one."""
    from difflib import get_close_matches

    if not session.state_folder.exists():
        return None
    known = [job.batch for _, job in session.ledger().jobs() if job.batch]
    found = get_close_matches(name, known, n=1, cutoff=_NEAR)
    return found[0] if found else None
