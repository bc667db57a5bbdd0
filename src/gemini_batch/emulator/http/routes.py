"""The routes: which operation a method and a path name, and who does its work."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from gemini_batch.emulator.http.admin import Admin
from gemini_batch.emulator.messages.streams import STREAM
from gemini_batch.emulator.vertex.routes import routes

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.emulator.messages.calls import Call, Download, Receiver, Reply
    from gemini_batch.emulator.messages.streams import Stream
    from gemini_batch.emulator.service.core import Emulator

_MODEL, _TUNED = "/models/{model}", "/tunedModels/{tuned}"


#: Does what a call asks for; or, if its body is received as it arrives, gives what takes it.
Work: TypeAlias = "Callable[[Call], Reply | Stream | Download | Receiver]"


class Operation(NamedTuple):
    """``path`` follows the version, if it has one. ``method``: one, or several with ``|`` between them.

    ``work`` is None where bytes are streamed, which the application does itself.
    """

    method: str
    path: str
    name: str
    work: Work | None


def operations(world: Emulator) -> list[Operation]:
    """All operations; of two paths that match, the earlier one counts."""
    return [
        *_models(world),
        *_batches(world),
        *_files(world),
        *_caches(world),
        *_openai(world),
        *_admin(world),
        *_webhooks(world),
        *(Operation(*one) for one in routes(world.cloud)),
    ]


def _batches(world: Emulator) -> list[Operation]:
    batches = world.batches
    make = {
        "batchGenerateContent": lambda call: batches.create(call, "generate"),
        "asyncBatchEmbedContent": lambda call: batches.create(call, "embed"),
    }
    update = {
        "updateGenerateContentBatch": lambda call: batches.update(call, "generate"),
        "updateEmbedContentBatch": lambda call: batches.update(call, "embed"),
    }
    return [
        *(
            Operation("POST", f"{of}:{method}", "batches.create", work)
            for of in (_MODEL, _TUNED)
            for method, work in make.items()
        ),
        Operation("GET", "/batches", "batches.list", batches.list),
        Operation("POST", "/batches/{batch}:cancel", "batches.cancel", batches.cancel),
        *(
            Operation("PATCH", f"/batches/{{batch}}:{method}", "batches.update", work)
            for method, work in update.items()
        ),
        Operation("GET", "/batches/{batch}", "batches.get", batches.get),
        Operation("DELETE", "/batches/{batch}", "batches.delete", batches.delete),
    ]


def _files(world: Emulator) -> list[Operation]:
    files = world.files
    return [
        Operation("GET", "/files", "files.list", files.list),
        Operation("POST", "/files", "files.create", world.uploads.create),
        Operation("POST", "/files:register", "files.register", files.register),
        Operation("GET", "/files/{file}:download", "files.download", None),
        Operation("GET", "/files/{file}", "files.get", files.get),
        Operation("DELETE", "/files/{file}", "files.delete", files.delete),
        Operation("POST", "/upload/files", "files.upload", None),
        Operation("GET", "/download/files/{file}:download", "files.download", None),
    ]


def _models(world: Emulator) -> list[Operation]:
    answer = world.inference
    return [
        Operation("POST", f"{_MODEL}:generateContent", "models.generateContent", answer.generate_content),
        Operation("POST", f"{_MODEL}:streamGenerateContent", STREAM, answer.stream_generate_content),
        Operation("POST", f"{_MODEL}:embedContent", "models.embedContent", answer.embed_content),
        Operation("POST", f"{_MODEL}:batchEmbedContents", "models.batchEmbedContents", answer.batch_embed_contents),
        Operation("POST", f"{_MODEL}:countTokens", "models.countTokens", answer.count_tokens),
        Operation("GET", "/models", "models.list", answer.list_models),
        Operation("GET", _MODEL, "models.get", answer.get_model),
        Operation("GET", _TUNED, "models.get", answer.get_model),
        Operation("POST", f"{_TUNED}:generateContent", "models.generateContent", answer.generate_content),
        Operation("POST", f"{_TUNED}:streamGenerateContent", STREAM, answer.stream_generate_content),
    ]


def _caches(world: Emulator) -> list[Operation]:
    caches, one = world.cached_contents, "/cachedContents/{cache}"
    return [
        Operation("POST", "/cachedContents", "cachedContents.create", caches.create),
        Operation("GET", "/cachedContents", "cachedContents.list", caches.list),
        Operation("GET", one, "cachedContents.get", caches.get),
        Operation("PATCH", one, "cachedContents.update", caches.update),
        Operation("DELETE", one, "cachedContents.delete", caches.delete),
    ]


def _webhooks(world: Emulator) -> list[Operation]:
    webhooks = world.webhooks
    return [
        Operation("POST", "/webhooks", "webhooks.create", webhooks.create),
        Operation("GET", "/webhooks", "webhooks.list", webhooks.list),
        Operation("POST", "/webhooks/{webhook}:ping", "webhooks.ping", webhooks.ping),
        Operation("POST", "/webhooks/{webhook}:rotateSigningSecret", "webhooks.rotate", webhooks.rotate),
        Operation("GET", "/webhooks/{webhook}", "webhooks.get", webhooks.get),
        Operation("PATCH", "/webhooks/{webhook}", "webhooks.update", webhooks.update),
        Operation("DELETE", "/webhooks/{webhook}", "webhooks.delete", webhooks.delete),
        Operation("GET", "/.well-known/jwks.json", "webhooks.keys", webhooks.keys),
    ]


def _openai(world: Emulator) -> list[Operation]:
    openai = world.openai
    # OpenAI's clients put a whole id into a path, so ``batches/x`` may stand where others write ``x``.
    batches, models = ("/openai/batches/batches/{batch}", "/openai/batches/{batch}"), "/openai/models"
    return [
        Operation("POST", "/openai/chat/completions", "openai.chat", openai.chat),
        Operation("POST", "/openai/embeddings", "openai.embeddings", openai.embeddings),
        Operation("GET", models, "openai.models.list", openai.list_models),
        Operation("GET", f"{models}/models/{{model}}", "openai.models.get", openai.get_model),
        Operation("GET", f"{models}/{{model}}", "openai.models.get", openai.get_model),
        Operation("POST", "/openai/batches", "openai.batches.create", openai.create_batch),
        Operation("GET", "/openai/batches", "openai.batches.list", openai.list_batches),
        *(Operation("GET", batch, "openai.batches.get", openai.get_batch) for batch in batches),
        *(Operation("POST", f"{batch}/cancel", "openai.batches.cancel", openai.cancel_batch) for batch in batches),
    ]


def _admin(world: Emulator) -> list[Operation]:
    admin = Admin(world)
    return [
        Operation("GET", "/emulator/accounting", "emulator.accounting", admin.accounting),
        Operation("GET", "/emulator/clock", "emulator.clock", admin.clock),
        Operation("POST", "/emulator/clock", "emulator.clock", admin.clock),
        Operation("GET", "/emulator/faults", "emulator.faults", admin.faults),
        Operation("POST", "/emulator/faults", "emulator.faults", admin.arm),
        Operation("DELETE", "/emulator/faults", "emulator.faults", admin.clear),
        Operation("DELETE", "/emulator/faults/{fault}", "emulator.faults", admin.clear),
        Operation("GET", "/emulator/webhooks", "emulator.webhooks", admin.webhooks),
        Operation("GET", "/emulator/quotas", "emulator.quotas", admin.quotas),
        Operation("POST", "/emulator/quotas", "emulator.quotas", admin.limit),
        Operation("POST", "/emulator/buckets", "emulator.buckets", admin.add_bucket),
    ]
