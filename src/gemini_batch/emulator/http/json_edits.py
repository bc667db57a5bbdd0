"""Changes to the JSON of answers: fields set and removed, results moved into the job, jobs omitted or repeated.

A field is named by a dotted path (``metadata.output``). In a list of jobs, every job that the fault fits is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.emulator.faults.model import matches
from gemini_batch.emulator.state.files import page_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.emulator.faults.model import WireFault
    from gemini_batch.emulator.messages.calls import Call

#: A page token that starts a list from the beginning.
_BEGINNING = page_token(2**62)
_PREDICTION_JOBS = "batchPredictionJobs"


def state_of(answer: dict[str, Any]) -> str:
    """The state in an answer: a job's without its prefix, or a file's; else empty."""
    metadata = answer.get("metadata")
    if isinstance(metadata, dict):
        return str(metadata.get("state", "")).removeprefix("BATCH_STATE_")
    file = answer.get("file")
    return str((file if isinstance(file, dict) else answer).get("state", "")).removeprefix("JOB_STATE_")


def concerns(fault: WireFault, page: dict[str, Any]) -> bool:
    """Whether a fault fits a page of jobs, or a job on it."""
    if not fault.edits and all(one == "*" for one in (fault.resource, fault.model, fault.display_name, fault.state)):
        return True
    if fault.listing in ("no_next", "same_next", "empty_page"):
        return fault.listing != "no_next" or "nextPageToken" in page
    return any(_means(fault, job) for job in page.get(_jobs(page), ()))


def edit(fault: WireFault, answer: dict[str, Any], call: Call, output: Callable[[str], list[Any]]) -> dict[str, Any]:
    """The changed answer. ``output`` reads the answers in an output file."""
    if call.operation != "batches.list":
        return _edit(fault, answer, output)
    if fault.listing == "empty_page":
        return {"nextPageToken": call.text("pageToken") or _BEGINNING}
    jobs: list[dict[str, Any]] = []
    for job in answer.get(_jobs(answer), ()):
        if not _means(fault, job):
            jobs.append(job)
        elif fault.listing != "omit":
            jobs.append(_edit(fault, job, output))
            if fault.listing == "twice":
                jobs.append(job)
    changed = {**answer, _jobs(answer): jobs}
    if not jobs:
        del changed[_jobs(answer)]
    if fault.listing == "no_next":
        del changed["nextPageToken"]
    elif fault.listing == "same_next":
        changed["nextPageToken"] = call.text("pageToken") or _BEGINNING
    return changed


def _jobs(page: dict[str, Any]) -> str:
    """The field of a page that has its jobs: Vertex AI calls it otherwise."""
    return _PREDICTION_JOBS if _PREDICTION_JOBS in page else "operations"


def _means(fault: WireFault, job: dict[str, Any]) -> bool:
    metadata = job.get("metadata") or job
    return (
        matches(fault.resource, str(job.get("name", "")))
        and matches(fault.model, str(metadata.get("model", "")).rpartition("models/")[2])
        and matches(fault.display_name, str(metadata.get("displayName", "")))
        and matches(fault.state, state_of(job))
    )


def _edit(fault: WireFault, value: dict[str, Any], output: Callable[[str], list[Any]]) -> dict[str, Any]:
    if fault.inline:
        value = _inlined(value, output)
    for path in fault.remove:
        value = _without(value, path.split("."))
    for path, new in fault.set.items():
        value = _with(value, path.split("."), new)
    return value


def _inlined(job: dict[str, Any], output: Callable[[str], list[Any]]) -> dict[str, Any]:
    """A job with its answers inline, even if it was created from a file."""
    file = ((job.get("metadata") or {}).get("output") or {}).get("responsesFile")
    if file is None:
        return job
    answers = {"inlinedResponses": {"inlinedResponses": output(file)}}
    response = {name: value for name, value in (job.get("response") or {}).items() if name != "responsesFile"}
    return {**job, "metadata": {**job["metadata"], "output": answers}, "response": {**response, **answers}}


def _without(value: dict[str, Any], path: list[str]) -> dict[str, Any]:
    head, rest = path[0], path[1:]
    if head not in value:
        return value
    if not rest:
        return {name: inner for name, inner in value.items() if name != head}
    return {**value, head: _without(value[head], rest)} if isinstance(value[head], dict) else value


def _with(value: dict[str, Any], path: list[str], new: Any) -> dict[str, Any]:
    head, rest = path[0], path[1:]
    if not rest:
        return {**value, head: new}
    inner = value.get(head)
    return {**value, head: _with(inner if isinstance(inner, dict) else {}, rest, new)}
