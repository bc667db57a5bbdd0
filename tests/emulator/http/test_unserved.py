"""What the emulator does not serve is refused by name; what the service does not have either is a 404."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gemini_batch.emulator.http.routes import operations
from gemini_batch.emulator.http.unserved import unserved

if TYPE_CHECKING:
    import httpx2

    from emulator.conftest import Api

SCHEMA = Path(__file__).parents[4] / "shared" / "reference" / "generativelanguage.v1beta.openapi.json"

#: Methods of the service outside its published schema.
BEYOND = {
    ("POST", "/v1beta/models/veo-3.1-generate-preview:predictLongRunning"): "models.predictLongRunning",
    ("POST", "/v1/models/imagen-4.0-generate-001:predict"): "models.predict",
    ("POST", "/v1beta/models/aqa:generateAnswer"): "models.generateAnswer",
    ("GET", "/v1beta/models/veo-3.1-generate-preview/operations/abc"): "models.operations.get",
    ("GET", "/v1beta/operations/abc"): "operations.get",
    ("POST", "/v1beta/operations/abc:cancel"): "operations.cancel",
    ("POST", "/v1beta/interactions"): "interactions.create",
    ("GET", "/v1alpha/interactions/abc"): "interactions.get",
    ("POST", "/v1beta/interactions/abc/cancel"): "interactions.cancel",
    ("DELETE", "/v1beta/interactions/abc"): "interactions.delete",
    ("POST", "/upload/v1beta/fileSearchStores/abc:uploadToFileSearchStore"): "media.uploadToFileSearchStore",
    ("GET", "/v1beta/fileSearchStores/abc/upload/operations/xyz"): "fileSearchStores.upload.operations.get",
    ("POST", "/v1beta/corpora/abc:query"): "corpora.query",
    ("GET", "/v1beta/generatedFiles/abc"): "generatedFiles.get",
    ("POST", "/v1alpha/auth_tokens"): "auth_tokens.create",
    (
        "GET",
        "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
    ): "live.BidiGenerateContent",
    (
        "GET",
        "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContentConstrained",
    ): "live.BidiGenerateContentConstrained",
    ("POST", "/v1beta/tunedModels/abc:transferOwnership"): "tunedModels.transferOwnership",
    ("PATCH", "/v1beta/tunedModels/abc/permissions/xyz"): "tunedModels.permissions.patch",
    (
        "POST",
        "/v1beta1/projects/p/locations/l/publishers/google/models/gemini-3.8-flash:generateContent",
    ): "projects.locations.publishers.models.generateContent",
    ("GET", "/v1/projects/p/locations/l/operations/1"): "projects.locations.operations",
    ("POST", "/v1/projects/p/locations/l/tuningJobs"): "projects.locations.tuningJobs",
}

NOWHERE = [
    ("GET", "/"),
    ("GET", "/v1beta"),
    ("GET", "/v1beta/"),
    ("GET", "/v2/corpora"),
    ("GET", "/v1beta2/tunedModels"),
    ("GET", "/corpora"),
    ("PUT", "/v1beta/corpora/abc"),
    ("POST", "/v1beta/models/abc:unheardOf"),
    ("POST", "/v1beta/models/abc:predictMore"),
    ("POST", "/v1beta/models/abc/def:predict"),
    ("GET", "/v1beta/corpora/"),
    ("GET", "/v1beta/corpora/abc/def"),
    ("POST", "/v1beta/operations"),
    ("GET", "/v1beta/nothing"),
    ("PUT", "/v1beta/batches"),
    ("GET", "/ws/BidiGenerateContent"),
    ("GET", "/emulator/nothing"),
    ("GET", "/v1/projects/p/locations/l/nothing"),
    ("GET", "/v1beta/projects/p/locations/l/operations/1"),
    ("GET", "/storage/v1/nothing"),
]


def published() -> list[tuple[str, str, str]]:
    """Every method and path of the published schema, with made-up ids, and the operation's name."""
    if not SCHEMA.exists():
        return []
    return [
        (method.upper(), re.sub(r"\{\w+\}", "some-id", f"/v1beta{path}"), one["operationId"])
        for path, methods in json.loads(SCHEMA.read_bytes())["paths"].items()
        for method, one in methods.items()
        if isinstance(one, dict) and "operationId" in one
    ]


def is_served(api: Api, method: str, path: str) -> bool:
    rest = path.removeprefix("/v1beta")
    patterns = [one.path for one in operations(api.world) if one.method == method]
    return any(re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(pattern)), rest) for pattern in patterns)


def check_named(answer: httpx2.Response, name: str) -> None:
    assert answer.status_code == 501
    assert answer.json()["error"] == {
        "code": 501,
        "message": f"The emulator does not serve {name}.",
        "status": "UNIMPLEMENTED",
    }


@pytest.mark.skipif(not SCHEMA.exists(), reason="the published schema is not at hand")
def test_every_method_of_the_schema_is_served_or_named(world: Api) -> None:
    """None is said not to exist: where a served one answers 404, it is because of the made-up id."""
    served = 0
    for method, path, name in published():
        answer = world.http.request(method, path, json={} if method in ("POST", "PATCH") else None)
        if is_served(world, method, path):
            served += 1
            assert answer.status_code not in {405, 501}, (method, path, answer.text)
        else:
            check_named(answer, name)
    assert served >= 23


@pytest.mark.parametrize(("method", "path"), BEYOND)
def test_methods_beyond_the_schema(world: Api, method: str, path: str) -> None:
    check_named(world.http.request(method, path), BEYOND[method, path])


@pytest.mark.parametrize(("method", "path"), NOWHERE)
def test_what_is_nowhere(world: Api, method: str, path: str) -> None:
    answer = world.http.request(method, path)
    assert (answer.status_code, answer.json()["error"]["status"]) == (404, "NOT_FOUND")
    assert unserved(method, path) == ""


def test_a_large_body_hears_the_refusal(world: Api) -> None:
    """It is read to its end first."""
    answer = world.http.post("/upload/v1beta/fileSearchStores/abc:uploadToFileSearchStore", content=bytes(8 << 20))
    check_named(answer, "media.uploadToFileSearchStore")


def test_nothing_is_both(world: Api) -> None:
    """A name in the table is of no method that is served: the table would claim what is not true."""
    for one in operations(world.world):
        head, _, rest = one.path[1:].partition("/")
        path = re.sub(r"\{\w+\}", "some-id", f"/{head}/v1beta/{rest}" if head in ("upload", "download") else one.path)
        assert unserved(one.method, path if head in ("upload", "download") else f"/v1beta{path}") == "", one


@pytest.mark.parametrize(
    ("model", "method"),
    [
        ("veo-3.1-generate-preview", "batchGenerateContent"),
        ("gemini-embedding-001", "batchGenerateContent"),
        ("gemini-3.8-flash", "asyncBatchEmbedContent"),
    ],
)
def test_a_model_without_a_batch_method(world: Api, model: str, method: str) -> None:
    """The method is served; the model does not have it, and the service's own words say so."""
    answer = world.http.post(f"/v1beta/models/{model}:{method}", json={})
    assert answer.status_code == 404
    assert f"is not supported for {method}" in answer.json()["error"]["message"]
