"""What the state and the error of a job mean, and what to do now: the service's words in plain ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_batch.wire import Phase

if TYPE_CHECKING:
    from gemini_batch.wire import RemoteJob

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
    message: str | None
    meaning: str | None


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
