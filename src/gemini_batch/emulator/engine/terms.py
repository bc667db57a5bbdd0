"""What differs for a job of Vertex AI between its creation and its end.

It waits for up to 72 hours and then runs for up to 24. What it has answered by its end is exported, whatever end that
is; so a job that is cancelled while it runs ends CANCELLED with those rows, where one of the Developer API ends
SUCCEEDED with errors in place of the rest.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gemini_batch.emulator.faults.armed import Outcome
from gemini_batch.emulator.state.clock import HOUR
from gemini_batch.emulator.state.entered import VERTEX
from gemini_batch.errors import RowError

if TYPE_CHECKING:
    from gemini_batch.emulator.engine.steps import Batch
    from gemini_batch.emulator.responders.builtin import Responder

#: How long a job waits at most, and how long it runs.
WAIT, RUN = 72 * HOUR, 24 * HOUR
#: The gRPC code of what was cancelled, and what is said of it.
_CANCELLED = (1, "The batch prediction job was cancelled.")
_ROLE = "Please use a valid role: user, model."


def outcome(batch: Batch) -> Outcome | None:
    """How a job ends if no fault says otherwise; None if that is decided by its rows and the time."""
    if batch["shape"] != VERTEX:
        return None
    if batch["cancelled"] is not None:
        kept = batch["state"] == "RUNNING" and batch["row"] > 0
        return Outcome("CANCELLED", batch["row"], keep=kept, on_cancel=True, error=_CANCELLED)
    if batch["error_code"] is not None:
        return Outcome("FAILED", 0, keep=False, on_cancel=False, error=(batch["error_code"], batch["error_message"]))
    return None


def expiry(batch: Batch, begun: int) -> int:
    """When a job that begins to run expires."""
    expires: int = begun + RUN if batch["shape"] == VERTEX else batch["expires"]
    return expires


def keeps(batch: Batch) -> bool:
    """Whether what an expired job has answered is kept."""
    kept: bool = batch["shape"] == VERTEX and batch["row"] > 0
    return kept


def success(batch: Batch) -> str:
    """The state of a job whose rows are all served: not a full success if a part of its input could not be read."""
    partial = batch["shape"] == VERTEX and json.loads(batch["vertex"]).get("partialFailures")
    return "PARTIALLY_SUCCEEDED" if partial else "SUCCEEDED"


def answering(batch: Batch, respond: Responder, *, lenient: bool) -> Responder:
    """A responder that answers what this platform accepts: Vertex AI wants every content to say whose it is.

    ``lenient``: a content without a role is accepted, too.
    """
    if batch["shape"] != VERTEX or batch["kind"] != "generate" or lenient:
        return respond

    def answer(model: str, request: dict[str, Any]) -> dict[str, Any]:
        if any(content.get("role") not in ("user", "model") for content in request.get("contents") or ()):
            raise RowError(3, _ROLE)
        return respond(model, request)

    return answer
