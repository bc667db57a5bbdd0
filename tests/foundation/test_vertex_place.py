"""Project, location and bucket of Vertex AI: from flags before the environment, and never guessed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch.errors import UsageError
from gemini_batch.settings import load_settings
from gemini_batch.vertex_place import how_to_reach, is_vertex, read_place, same_job

if TYPE_CHECKING:
    from pathlib import Path

ENV = {"GOOGLE_CLOUD_PROJECT": "my-project"}


@pytest.mark.parametrize(
    ("env", "flags", "address", "bucket"),
    [
        ({}, {}, "https://aiplatform.googleapis.com/projects/my-project/locations/global", None),
        (
            {"GOOGLE_CLOUD_LOCATION": "europe-west4", "GEMINI_BATCH_BUCKET": "gs://b-1"},
            {},
            "https://europe-west4-aiplatform.googleapis.com/projects/my-project/locations/europe-west4",
            "gs://b-1/gemini-batch",
        ),
        (
            {"GOOGLE_CLOUD_LOCATION": "us-east1", "GEMINI_BATCH_BUCKET": "gs://b-1"},
            {"project": "other", "location": "us-west1", "bucket": "gs://b-2/in/here/"},
            "https://us-west1-aiplatform.googleapis.com/projects/other/locations/us-west1",
            "gs://b-2/in/here",
        ),
        (
            {"GOOGLE_VERTEX_BASE_URL": "http://127.0.0.1:8787/"},
            {},
            "http://127.0.0.1:8787/projects/my-project/locations/global",
            None,
        ),
    ],
)
def test_where_it_takes_place(env: dict[str, str], flags: dict[str, Any], address: str, bucket: str | None) -> None:
    place = read_place({**ENV, **env}, "vertex", **flags)
    assert place is not None
    assert (place.address, place.bucket) == (address, bucket)
    assert is_vertex(place.address)


@pytest.mark.parametrize(
    ("env", "flags", "field"),
    [
        ({"GOOGLE_CLOUD_PROJECT": ""}, {}, "--project"),
        ({}, {"project": "My Project"}, "--project"),
        ({}, {"project": "p/../q"}, "--project"),
        ({}, {"location": "eu/west"}, "--location"),
        ({}, {"location": "evil.example#"}, "--location"),
        ({}, {"bucket": "b-1"}, "--bucket"),
        ({}, {"bucket": "gs://b-1/../other"}, "--bucket"),
        ({}, {"bucket": "s3://b-1"}, "--bucket"),
        ({"GOOGLE_VERTEX_BASE_URL": "http://proxy.example"}, {}, None),
        ({"STORAGE_EMULATOR_HOST": "storage.example:80"}, {}, None),
        ({"STORAGE_EMULATOR_HOST": "https://user:word@storage.example"}, {}, None),
        ({"GEMINI_BATCH_BACKEND": "azure"}, {"backend": None}, "--backend"),
        ({}, {"backend": None, "project": "p-1"}, "--backend"),
        ({}, {"free": True}, "--backend"),
    ],
)
def test_what_cannot_be_meant(env: dict[str, str], flags: dict[str, Any], field: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        read_place({**ENV, **env}, **{"backend": "vertex", **flags})
    assert caught.value.field == field
    assert caught.value.next


@pytest.mark.parametrize("name", ["GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE"])
def test_where_both_are_set_up_nothing_is_guessed(tmp_path: Path, name: str) -> None:
    env = {**ENV, name: "True", "GEMINI_API_KEY": "k-123"}
    with pytest.raises(UsageError) as caught:
        load_settings(env, tmp_path)
    assert caught.value.reason_code == "which_backend"
    assert load_settings(env, tmp_path, backend="gemini").vertex is None
    assert load_settings(env, tmp_path, backend="vertex").vertex is not None
    assert load_settings({**env, "GEMINI_BATCH_BACKEND": "vertex"}, tmp_path).vertex is not None
    assert load_settings(env, tmp_path, offline=True).vertex is None


def test_a_file_in_the_folder_names_no_project(tmp_path: Path) -> None:
    """It says who pays, and where data goes."""
    lines = ["GEMINI_BATCH_BACKEND=vertex", "GOOGLE_CLOUD_PROJECT=theirs", "GEMINI_BATCH_BUCKET=gs://theirs"]
    (tmp_path / ".env").write_text("\n".join(lines) + "\n")
    assert load_settings({}, tmp_path).vertex is None
    found = load_settings(ENV, tmp_path, backend="vertex").vertex
    assert found is not None
    assert (found.project, found.bucket) == ("my-project", None)


def test_without_a_bucket_nothing_can_be_uploaded() -> None:
    place = read_place(ENV, "vertex")
    assert place is not None
    with pytest.raises(UsageError) as caught:
        place.bucket_and_folder()
    assert caught.value.reason_code == "no_bucket"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (
            "https://us-east1-aiplatform.googleapis.com/projects/p-1/locations/us-east1",
            "export GEMINI_BATCH_BACKEND=vertex GOOGLE_CLOUD_PROJECT=p-1 GOOGLE_CLOUD_LOCATION=us-east1",
        ),
        (
            "http://h/projects/p/locations/l",
            "export GEMINI_BATCH_BACKEND=vertex GOOGLE_CLOUD_PROJECT=p GOOGLE_CLOUD_LOCATION=l GOOGLE_VERTEX_BASE_URL=http://h",
        ),
        ("https://gw.example", "export GEMINI_BATCH_BACKEND=gemini GOOGLE_GEMINI_BASE_URL=https://gw.example"),
    ],
)
def test_how_an_address_is_reached(address: str, words: str) -> None:
    assert how_to_reach(address, vertex=True) == words
    assert how_to_reach("https://gw.example", vertex=False) == "export GOOGLE_GEMINI_BASE_URL=https://gw.example"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("projects/p/locations/l/batchPredictionJobs/1", "projects/123/locations/l/batchPredictionJobs/1", True),
        ("projects/p/locations/l/batchPredictionJobs/1", "projects/p/locations/l/batchPredictionJobs/1", True),
        ("projects/p/locations/l/batchPredictionJobs/1", "projects/q/locations/l/batchPredictionJobs/1", False),
        ("projects/1/locations/l/batchPredictionJobs/1", "projects/2/locations/l/batchPredictionJobs/1", False),
        ("projects/p/locations/l/batchPredictionJobs/1", "projects/123/locations/m/batchPredictionJobs/1", False),
        ("projects/p/locations/l/batchPredictionJobs/1", "projects/123/locations/l/batchPredictionJobs/2", False),
        ("batches/a", "batches/a", False),
    ],
)
def test_two_names_of_one_job(one: str, other: str, same: bool) -> None:
    assert same_job(one, other) is same_job(other, one) is same
