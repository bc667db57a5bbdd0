"""Whose answer it is: an answer that names, or describes, something else than was asked for is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from api.script import Endless, ask
from gemini_batch.api import batches, files, models
from gemini_batch.api.trouble import meaning
from gemini_batch.catalog import Method
from gemini_batch.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_batch.api.client import Client


def _create(client: Client) -> Awaitable[Any]:
    return batches.create(client, model="m-1", method=Method.GENERATE, display_name="d", file_name="files/f")


def _upload(client: Client) -> Awaitable[Any]:
    return files.send_upload(client, "/upload", lambda _at, length: b"x" * length, size=1)


#: Every operation whose answer describes something: the operation, and an answer to it that is right.
RIGHT: dict[str, tuple[Callable[[Client], Awaitable[Any]], dict[str, Any]]] = {
    "get a job": (lambda client: batches.get(client, "batches/b"), {"name": "batches/b"}),
    "get a job by its id": (lambda client: batches.get(client, "b"), {"name": "batches/b"}),
    "create": (_create, {"name": "batches/new"}),
    "get a file": (lambda client: files.get(client, "files/f"), {"name": "files/f"}),
    "get a model": (lambda client: models.get(client, "m-1"), {"name": "models/m-1"}),
    "get a tuned model": (lambda client: models.get(client, "tunedModels/m-1"), {"name": "tunedModels/m-1"}),
}
#: What no job, file or model is called, whatever was asked for.
NO_NAMES: tuple[Any, ...] = (
    None,
    "",
    5,
    [],
    "b",
    "files/x/y",
    "batches/",
    "batches/../x",
    "batches/a b",
    "batches/\x1b[2J",
    "BATCHES/B",
)


def answered(name: str, body: Any) -> Any:
    return ask(Endless(lambda _: httpx2.Response(200, json=body)), RIGHT[name][0])


@pytest.mark.parametrize("name", RIGHT)
def test_what_was_asked_for_is_the_answer(name: str) -> None:
    assert answered(name, RIGHT[name][1]).name == RIGHT[name][1]["name"]


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("stated", [*NO_NAMES, "batches/another" * 20], ids=lambda one: repr(one)[:20])
def test_another_name_or_none_is_no_answer(name: str, stated: Any) -> None:
    with pytest.raises(ServiceError, match="answered with") as caught:
        answered(name, {"name": stated})
    assert caught.value.reason_code == "unreadable_answer"
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500


@pytest.mark.parametrize("name", ["get a job", "get a file", "get a model"])
def test_the_same_kind_under_another_name_is_no_answer(name: str) -> None:
    with pytest.raises(ServiceError, match="answered with"):
        answered(name, {"name": RIGHT[name][1]["name"].replace("/", "/other-")})


@pytest.mark.parametrize("name", ["get a job", "create"])
def test_two_names_are_no_answer(name: str) -> None:
    """The name of a job stands in two places."""
    right = RIGHT[name][1]["name"]
    assert answered(name, {"metadata": {"name": right}}).name == right
    for body in (
        {"name": right, "metadata": {"name": "batches/x"}},
        {"name": "batches/x", "metadata": {"name": right}},
    ):
        with pytest.raises(ServiceError, match="answered with"):
            answered(name, body)


@pytest.mark.parametrize(
    ("metadata", "is_ours"),
    [
        ({}, True),
        ({"model": "models/m-1"}, True),
        ({"model": "models/m-1-001"}, True),  # a short name, and the version that it stands for
        ({"model": "models/other"}, False),
        ({"inputConfig": {"fileName": "files/f"}}, True),
        ({"inputConfig": {"fileName": "files/f"}, "model": "models/other"}, True),  # the file was used once
        ({"inputConfig": {"fileName": "files/g"}, "model": "models/m-1"}, False),
        ({"inputConfig": {"requests": {}}}, True),
    ],
)
def test_a_create_is_answered_with_the_job_that_was_sent(metadata: dict[str, Any], is_ours: bool) -> None:
    body = {"name": "batches/new", "metadata": metadata}
    if is_ours:
        assert answered("create", body).name == "batches/new"
        return
    with pytest.raises(ServiceError, match="names batches/new, which") as caught:
        answered("create", body)
    assert meaning(caught.value).may_have_worked  # so that it is searched for, and not just sent again


@pytest.mark.parametrize("stated", ["files/x/y", "files/", "x", "\x1b", 7])
def test_an_upload_that_is_described_under_no_name_is_asked_for(stated: Any) -> None:
    headers = {"x-goog-upload-status": "final"}
    answer = Endless(lambda _: httpx2.Response(200, json={"file": {"name": stated, "sizeBytes": "1"}}, headers=headers))
    assert ask(answer, _upload) is None


def test_an_alias_may_be_answered_with_what_it_stands_for() -> None:
    answer = Endless(lambda _: httpx2.Response(200, json={"name": "models/gemini-3.8-flash"}))
    assert ask(answer, lambda client: models.get(client, "gemini-flash-latest")).name == "models/gemini-3.8-flash"
