"""Methods of the service that the emulator does not have: they are refused by name.

The names are those of the published schema; what the schema lacks has the name that Google's clients use. A path that
the service does not have either stays a 404.
"""

from __future__ import annotations

import re
from functools import cache

_PERMISSIONS = """
    POST /{}/*/permissions {}.permissions.create
    GET /{}/*/permissions {}.permissions.list
    GET /{}/*/permissions/* {}.permissions.get
    PATCH /{}/*/permissions/* {}.permissions.patch
    DELETE /{}/*/permissions/* {}.permissions.delete
"""

#: A method, a path after the version (``*``: one segment or a part of it), and the operation's name. The first counts.
_TABLE = (
    """
    POST /models/*:predict models.predict
    POST /models/*:predictLongRunning models.predictLongRunning
    POST /models/*:bidiGenerateContent models.bidiGenerateContent
    POST /models/*:generateAnswer models.generateAnswer
    POST /models/*:generateText models.generateText
    POST /models/*:generateMessage models.generateMessage
    POST /models/*:embedText models.embedText
    POST /models/*:batchEmbedText models.batchEmbedText
    POST /models/*:countTextTokens models.countTextTokens
    POST /models/*:countMessageTokens models.countMessageTokens
    GET /models/*/operations models.operations.list
    GET /models/*/operations/* models.operations.get
    POST /tunedModels tunedModels.create
    GET /tunedModels tunedModels.list
    PATCH /tunedModels/* tunedModels.patch
    DELETE /tunedModels/* tunedModels.delete
    POST /tunedModels/*:transferOwnership tunedModels.transferOwnership
    GET /tunedModels/*/operations tunedModels.operations.list
    GET /tunedModels/*/operations/* tunedModels.operations.get
    POST /dynamic/*:generateContent dynamic.generateContent
    POST /dynamic/*:streamGenerateContent dynamic.streamGenerateContent
    POST /fileSearchStores fileSearchStores.create
    GET /fileSearchStores fileSearchStores.list
    POST /fileSearchStores/*:importFile fileSearchStores.importFile
    POST /fileSearchStores/*:uploadToFileSearchStore media.uploadToFileSearchStore
    GET /fileSearchStores/* fileSearchStores.get
    DELETE /fileSearchStores/* fileSearchStores.delete
    GET /fileSearchStores/*/documents fileSearchStores.documents.list
    GET /fileSearchStores/*/documents/* fileSearchStores.documents.get
    DELETE /fileSearchStores/*/documents/* fileSearchStores.documents.delete
    GET /fileSearchStores/*/operations/* fileSearchStores.operations.get
    GET /fileSearchStores/*/upload/operations/* fileSearchStores.upload.operations.get
    POST /corpora corpora.create
    GET /corpora corpora.list
    GET /corpora/* corpora.get
    PATCH /corpora/* corpora.patch
    DELETE /corpora/* corpora.delete
    POST /corpora/*:query corpora.query
    GET /corpora/*/operations/* corpora.operations.get
    GET /generatedFiles generatedFiles.list
    GET /generatedFiles/* generatedFiles.get
    GET /generatedFiles/*/operations/* generatedFiles.operations.get
    POST /environments:create environments.create
    GET /environments:list environments.list
    GET /environments/*:get environments.get
    DELETE /environments/*:delete environments.delete
    POST /auth_tokens auth_tokens.create
    POST /interactions interactions.create
    GET /interactions/* interactions.get
    DELETE /interactions/* interactions.delete
    POST /interactions/*:cancel interactions.cancel
    POST /interactions/*/cancel interactions.cancel
    GET /operations operations.list
    GET /operations/* operations.get
    DELETE /operations/* operations.delete
    POST /operations/*:cancel operations.cancel
"""
    + _PERMISSIONS.replace("{}", "tunedModels")
    + _PERMISSIONS.replace("{}", "corpora")
)
_VERSION = re.compile(r"/(?:upload/|download/)?v1(?:alpha|beta)?(/.*)")
#: Of Vertex AI, by the collection of a project and location; its jobs are served.
_VERTEX = re.compile(
    r"/v1(?:beta1)?/projects/[^/]+/locations/[^/]+/"
    r"(?:publishers/[^/]+/(?P<published>models)|"
    r"(?P<own>cachedContents|datasets|endpoints|models|operations|ragCorpora|tuningJobs))(?:/[^/:]+)?(?::(?P<method>\w+))?"
)
_LIVE = re.compile(r"/ws/[\w.]*\.GenerativeService\.(BidiGenerateContent\w*)")


def unserved(method: str, path: str) -> str:
    """The name of the service's operation at ``path``; empty if the service has none that is known."""
    if live := _LIVE.fullmatch(path):
        return f"live.{live[1]}"
    if vertex := _VERTEX.fullmatch(path):
        collection = vertex["own"] or f"publishers.{vertex['published']}"
        return ".".join(filter(None, ("projects.locations", collection, vertex["method"])))
    versioned = _VERSION.fullmatch(path)
    if versioned is None:
        return ""
    rest = versioned[1]
    return next((name for one, pattern, name in _patterns() if one == method and pattern.fullmatch(rest)), "")


@cache
def _patterns() -> list[tuple[str, re.Pattern[str], str]]:
    rows = (row.split() for row in _TABLE.splitlines() if row.strip())
    return [(method, re.compile(re.escape(path).replace(r"\*", "[^/]+")), name) for method, path, name in rows]
