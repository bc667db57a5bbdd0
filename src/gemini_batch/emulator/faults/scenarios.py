"""Predefined faults by name: one for each failure that is known, or suspected, to occur at the service.

A scenario is a set of faults, or of quotas; any of their fields can be changed when it is armed (``key="row-3"``,
``times=0``). Scenarios with neither are what the emulator does anyway, for the right request or an advanced clock.
"""

from __future__ import annotations

import difflib
from typing import Any

from gemini_batch.emulator.faults.flex import FLEX
from gemini_batch.emulator.faults.model import (
    FIELDS,
    JobFault,
    OutputFault,
    RowFault,
    WebhookFault,
    WireFault,
    change_fault,
    make_fault,
)
from gemini_batch.emulator.faults.scenario import Scenario
from gemini_batch.emulator.faults.scenario import one as _one
from gemini_batch.emulator.faults.scenario import wire as _wire
from gemini_batch.emulator.faults.vertex import VERTEX
from gemini_batch.emulator.state.quotas import Quotas

_QUOTAS = frozenset(Quotas.__struct_fields__)


def made(scenario: str = "", **fields: Any) -> Scenario:
    """A scenario with some fields of its faults and quotas changed; without a name, the fault that the fields describe.

    Raises ``ValueError`` for an unknown scenario or field, a field of another kind of fault, or a wrong value.
    """
    if not scenario:
        return Scenario("", (make_fault(fields),))
    if scenario not in SCENARIOS:
        names = {name.upper(): name for name in SCENARIOS}
        near = difflib.get_close_matches(scenario.upper(), names, n=1)
        raise ValueError(f"no scenario is called {scenario!r}" + (f" (did you mean {names[near[0]]}?)" if near else ""))
    found = SCENARIOS[scenario]
    known = (FIELDS if found.faults else frozenset()) | (_QUOTAS if found.quotas else frozenset())
    if unknown := sorted(set(fields) - known):
        raise ValueError(f"{scenario} has no field {' or '.join(unknown)} to change")
    of_fault = {name: value for name, value in fields.items() if name in FIELDS}
    of_quotas = {name: value for name, value in fields.items() if name in _QUOTAS}
    return Scenario(
        found.about,
        tuple(change_fault(fault, of_fault) for fault in found.faults),
        {**found.quotas, **of_quotas} if found.quotas else {},
    )


def _start(**effect: Any) -> WireFault:
    return _wire("files.upload.start", **effect)


def _chunk(**effect: Any) -> WireFault:
    return _wire("files.upload.chunk", **effect)


def _create(**effect: Any) -> WireFault:
    return _wire("batches.create", **effect)


def _get(**effect: Any) -> WireFault:
    return _wire("batches.get", **effect)


def _list(**effect: Any) -> WireFault:
    return _wire("batches.list", **effect)


def _download(**effect: Any) -> WireFault:
    return _wire("files.download", **effect)


#: Longer than any test waits, in seconds.
_FOR_EVER = 30.0
_RESULTS = ["metadata.output", "response"]
_MIME = '{"error":{"code":400,"message":"Unsupported MIME type: jsonl","status":"INVALID_ARGUMENT"}}'
_OUTAGE = {"headers": {"Server-Timing": "gfet4t7; dur=60069"}, "commit": True, "times": 0, "larger": 1_000_000}
_SCHEMA_MISSED = '{"unexpected": ["offline"], "answer": null}'

SCENARIOS: dict[str, Scenario] = {
    "U0": Scenario("An upload succeeds. Nothing is armed."),
    "U1": _one(
        "An upload's MIME type is refused when the upload is finalized.",
        _chunk(status=400, body=_MIME, headers={"X-Goog-Upload-Status": "final"}),
    ),
    "U2": _one(
        "The last chunk is answered with an empty object: the file exists, but its name is missing.",
        _chunk(state="final", body="{}"),
    ),
    "U3": _one("Starting an upload fails with a 503 without a message.", _start(error="upload_503")),
    "U4": _one(
        "A chunk is stored, but its answer lacks X-Goog-Upload-Status.",
        _chunk(without_headers=["X-Goog-Upload-Status"]),
    ),
    "U5": _one("The connection is reset in the middle of a chunk.", _chunk(receive=300_000)),
    "U6": Scenario("Files over 1 MB are refused as too large (at the service: over 2 GB).", quotas={"file": 1_000_000}),
    "U7": _one(
        "An uploaded file stays PROCESSING for two polls, then becomes ACTIVE.",
        _chunk(state="final", set={"file.state": "PROCESSING"}),
        _wire("files.get", times=2, set={"state": "PROCESSING"}),
    ),
    "U7b": _one(
        "An uploaded file cannot be processed: it becomes FAILED, with an error.",
        _chunk(state="final", set={"file.state": "PROCESSING"}),
        _wire("files.get", times=0, set={"state": "FAILED", "error": {"code": 3, "message": "The file is broken."}}),
    ),
    "U8": _one("Starting an upload is refused: the file store is full.", _start(error="storage")),
    "U9": _one(
        "Files no longer exist: getting one, or creating a job from one, is refused.",
        _wire("files.get|batches.create", error="no_file", times=0),
    ),
    "C0": Scenario("A job is created from a file. Nothing is armed."),
    "C0i": Scenario("A job is created from inline requests. Nothing is armed."),
    "C1": _one(
        "Creating a job is refused twice for quota, without saying which quota or for how long.",
        _create(error="quota", times=2),
    ),
    "C2": _one("Creating a job is refused: the file store is full.", _create(error="storage")),
    "C3a": Scenario("The enqueued tokens of a model are limited, as in tier 1.", quotas={"tier": 1}),
    "C3b": Scenario(
        "At most 100 jobs are alive at a time; the next is refused, or waits (when_full).", quotas={"jobs": 100}
    ),
    "C3c": Scenario(
        "Enqueued tokens are limited, and stay reserved for 15 minutes after a job has ended.",
        quotas={"tier": 1, "release_after": 900.0},
    ),
    "C3d": Scenario(
        "One job can be created in 12 hours; the next is refused, even if no job is alive (at the service: about 700).",
        quotas={"creates": 1},
    ),
    "C4": Scenario("Bad lines are refused at creation, with line and column. Nothing is armed."),
    "C5": Scenario("An unknown model is refused at creation. Nothing is armed."),
    "C6": Scenario("An unknown field of an inline request is refused, with its path. Nothing is armed."),
    "C7": _one("A job's input file belongs to another project.", _create(error="no_file")),
    "C8a": _one("A job is created, then the connection is reset.", _create(commit=True, drop="reset")),
    "C8b": _one("A job is created, but the answer is 504.", _create(commit=True, error="deadline")),
    "C8c": _one("A job is created, but the answer never arrives.", _create(commit=True, silence=_FOR_EVER)),
    "C8d": _one("The connection is reset, and no job was created.", _create(drop="reset")),
    "C9": _one(
        "Creating a job fails with 500, with 502 in HTML and with 503; no job is created.",
        _create(error="internal"),
        _create(error="html_502"),
        _create(error="overloaded"),
    ),
    "C10": Scenario("Inline requests over 20 MiB are refused. Nothing is armed."),
    "C11": _one("Billing is not active.", _create(error="billing", times=0)),
    "C12": _one("The key is not valid.", _wire("*", error="bad_key", times=0)),
    "C13": _one(
        "A row's cached content no longer exists.",
        RowFault(row="error", code=7, message="CachedContent not found (or permission denied)"),
    ),
    "C14": Scenario("Names other than key and request in a line are ignored. Nothing is armed."),
    "L1": Scenario("A job waits, runs and succeeds. Nothing is armed."),
    "L2": _one("A job never starts; it expires after 48 hours, or is cancelled.", JobFault(job="PENDING")),
    "L3": _one("A job expires without any output.", JobFault(job="EXPIRED", rows=0)),
    "L4": _one(
        "A job expires after its first row; that row can be downloaded (keep).",
        JobFault(job="EXPIRED", rows=1, keep=True),
    ),
    "L5": _one(
        "Three polls of a job show two unknown states, then no state.",
        _get(set={"metadata.state": "BATCH_STATE_SOMETHING_NEW"}),
        _get(set={"metadata.state": "JOB_STATE_QUEUED"}),
        _get(remove=["metadata.state"]),
    ),
    "L6": _one(
        "A job has succeeded, but shows no output for two polls.", _get(state="SUCCEEDED", times=2, remove=_RESULTS)
    ),
    "L7": _one(
        "A job fails, with a reason.",
        JobFault(job="FAILED", rows=0, code=13, message="An internal error has occurred."),
    ),
    "L8": _one("A job fails, without any reason.", JobFault(job="FAILED", rows=0)),
    "L9": _one("Results appear under response only.", _get(state="SUCCEEDED", times=0, remove=["metadata.output"])),
    "L10": _one("Results appear under metadata.output only.", _get(state="SUCCEEDED", times=0, remove=["response"])),
    "L11": _one(
        "Polling a job fails with 429, 500, 503, 504, a reset and 404.",
        _get(error="quota"),
        _get(error="internal"),
        _get(error="overloaded"),
        _get(error="deadline"),
        _get(drop="reset"),
        _get(error="not_found"),
    ),
    "R0": Scenario("A download succeeds. Nothing is armed."),
    "R1": _one("Results are in a different order than the requests.", OutputFault(output="shuffle", times=0)),
    "R2": _one(
        "A result appears twice; another appears again with a different answer.",
        OutputFault(output="duplicate"),
        OutputFault(output="conflict"),
    ),
    "R3": _one("A result is missing.", OutputFault(output="drop")),
    "R4": _one("A result has lost its key, or its metadata.", OutputFault(output="no_key")),
    "R5": _one("There is a result for a key that was never sent.", OutputFault(output="foreign")),
    "R6": _one("A line of the results is truncated.", OutputFault(output="broken")),
    "R7": _one(
        "Results contain raw U+2028, U+2029 and U+0085; lines end in CRLF, the last one has no ending, some are blank.",
        OutputFault(output="separators", times=0),
        OutputFault(output="crlf", times=0),
        OutputFault(output="blank", rows=1, times=0),
        OutputFault(output="no_final_newline", times=0),
    ),
    "R8": _one("An answer contains an image of 8 MB.", RowFault(row="huge", megabytes=8)),
    "R9": _one(
        "A job with over 1 MB of inline answers cannot be read by callers with a timeout below 600 s, nor by those who "
        "ask for an hour; in lists it has no answers.",
        _get(error="overloaded", patience_below=600, **_OUTAGE),
        _get(error="deadline", patience_from=3600, **_OUTAGE),
        _list(times=0, state="SUCCEEDED", remove=_RESULTS),
    ),
    "R10": _one(
        "A download is cut, ends before its declared length, is refused, then succeeds.",
        _download(cut=100),
        _download(length=64),
        _download(error="overloaded"),
    ),
    "R11": Scenario("The id of an output file is too long to delete the file. Nothing is armed."),
    "R12": _one("The results no longer exist.", _download(error="no_file", times=0)),
    "R13": _one("A job created from a file has its answers inline.", _get(state="SUCCEEDED", times=0, inline=True)),
    "R14": Scenario(
        "Results are gone two days after the end of the job (without this: after six weeks).",
        quotas={"results_kept": 2 * 86_400.0},
    ),
    "G1": _one("A prompt is blocked.", RowFault(row="blocked")),
    "G2": _one("An answer ends with SAFETY, without content.", RowFault(row="finish", reason="SAFETY")),
    "G3": _one(
        "An answer ends with RECITATION; another has only citations.",
        RowFault(row="finish", reason="RECITATION"),
        RowFault(row="citations", reason="RECITATION"),
    ),
    "G4": _one(
        "Five rows with unusual text: no parts, truncated JSON, a thought first, empty text, a signature.",
        RowFault(row="cut_empty"),
        RowFault(row="cut_half", text='{"name": "half an ans'),
        RowFault(row="thought_first"),
        RowFault(row="empty_text"),
        RowFault(row="signed"),
    ),
    "G4a": _one("MAX_TOKENS before the first part.", RowFault(row="cut_empty")),
    "G4b": _one("MAX_TOKENS in the middle of a JSON value.", RowFault(row="cut_half", text='{"name": "half an ans')),
    "G4c": _one("The first part is a thought.", RowFault(row="thought_first")),
    "G4d": _one("STOP with an empty text.", RowFault(row="empty_text")),
    "G4e": _one("The text part has a signature.", RowFault(row="signed")),
    "G5": _one("Neither candidates nor feedback.", RowFault(row="no_candidates")),
    "G6": _one("JSON was requested; the answer does not parse.", RowFault(row="text", text='{"name": "Ada", "age": }')),
    "G7": _one(
        "JSON was requested; the answer is in a Markdown fence.",
        RowFault(row="text", text='```json\n{"name": "Ada"}\n```'),
    ),
    "G8": _one("JSON was requested; the answer does not match the schema.", RowFault(row="text", text=_SCHEMA_MISSED)),
    "G9": _one("One answer is an image, another is audio.", RowFault(row="image"), RowFault(row="sound")),
    "G10": _one(
        "Usage is missing from one row, and incomplete in another.",
        RowFault(row="no_usage"),
        RowFault(row="partial_usage"),
    ),
    "G11": _one(
        "An answer has an unknown finish reason.",
        RowFault(row="finish", reason="SOMETHING_NEW", text="An answer that ended in a new way."),
    ),
    "G12": _one("The only part is a function call.", RowFault(row="function_call")),
    "G13": _one(
        "Rows fail: internal, quota, deadline, unavailable, invalid; one without a message.",
        RowFault(row="error", code=13),
        RowFault(row="error", code=8),
        RowFault(row="error", code=4),
        RowFault(row="error", code=14),
        RowFault(row="error", code=3),
        RowFault(row="error", code=13, message=""),
    ),
    "G14": _one(
        "Answers end with CONTINUATION, MODEL_ARMOR and PUP_LIMITED_DISABLED.",
        RowFault(row="finish", reason="CONTINUATION", text="The first part of a long answer"),
        RowFault(row="finish", reason="MODEL_ARMOR"),
        RowFault(row="finish", reason="PUP_LIMITED_DISABLED"),
    ),
    "X1": Scenario("A job that is cancelled before it starts ends CANCELLED. Nothing is armed."),
    "X2": _one("A cancellation comes too late: the job succeeds.", JobFault(job="SUCCEEDED", on_cancel=True, times=0)),
    "X3": _one(
        "A cancelled job ends CANCELLED, and its first row can be downloaded.",
        JobFault(job="CANCELLED", on_cancel=True, rows=1, keep=True, code=1, times=0),
    ),
    "X4": _one(
        "Cancelling a job that has ended is refused (without this, it is answered like any other).",
        _wire("batches.cancel", state="SUCCEEDED|FAILED|CANCELLED|EXPIRED", error="ended", times=0),
    ),
    "X5": _one(
        "A deleted job is no longer visible, but keeps running, costs money, and holds its quota.",
        JobFault(runs_on=True, times=0),
    ),
    "X6": _one(
        "A cancelled job shows CANCELLED and no answers; an hour later, it has succeeded after all.",
        JobFault(job="SUCCEEDED", on_cancel=True, hides=3600.0, times=0),
    ),
    "P1": Scenario("An empty list is an empty object. Nothing is armed."),
    "P2": _one("A job appears on two pages, as if another had been created in between.", _list(listing="twice")),
    "P3": _one("Lists omit every job; getting one finds it.", _list(listing="omit", times=0)),
    "P4": _one("Lists show no results.", _list(times=0, state="SUCCEEDED", remove=_RESULTS)),
    "K1": Scenario("Another key finds no job (404). Nothing is armed."),
    "E1": Scenario("Embeddings. Nothing is armed."),
    "E2": _one(
        "A vector is shorter than requested; another contains NaN.",
        RowFault(row="short_vector"),
        RowFault(row="nan_vector"),
    ),
    "E3": Scenario("A method that a model does not support is refused. Nothing is armed."),
    "E4": _one("All rows fail, and the job succeeds.", RowFault(row="error", code=13, times=0)),
    "S1": _one("responseJsonSchema is not followed: the answer is prose.", RowFault(row="schema_missed", times=0)),
    "M1": _one(
        "Models do not support batches.",
        _wire("models.get", times=0, set={"supportedGenerationMethods": ["generateContent", "countTokens"]}),
    ),
    "M1b": _one("Models are retired.", _wire("models.get|batches.create", error="retired", times=0)),
    "W1": Scenario("The end of a job is delivered to its webhooks. Nothing is armed."),
    "W2": _one("A webhook's event is delivered twice.", WebhookFault(webhook="twice")),
    "W3": _one("A webhook's event is never delivered.", WebhookFault(webhook="never")),
    "W4": _one("A webhook's event has a wrong signature, in every attempt.", WebhookFault(webhook="wrong_signature")),
    "W5": _one("A webhook's event is an hour late.", WebhookFault(webhook="late")),
    "W6": _one("A webhook's event has no signature.", WebhookFault(webhook="unsigned")),
    "W7": _one("A webhook's event was signed an hour ago.", WebhookFault(webhook="stale")),
    "W8": _one(
        "The event of a job's own webhook is signed with a JSON Web Token, as the guide says.",
        WebhookFault(webhook="token", times=0),
    ),
    **FLEX,
    **VERTEX,
}
