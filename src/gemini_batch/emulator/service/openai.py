"""The paths under ``/v1beta/openai``: the API as OpenAI's clients call it.

Every answer comes from the same responder, every batch from the same engine; only the messages differ. The service does
not serve files here: they are uploaded and downloaded with the Files API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.emulator.engine.openai_rows import ENDPOINT
from gemini_batch.emulator.messages import errors, openai_answers, openai_requests
from gemini_batch.emulator.messages.calls import Call, Reply
from gemini_batch.emulator.messages.protojson import BadBody, read_body
from gemini_batch.emulator.messages.streams import Stream
from gemini_batch.emulator.state import models
from gemini_batch.emulator.state.clock import SECOND

if TYPE_CHECKING:
    import sqlite3

    from gemini_batch.emulator.service.batches import Batches
    from gemini_batch.emulator.service.inference import Inference
    from gemini_batch.emulator.state.clock import Clock
    from gemini_batch.emulator.state.models import Kind

_STATUS = {
    "PENDING": "validating",
    "RUNNING": "in_progress",
    "SUCCEEDED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
}
_KINDS: dict[str, Kind] = {endpoint: kind for kind, endpoint in ENDPOINT.items()}


class OpenAI:
    """The operations of these paths."""

    def __init__(self, clock: Clock, inference: Inference, batches: Batches) -> None:
        self._clock = clock
        self._inference = inference
        self._batches = batches

    def chat(self, call: Call) -> Reply | Stream:
        """A chat completion, at once or as a stream of events."""
        asked = openai_requests.chat(_body(call), lenient=call.lenient)
        response, _ = self._inference.answer(call, "generate", asked.model, "generateContent", asked.request)
        created = self._clock.now() // SECOND
        if not asked.stream:
            return Reply.json(openai_answers.completion(response, model=asked.model, created=created))
        chunks = openai_answers.chunks(response, model=asked.model, created=created, include_usage=asked.include_usage)
        return Stream(list(chunks), events=True, last=b"[DONE]")

    def embeddings(self, call: Call) -> Reply:
        """The embeddings of one text or of several."""
        asked = openai_requests.embeddings(_body(call), lenient=call.lenient)
        made = self._inference.answers(call, "embed", asked.model, "embedContent", asked.requests)
        found = [one.response for one in made]
        return Reply.json(openai_answers.embeddings(found, model=asked.model, in_base64=asked.base64))

    def list_models(self, call: Call) -> Reply:
        """All models; there are no pages."""
        known = models.every(now=self._clock.now(), version=call.version)
        return Reply.json({"object": "list", "data": [_model(one) for one in known]})

    def get_model(self, call: Call) -> Reply:
        """One model."""
        name = call.names["model"].removeprefix("models/")
        return Reply.json(_model(models.describe(name, now=self._clock.now(), version=call.version)))

    def create_batch(self, call: Call) -> Reply:
        """A batch from an uploaded file of rows in OpenAI's shape; the model is the one that the rows name."""
        file, endpoint = openai_requests.batch(_body(call), lenient=call.lenient)
        return Reply.json(self._batch(self._batches.from_openai_rows(call, _KINDS[endpoint], file)))

    def get_batch(self, call: Call) -> Reply:
        """One batch, also one that was not created here."""
        return Reply.json(self._batch(self._batches.find(call.names["batch"], call.owner)))

    def list_batches(self, call: Call) -> Reply:
        """The project's batches, newest first; ``after`` is the id of the last batch of the page before."""
        size, after = call.number("limit", 20, most=100), call.text("after")
        before = self._batches.find(after.removeprefix("batches/"), call.owner)["seq"] if after else None
        rows = self._batches.page(call.owner, before, size + 1)
        data = [self._batch(row) for row in rows[:size]]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
        return Reply.json({"object": "list", "data": data, **ends, "has_more": len(rows) > size})

    def cancel_batch(self, call: Call) -> Reply:
        """Request cancellation; the answer is the batch."""
        self._batches.cancel(call)
        return self.get_batch(call)

    def _batch(self, row: sqlite3.Row) -> dict[str, Any]:
        native = self._batches.described(row)
        counts = {name: int(count) for name, count in native.get("batchStats", {}).items()}
        ended = row["ended"] // SECOND if row["ended"] is not None else None
        status = "cancelling" if ended is None and row["cancelled"] is not None else _STATUS[row["state"]]
        shown: dict[str, Any] = {
            "id": native["name"],
            "object": "batch",
            "endpoint": ENDPOINT[row["kind"]],
            "model": row["model"],
            "input_file_id": native.get("inputConfig", {}).get("fileName", ""),
            "completion_window": "24h",
            "status": status,
            "output_file_id": native.get("output", {}).get("responsesFile"),
            "created_at": row["created"] // SECOND,
            "expires_at": row["expires"] // SECOND,
            "cancelling_at": row["cancelled"] // SECOND if row["cancelled"] is not None else None,
            f"{_STATUS[row['state']]}_at": ended,
            "request_counts": {
                "total": row["total"],
                "completed": counts.get("successfulRequestCount", 0),
                "failed": counts.get("failedRequestCount", 0),
            },
        }
        if row["error_code"] is not None:
            problem = {"code": str(row["error_code"]), "message": row["error_message"] or ""}
            shown["errors"] = {"object": "list", "data": [problem]}
        return {name: value for name, value in shown.items() if value is not None}


def _body(call: Call) -> Any:
    try:
        return read_body(call.body)
    except BadBody as error:
        raise errors.invalid(f"Invalid JSON payload received. {error}") from None


def _model(described: dict[str, Any]) -> dict[str, Any]:
    name = described["name"]
    return {"id": name, "object": "model", "owned_by": "google", "display_name": described.get("displayName", name)}
