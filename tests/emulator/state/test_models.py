"""Models, and the methods that answer at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from emulator.conftest import EMBEDDER, MODEL, lines
from gemini_batch.catalog import load

if TYPE_CHECKING:
    from emulator.conftest import Api


def test_a_model_says_what_it_can_do(world: Api) -> None:
    """``supportedGenerationMethods`` tells whether it can be batched."""
    text = world.http.get(f"/v1beta/models/{MODEL}").json()
    assert text["name"] == f"models/{MODEL}"
    assert {"generateContent", "batchGenerateContent"} <= set(text["supportedGenerationMethods"])
    assert "asyncBatchEmbedContent" in world.http.get(f"/v1/models/{EMBEDDER}").json()["supportedGenerationMethods"]
    assert world.http.get("/v1/models/nope").status_code == 404


@pytest.mark.parametrize("name", ["gemma-4-31b-it", "gemini-3.5-transcribe"])
def test_a_model_without_a_batch_method(world: Api, name: str) -> None:
    """It exists and answers calls; a batch of it is refused for the method."""
    shown = world.http.get(f"/v1beta/models/{name}")
    assert shown.status_code == 200
    assert shown.json()["supportedGenerationMethods"] == ["generateContent", "countTokens"]
    body = {"contents": [{"parts": [{"text": "x"}]}]}
    assert world.http.post(f"/v1beta/models/{name}:generateContent", json=body).status_code == 200
    batch = {"batch": {"inputConfig": {"requests": {"requests": [{"request": body}]}}}}
    refused = world.http.post(f"/v1beta/models/{name}:batchGenerateContent", json=batch)
    assert refused.status_code == 404
    assert "not supported for batchGenerateContent" in refused.json()["error"]["message"]


@pytest.mark.parametrize("name", [name for name in load().models if name.startswith("gemini-4-")])
def test_the_fourth_generation(world: Api, name: str) -> None:
    """Each is there, with its limits."""
    shown = world.http.get(f"/v1beta/models/{name}").json()
    assert (shown["inputTokenLimit"], shown["outputTokenLimit"], shown["thinking"]) == (1_048_576, 65_536, True)
    assert "batchGenerateContent" in shown["supportedGenerationMethods"]


def test_the_list_has_pages(world: Api) -> None:
    """All models, each once."""
    names: list[str] = []
    token = ""
    while True:
        page = world.http.get("/v1/models", params={"pageSize": 7, "pageToken": token}).json()
        names += [model["name"] for model in page["models"]]
        if not (token := page.get("nextPageToken", "")):
            break
    assert f"models/{MODEL}" in names
    assert len(names) == len(set(names)) == len(world.http.get("/v1/models?pageSize=1000").json()["models"])


def test_a_retired_model_is_answered_by_its_successor(world: Api) -> None:
    """From its last day on, and its name in the answer says so."""
    body = {"contents": [{"parts": [{"text": "x"}]}]}
    url = "/v1beta/models/gemini-2.5-pro:generateContent"
    world.world.clock.advance(60 * 86400)  # past the end of 2026 whenever this runs
    assert world.http.post(url, json=body).json()["modelVersion"] != "gemini-2.5-pro@offline"
    name = world.http.post(
        "/v1/models/gemini-2.5-pro:batchGenerateContent",
        json={"batch": {"inputConfig": {"fileName": world.upload(lines(1))}}},
    ).json()["name"]
    assert world.get(name)["metadata"]["model"] == "models/gemini-2.5-pro"


def test_generating_at_once(world: Api) -> None:
    """The same answer as in a batch; a bad request is 400."""
    url = f"/v1beta/models/{MODEL}:generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": "Say something nice."}]}]}
    answer = world.http.post(url, json=body).json()
    assert answer == world.results(world.begin(lines(1)))[0]["response"]
    assert world.http.post(url, json={"contents": []}).status_code == 400
    assert world.http.post(url, json={"nonsense": 1}).status_code == 400
    assert world.http.post(url.replace(MODEL, EMBEDDER), json=body).status_code == 404


def test_embedding_at_once(world: Api) -> None:
    """One, or up to a hundred."""
    one = {"content": {"parts": [{"text": "hello"}]}, "outputDimensionality": 16}
    single = world.http.post(f"/v1/models/{EMBEDDER}:embedContent", json=one).json()
    both = world.http.post(f"/v1/models/{EMBEDDER}:batchEmbedContents", json={"requests": [one, one]}).json()
    assert both["embeddings"] == [single["embedding"]] * 2
    assert (
        world.http.post(f"/v1/models/{EMBEDDER}:batchEmbedContents", json={"requests": [one] * 101}).status_code == 400
    )


def test_counting_tokens(world: Api) -> None:
    """Of contents, or of a whole request; never of both."""
    url = f"/v1/models/{MODEL}:countTokens"
    contents = [{"parts": [{"text": "x" * 40}]}]
    assert world.http.post(url, json={"contents": contents}).json()["totalTokens"] == 10
    whole = {"contents": contents, "systemInstruction": {"parts": [{"text": "y" * 40}]}}
    assert world.http.post(url, json={"generateContentRequest": whole}).json()["totalTokens"] == 20
    assert world.http.post(url, json={"contents": contents, "generateContentRequest": whole}).status_code == 400


def test_tuned_models(world: Api) -> None:
    """They have a path of their own; any of them is there."""
    name = "tunedModels/my-own-1"
    assert world.http.get(f"/v1beta/{name}").json() == {"name": name, "displayName": "my-own-1", "state": "ACTIVE"}
    request = {"contents": [{"parts": [{"text": "x"}]}]}
    body = {"batch": {"inputConfig": {"requests": {"requests": [{"request": request}]}}}}
    made = world.http.post(f"/v1beta/{name}:batchGenerateContent", json=body).json()
    ended = world.finish(made["name"])
    assert ended["metadata"]["model"] == name
    (answer,) = ended["response"]["inlinedResponses"]["inlinedResponses"]
    assert answer["response"]["modelVersion"] == f"{name}@offline"
    said = world.http.post(f"/v1beta/{name}:generateContent", json=request).json()
    assert said["candidates"] == answer["response"]["candidates"]
