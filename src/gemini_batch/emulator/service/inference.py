"""The synchronous methods of a model: generate, embed, count tokens; and the models themselves."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from gemini_batch.emulator.engine import lines
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.calls import Call, Reply
from gemini_batch.emulator.messages.streams import Stream, chunks, wants_events
from gemini_batch.emulator.responders import builtin
from gemini_batch.emulator.state import models
from gemini_batch.emulator.state.accounting import note_call
from gemini_batch.emulator.state.attachments import Attachments, MissingFile
from gemini_batch.emulator.state.caches import CachedPrompts
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
        return Reply.json(self._generated(call, "generateContent"))

    def stream_generate_content(self, call: Call) -> Stream:
        """The same answer in chunks. It is complete before the first chunk is sent."""
        return Stream(chunks(self._generated(call, "streamGenerateContent")), wants_events(call.query))

    def embed_content(self, call: Call) -> Reply:
        """One embedding."""
        request = call.message("EmbedContentRequest")
        return Reply.json(self.answer(call, "embed", call.names["model"], "embedContent", request))

    def batch_embed_contents(self, call: Call) -> Reply:
        """Up to 100 embeddings at once; not a job of the Batch API."""
        requests = call.message("BatchEmbedContentsRequest").get("requests") or []
        if not 0 < len(requests) <= 100:
            raise errors.invalid("* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\n")
        model = call.names["model"]
        found = [self.answer(call, "embed", model, "batchEmbedContents", request) for request in requests]
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
        self._serving(call, kind, model, "countTokens")
        request = asked.get("generateContentRequest") or {"contents": asked.get("contents")}
        prompts = CachedPrompts(self._engine.caches, call.owner)
        try:
            prompts.check(model, request, at=self._clock.now())
        except RowError as error:
            raise _failure(error) from None
        counts = {"totalTokens": builtin.prompt_tokens(prompts.whole(request))}
        counts["cachedContentTokenCount"] = min(prompts.tokens(request), counts["totalTokens"])
        places = {"promptTokensDetails": "totalTokens", "cacheTokensDetails": "cachedContentTokenCount"}
        shown: dict[str, Any] = {name: count for name, count in counts.items() if count}
        shown |= {name: _details(counts[of]) for name, of in places.items() if counts[of]}
        return Reply.json(shown)

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

    def _serving(self, call: Call, kind: Kind, name: str, method: str) -> str:
        return models.serving(name, kind, now=self._clock.now(), version=call.version, method=method)

    def _generated(self, call: Call, method: str) -> dict[str, Any]:
        request = call.message("GenerateContentRequest")
        return self.answer(call, "generate", call.names["model"], method, request)

    def answer(self, call: Call, kind: Kind, name: str, method: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request in canonical form as a row is answered, and count it.

        ``name`` is the model's. Raises :class:`errors.ApiFailure` for a request that the service refuses, and if there
        is no answer.
        """
        model = self._serving(call, kind, name, method)
        if kind == "generate" and (refused := lines.clash(request)):
            raise errors.invalid(refused)
        engine, usage = self._engine, None
        prompts = CachedPrompts(engine.caches, call.owner)
        cached = prompts.answering(engine.responder, name, self._clock.now)
        respond = lines.refusing(cached, kind, lenient=engine.lenient)
        try:
            Attachments(engine.files, call.owner).check(request)
            response = respond(model, request)
            usage = response.get("usageMetadata") or {}
        except RowError as error:
            raise _failure(error) from None
        finally:
            note_call(engine.store, call.owner, name, usage)
        return response


def _failure(error: RowError) -> errors.ApiFailure:
    """What would be a row's error, as the answer to a call."""
    if isinstance(error, MissingFile):
        return errors.no_file(error.file_id)
    return errors.of_row(error.code, error.message)


def _details(count: int) -> list[dict[str, Any]]:
    return [{"modality": "TEXT", "tokenCount": count}]
