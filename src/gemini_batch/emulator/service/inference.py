"""The synchronous methods of a model: generate, embed, count tokens; and the models themselves."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from gemini_batch.emulator.engine import lines
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.calls import Call, Reply
from gemini_batch.emulator.responders import builtin
from gemini_batch.emulator.state import models
from gemini_batch.errors import RowError

if TYPE_CHECKING:
    from gemini_batch.emulator.engine.engine import Engine
    from gemini_batch.emulator.state.clock import Clock
    from gemini_batch.emulator.state.models import Kind


class Inference:
    """Answers outside batches, by the same responder."""

    def __init__(self, clock: Clock, engine: Engine) -> None:
        self._clock = clock
        self._engine = engine

    def generate_content(self, call: Call) -> Reply:
        """One answer."""
        request = call.message("GenerateContentRequest")
        if refused := lines.clash(request):
            raise errors.invalid(refused)
        return Reply.json(self.answer(call, call.names["model"], "generate", "generateContent", request))

    def embed_content(self, call: Call) -> Reply:
        """One embedding."""
        request = call.message("EmbedContentRequest")
        return Reply.json(self.answer(call, call.names["model"], "embed", "embedContent", request))

    def batch_embed_contents(self, call: Call) -> Reply:
        """Up to 100 embeddings at once; not a job of the Batch API."""
        requests = call.message("BatchEmbedContentsRequest").get("requests") or []
        if not 0 < len(requests) <= 100:
            raise errors.invalid("* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\n")
        model = call.names["model"]
        found = [self.answer(call, model, "embed", "batchEmbedContents", request) for request in requests]
        return Reply.json({"embeddings": [one["embedding"] for one in found]})

    def count_tokens(self, call: Call) -> Reply:
        """The number of tokens of a prompt, as the emulator counts them: one for every four characters."""
        asked = call.message("CountTokensRequest")
        if "contents" in asked and "generateContentRequest" in asked:
            raise errors.invalid(
                "* CountTokensRequest: only one of contents and generate_content_request may be set.\n"
            )
        model = call.names["model"]
        kind: Kind = "embed" if models.kind_of(model) == "embedding" else "generate"
        self._serving(call, model, kind, "countTokens")
        request = asked.get("generateContentRequest") or {"contents": asked.get("contents")}
        count = builtin.prompt_tokens(request)
        details = [{"modality": "TEXT", "tokenCount": count}]
        return Reply.json({"totalTokens": count, "promptTokensDetails": details} if count else {})

    def get_model(self, call: Call) -> Reply:
        """One model."""
        return Reply.json(models.describe(call.names["model"], now=self._clock.now(), version=call.version))

    def list_models(self, call: Call) -> Reply:
        """All models, in pages."""
        size = call.number("pageSize", 50, most=1000)
        known = list(models.every(now=self._clock.now(), version=call.version))
        try:
            start = int(base64.urlsafe_b64decode(call.text("pageToken") or "MA=="))
        except ValueError:
            raise errors.invalid("The page token is not valid.") from None
        answer: dict[str, Any] = {"models": known[start : start + size]}
        if start + size < len(known):
            answer["nextPageToken"] = base64.urlsafe_b64encode(str(start + size).encode()).decode()
        return Reply.json(answer)

    def answer(self, call: Call, model: str, kind: Kind, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """The answer of a model to a request in canonical form.

        Raises :class:`errors.ApiFailure` for a request that the service refuses, and if there is no answer.
        """
        model = self._serving(call, model, kind, method)
        if refused := lines.refusal(kind, request, model=model, lenient=self._engine.lenient):
            raise errors.invalid(refused)
        try:
            return self._engine.responder(model, {"content": {}, **request} if kind == "embed" else request)
        except RowError as error:
            raise errors.of_row(error.code, error.message) from None

    def _serving(self, call: Call, model: str, kind: Kind, method: str) -> str:
        return models.serving(model, kind, now=self._clock.now(), version=call.version, method=method)
