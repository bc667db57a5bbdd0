"""Ready-made faults by name: one for each thing that is known, or feared, to happen with the service.

A scenario is a list of faults; those who arm it may change any of their fields (``key="row-3"``, ``times=0``).
Scenarios without faults are what the emulator does anyway, or would with the right request.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from gemini_batch.emulator.faults import Fault

_LOST = 30.0


class Scenario(NamedTuple):
    """One thing that can happen, in a sentence, and the faults that make it happen."""

    about: str
    faults: tuple[Fault, ...] = ()


def _wire(operation: str, **effect: Any) -> Fault:
    return Fault(operation=operation, **effect)


def _create(**effect: Any) -> Fault:
    return _wire("batches.create", **effect)


def _get(**effect: Any) -> Fault:
    return _wire("batches.get", **effect)


def _row(outcome: Any, **how: Any) -> Fault:
    return Fault(row=outcome, **how)


_CHUNK = "files.upload.chunk"
_RESULTS = ["metadata.output", "response"]
_DONE = {"state": "SUCCEEDED", "times": 0}

SCENARIOS: dict[str, Scenario] = {
    "U0": Scenario("Uploads go well: nothing is armed."),
    "U1": Scenario(
        "The MIME type of the first upload is refused.",
        (
            _wire(
                _CHUNK,
                status=400,
                body='{"error":{"code":400,"message":"Unsupported MIME type: jsonl","status":"INVALID_ARGUMENT"}}',
                headers={"X-Goog-Upload-Status": "final"},
            ),
        ),
    ),
    "U2": Scenario(
        "The last chunk is answered 200 with an empty object: the file is there, its name is not.",
        (_wire(_CHUNK, state="final", body="{}"),),
    ),
    "U3": Scenario(
        "Opening an upload fails once with an empty 503.", (_wire("files.upload.start", error="upload_503"),)
    ),
    "U4": Scenario(
        "A chunk is stored, but its answer lacks X-Goog-Upload-Status.",
        (_wire(_CHUNK, without_headers=["X-Goog-Upload-Status"]),),
    ),
    "U5": Scenario("The connection is reset in the middle of a chunk.", (_wire(_CHUNK, receive=300_000),)),
    "U7": Scenario(
        "An uploaded file is PROCESSING for the first two looks.",
        (
            _wire(_CHUNK, state="final", set={"file.state": "PROCESSING"}),
            _wire("files.get", state="ACTIVE", times=2, set={"state": "PROCESSING"}),
        ),
    ),
    "C1": Scenario(
        "Creating is refused twice for quota, without saying which or for how long.", (_create(error="quota", times=2),)
    ),
    "C4": Scenario("Bad lines are refused when the job is created, with line and column: nothing is armed."),
    "C5": Scenario("An unknown model is refused when the job is created: nothing is armed."),
    "C8a": Scenario("The job is created, then the connection is reset.", (_create(commit=True, drop="reset"),)),
    "C8b": Scenario("The job is created, but the answer is 504.", (_create(commit=True, error="deadline"),)),
    "C8c": Scenario("The job is created, but no answer ever comes.", (_create(commit=True, silence=_LOST),)),
    "C8d": Scenario("The connection is reset before the job is created.", (_create(drop="reset"),)),
    "C9": Scenario(
        "Creating fails with 500, 502 in HTML and 503, once each; no job is made.",
        (_create(error="internal"), _create(error="html_502"), _create(error="overloaded")),
    ),
    "L1": Scenario("A job waits, runs and succeeds: nothing is armed."),
    "L2": Scenario("The first job never starts; it expires, or is cancelled.", (Fault(job="PENDING"),)),
    "L3": Scenario("The first job expires without any output.", (Fault(job="EXPIRED", rows=0),)),
    "L4": Scenario(
        "The first job expires after its first row, and that row can be had.",
        (Fault(job="EXPIRED", rows=1, keep=True),),
    ),
    "L5": Scenario(
        "Three looks show states that nobody knows, or none.",
        (
            _get(set={"metadata.state": "BATCH_STATE_SOMETHING_NEW"}),
            _get(set={"metadata.state": "JOB_STATE_QUEUED"}),
            _get(remove=["metadata.state"]),
        ),
    ),
    "L6": Scenario(
        "A job has succeeded, but for two looks it shows no output.",
        (_get(state="SUCCEEDED", times=2, remove=_RESULTS),),
    ),
    "L7": Scenario(
        "The first job fails, with a reason.",
        (Fault(job="FAILED", rows=0, code=13, message="An internal error has occurred."),),
    ),
    "L8": Scenario("The first job fails, without any reason.", (Fault(job="FAILED", rows=0),)),
    "L9": Scenario("Results stand only under response.", (_get(**_DONE, remove=["metadata.output"]),)),
    "L10": Scenario("Results stand only under metadata.output.", (_get(**_DONE, remove=["response"]),)),
    "L11": Scenario(
        "Looking at a job fails with 429, 500, 503, 504, no answer and 404, once each.",
        (
            _get(error="quota"),
            _get(error="internal"),
            _get(error="overloaded"),
            _get(error="deadline"),
            _get(drop="reset"),
            _get(error="not_found"),
        ),
    ),
    "R0": Scenario("The results can be downloaded: nothing is armed."),
    "R1": Scenario("Results come in another order than the requests.", (Fault(output="shuffle", times=0),)),
    "R2": Scenario(
        "One result comes twice, another twice with different answers.",
        (Fault(output="duplicate"), Fault(output="conflict")),
    ),
    "R3": Scenario("One result is missing.", (Fault(output="drop"),)),
    "R4": Scenario("One result has lost its key or metadata.", (Fault(output="no_key"),)),
    "R5": Scenario("There is a result for a key that nobody asked for.", (Fault(output="foreign"),)),
    "R6": Scenario("One line of the results is broken off.", (Fault(output="broken"),)),
    "R10": Scenario(
        "A download is cut, then shorter than declared, then refused, then goes well.",
        (
            _wire("files.download", cut=100),
            _wire("files.download", length=64),
            _wire("files.download", error="overloaded"),
        ),
    ),
    "R13": Scenario("A job made from a file holds its answers inline.", (_get(**_DONE, inline=True),)),
    "X1": Scenario("A job that is cancelled before it starts ends CANCELLED: nothing is armed."),
    "X2": Scenario("Cancelling comes too late: the job succeeds.", (Fault(job="SUCCEEDED", on_cancel=True, times=0),)),
    "X3": Scenario(
        "A cancelled job ends CANCELLED and its first row can be had.",
        (Fault(job="CANCELLED", on_cancel=True, rows=1, keep=True, code=1, times=0),),
    ),
    "P3": Scenario(
        "Lists leave out every job; a look at one finds it.", (_wire("batches.list", listing="omit", times=0),)
    ),
    "K1": Scenario("Another key finds no job (404): nothing is armed."),
}


def made(scenario: str = "", **fields: Any) -> list[Fault]:
    """The faults of a scenario, with some fields changed; or, without one, the fault that the fields make.

    Raises ``ValueError`` for an unknown scenario, or fields that make no fault, and msgspec's errors for wrong types.
    """
    if not scenario:
        return [msgspec.convert(fields, Fault)]
    if scenario not in SCENARIOS:
        raise ValueError(f"no scenario is called {scenario}; there are {', '.join(SCENARIOS)}")
    return [msgspec.convert(msgspec.structs.asdict(fault) | fields, Fault) for fault in SCENARIOS[scenario].faults]
