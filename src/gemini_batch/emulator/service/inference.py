"""The synchronous methods of a model: generate, embed, count tokens; and the models themselves."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch.emulator.engine import lines
from gemini_batch.emulator.faults import rows
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.calls import Call, Reply
from gemini_batch.emulator.messages.streams import Stream, chunks, wants_events
from gemini_batch.emulator.responders import builtin
from gemini_batch.emulator.state import calls, models
from gemini_batch.emulator.state.attachments import Attachments, MissingFile
from gemini_batch.emulator.state.caches import CachedPrompts
from gemini_batch.errors import RowError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.emulator.engine.engine import Engine
    from gemini_batch.emulator.state.clock import Clock
    from gemini_batch.emulator.state.models import Kind

#: The header that names the tier by which a call was served. Clients look it up in this spelling.
TIER_HEADER = "x-gemini-service-tier"


class Made(NamedTuple):
    """An answer, and the tier that served it."""

    response: dict[str, Any]
    tier: calls.Tier


class Inference:
    """Answers outside batches, by the same responder."""

    def __init__(self, clock: Clock, engine: Engine) -> None:
        self._clock = clock
        self._engine = engine

    def generate_content(self, call: Call) -> Reply:
        """One answer."""
        made = self._generated(call, "generateContent")
        return Reply.json(made.response, headers={TIER_HEADER: made.tier})

    def stream_generate_content(self, call: Call) -> Stream:
        """The same answer in chunks. It is complete before the first chunk is sent."""
        made = self._generated(call, "streamGenerateContent")
        return Stream(chunks(made.response), wants_events(call.query), headers={TIER_HEADER: made.tier})

    def embed_content(self, call: Call) -> Reply:
        """One embedding."""
        request = call.message("EmbedContentRequest")
        return Reply.json(self.answer(call, "embed", call.names["model"], "embedContent", request).response)

    def batch_embed_contents(self, call: Call) -> Reply:
        """Up to 100 embeddings at once; not a job of the Batch API."""
        requests = call.message("BatchEmbedContentsRequest").get("requests") or []
        if not 0 < len(requests) <= 100:
            raise errors.invalid("* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\n")
        model = call.names["model"]
        found = self.answers(call, "embed", model, "batchEmbedContents", requests)
        return Reply.json({"embeddings": [one.response["embedding"] for one in found]})

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

    def _generated(self, call: Call, method: str) -> Made:
        request = call.message("GenerateContentRequest")
        return self.answer(call, "generate", call.names["model"], method, request)

    def answer(self, call: Call, kind: Kind, name: str, method: str, request: dict[str, Any]) -> Made:
        """Answer one request in canonical form as a row is answered, and count it.

        ``name`` is the model's. Raises :class:`errors.ApiFailure` for a request that the service refuses, and if there
        is no answer.
        """
        return self.answers(call, kind, name, method, [request])[0]

    def answers(self, call: Call, kind: Kind, name: str, method: str, requests: Sequence[dict[str, Any]]) -> list[Made]:
        """The same for several requests of one call: all are within the quotas, or none is answered."""
        model = self._serving(call, kind, name, method)
        self._engine.limits.call(
            call.owner,
            name,
            calls=len(requests),
            tokens=lambda: sum(lines.request_tokens(kind, one) for one in requests),
        )
        return [self._answer(call, kind, name, model, request) for request in requests]

    def _answer(self, call: Call, kind: Kind, name: str, model: str, request: dict[str, Any]) -> Made:
        if kind == "generate" and (refused := lines.clash(request)):
            raise errors.invalid(refused)
        engine, usage = self._engine, None
        tier = engine.faults.served(name, calls.asked_tier(request))
        prompts = CachedPrompts(engine.caches, call.owner)
        cached = prompts.answering(engine.responder, name, self._clock.now)
        met = engine.faults.answers(name) if engine.faults.row else None
        respond = lines.refusing(cached, kind, lenient=engine.lenient)
        if met:
            respond = rows.on_call(met, respond)
        try:
            Attachments(engine.files, call.owner).check(request)
            response = respond(model, request)
            usage = response.get("usageMetadata") or {}
        except RowError as error:
            raise _failure(error) from None
        finally:
            answered = calls.Answered(call.owner, name, model, tier, usage)
            calls.note(engine.store, answered, request, now=self._clock.seen())
        return Made(response, tier)


def _failure(error: RowError) -> errors.ApiFailure:
    """What would be a row's error, as the answer to a call."""
    if isinstance(error, MissingFile):
        return errors.no_file(error.file_id)
    return errors.of_row(error.code, error.message)


def _details(count: int) -> list[dict[str, Any]]:
    return [{"modality": "TEXT", "tokenCount": count}]
