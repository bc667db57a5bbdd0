"""Vertex AI as the service of a run: names that say where objects are, and nothing that deletes what is not ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from api.script import BASE, Script, ask, error
from gemini_batch.api.vertex.service import VertexService
from gemini_batch.catalog import Method
from gemini_batch.vertex_place import VertexPlace, same_file
from gemini_batch.wire import Phase, RemoteJob, contradiction

if TYPE_CHECKING:
    from gemini_batch.api.client import Client

PLACE = VertexPlace(project="p-1", location="global", bucket="gs://new/folder", url=BASE, storage_url=BASE)
JOB = "projects/p-1/locations/global/batchPredictionJobs/1"
GONE = error(404, "NOT_FOUND")


def served(client: Client) -> VertexService:
    return VertexService(PLACE, client, client)


def shown(uri: str, **more: Any) -> httpx2.Response:
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return httpx2.Response(200, json={"bucket": bucket, "name": name, "size": "3", **more})


def paths(script: Script) -> list[str]:
    return [request.url.raw_path.decode().partition("?")[0] for request in script.requests]


def test_nothing_deletes_a_job_or_its_answers() -> None:
    """The service names the folder of the answers; what is below it may be anything."""
    assert not hasattr(VertexService, "delete")


def test_a_name_says_where_the_object_is() -> None:
    script = Script(shown("gs://old/x/gb-1.jsonl"), httpx2.Response(204))

    async def question(client: Client) -> tuple[str, str, str]:
        service = served(client)
        found = (await service.get_file("gs://old/x/gb-1.jsonl")).name
        await service.delete_file(found)
        return found, service.new_name("1", mime_type=None), service.new_name("2", mime_type="image/png")

    assert ask(script, question) == ("gs://old/x/gb-1.jsonl", "gs://new/folder/gb-1.jsonl", "gs://new/folder/gb-2")
    assert paths(script) == ["/storage/v1/b/old/o/x%2Fgb-1.jsonl"] * 2


def test_a_name_that_was_recorded_without_a_bucket() -> None:
    """Either request lines or an attachment, in the bucket that is named now."""
    script = Script(GONE, shown("gs://new/folder/gb-1"))
    found = ask(script, lambda client: served(client).get_file("files/gb-1"))
    assert found.name == "gs://new/folder/gb-1"
    assert paths(script) == [f"/storage/v1/b/new/o/folder%2Fgb-1{ending}" for ending in (".jsonl", "")]


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("gs://new/folder/gb-1.jsonl", True),
        ("files/gb-1", True),
        ("gs://new/folder2/gb-1.jsonl", False),
        ("gs://new/folder/deeper/gb-1.jsonl", False),
        ("gs://old/folder/gb-1.jsonl", False),
    ],
)
def test_what_is_kept_here(name: str, here: bool) -> None:
    async def question(client: Client) -> bool:
        return served(client).is_kept_here(name)

    assert ask(Script(), question) is here


def test_answers_are_asked_for_below_the_input() -> None:
    script = Script(shown("gs://new/folder/gb-1.jsonl"), httpx2.Response(200, json={"name": JOB}))
    ask(
        script,
        lambda client: served(client).create(
            model="m", method=Method.GENERATE, display_name="n", file_name="gs://new/folder/gb-1.jsonl"
        ),
    )
    body = json.loads(script.requests[1].content)
    assert body["inputConfig"]["gcsSource"] == {"uris": ["gs://new/folder/gb-1.jsonl"]}
    assert body["outputConfig"]["gcsDestination"] == {"outputUriPrefix": "gs://new/folder/gb-1"}


@pytest.mark.parametrize(
    ("stated", "recorded", "same"),
    [
        ("gs://b/f/gb-1.jsonl", "gs://b/f/gb-1.jsonl", True),
        ("gs://b/f/gb-1.jsonl", "files/gb-1", True),
        ("gs://b/f/xgb-1.jsonl", "files/gb-1", False),
        ("gs://c/f/gb-1.jsonl", "gs://b/f/gb-1.jsonl", False),
        ("files/gb-1", "files/gb-1", True),
        ("files/gb-2", "files/gb-1", False),
    ],
)
def test_the_input_of_a_job_is_recognised(stated: str, recorded: str, same: bool) -> None:
    job = RemoteJob(name=JOB, state="", phase=Phase.ALIVE, model="m", file_name=stated)
    assert same_file(stated, recorded) is same
    assert (contradiction(job, file=recorded, model="m") is None) is same
