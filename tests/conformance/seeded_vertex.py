"""A pytest plugin for the half of google-genai's own suite that calls Vertex AI: as `seeded` for the other half.

The suite names objects, tables and jobs of one project. The account of whoever runs it is replaced by a token.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any
from unittest import mock

import httpx2
import pytest

from conformance import left_out, seeded
from conformance.seeded import pytest_configure, pytest_runtest_makereport, pytest_sessionfinish
from gemini_batch.emulator.vertex import names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["pytest_configure", "pytest_runtest_makereport", "pytest_sessionfinish"]

PROJECT, LOCATION = "964831358985", "us-central1"
HOST = f"https://{LOCATION}-aiplatform.googleapis.com"
_BUCKET, _FOLDER = "unified-genai-tests", "batches/input"
_DATA = "vertex-sdk-dev"
_DATASET = "unified_genai_tests_batches"
_ROW = {"request": {"contents": [{"role": "user", "parts": [{"text": "what is the number after 1?"}]}]}}
_EMBEDDING = {"request": {"content": {"parts": [{"text": "1"}]}}}
#: Jobs that have ended, and one that can be cancelled.
_ENDED, _WAITING = ("5798522612028014592", "7085929781874655232"), "6339625664542408704"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Expect what is left out to fail; the other half skips itself."""
    report, listed = config.stash[seeded._REPORT], left_out.listed(left_out.VERTEX)
    for item in items:
        name = item.nodeid.partition("[")[0].removeprefix("tests/")
        if name in listed and "[False-" not in item.nodeid:
            report.left_out.append(name)
            item.add_marker(pytest.mark.xfail(reason=listed[name].why, strict=True))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a service that holds everything."""
    folder = tmp_path_factory.mktemp("service")
    with seeded._serving(folder) as running, httpx2.Client(base_url=running.url) as http:
        running.emulator.cloud.objects.ensure_bucket(_BUCKET)
        for name, row in (("generate_content_requests", _ROW), ("embedding_requests", _EMBEDDING)):
            params = {"uploadType": "media", "name": f"{_FOLDER}/{name}.jsonl"}
            http.post(f"/upload/storage/v1/b/{_BUCKET}/o", params=params, content=json.dumps(row).encode())
        data = f"/bigquery/v2/projects/{_DATA}/datasets"
        http.post(data, json={"datasetReference": {"datasetId": _DATASET}})
        for name, row in (("generate_content_requests", _ROW), ("embedding_requests", _EMBEDDING)):
            table = {
                "tableReference": {"tableId": name},
                "schema": {"fields": [{"name": "request", "type": "JSON"}]},
            }
            http.post(f"{data}/{_DATASET}/tables", json=table)
            added = http.post(f"{data}/{_DATASET}/tables/{name}/insertAll", json={"rows": [{"json": row}]})
            assert added.json().keys() == {"kind"}, added.text
        for name in _ENDED:
            path = _create(http, name)
            while "endTime" not in http.get(path, headers=_TOKEN).json():
                pass
        running.emulator.batches.queue_delay = 3600
        _create(http, _WAITING)
    return folder


_TOKEN = {"Authorization": "Bearer of-nobody"}


def _create(http: httpx2.Client, name: str) -> str:
    """Make a job under a name of our choice, which nobody can at the service; its path."""
    body = {
        "displayName": "genai_seeded",
        "model": "publishers/google/models/gemini-2.5-flash",
        "inputConfig": {
            "instancesFormat": "jsonl",
            "gcsSource": {"uris": [f"gs://{_BUCKET}/{_FOLDER}/generate_content_requests.jsonl"]},
        },
        "outputConfig": {
            "predictionsFormat": "jsonl",
            "gcsDestination": {"outputUriPrefix": f"gs://{_BUCKET}/batches/output"},
        },
    }
    path = f"/v1/projects/{PROJECT}/locations/{LOCATION}/batchPredictionJobs"
    with mock.patch.object(names, "digits", return_value=name):
        made = http.post(path, json=body, headers=_TOKEN)
    assert made.json()["name"].endswith(f"/{name}"), made.text
    return f"{path}/{name}"


@pytest.fixture(autouse=True)
def seeded_service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A service that holds the suite's objects, and every client of this test talking to it, with a token."""
    import google.auth
    from google.genai import _api_client
    from google.oauth2.credentials import Credentials

    client = _api_client.BaseApiClient
    build = client._build_request
    folder = tmp_path_factory.mktemp("test") / "service"
    shutil.copytree(request.getfixturevalue("template"), folder)
    report = request.config.stash[seeded._REPORT]
    with seeded._serving(folder) as running:

        def redirected(*args: Any, **kwargs: Any) -> Any:
            made = build(*args, **kwargs)
            made.url = made.url.replace(HOST, running.url)
            assert made.url.startswith(running.url), f"{made.url} is not on this machine"
            return made

        def listen(operation: str, status: int) -> None:
            report.heard.add(request.node.nodeid)

        def account(*args: Any, **kwargs: Any) -> tuple[Credentials, str]:
            return Credentials(token="of-nobody"), PROJECT  # type: ignore[no-untyped-call]

        running.emulator.on_answer = listen
        with (
            mock.patch.object(client, "_build_request", redirected),
            mock.patch.object(google.auth, "default", account),
        ):
            yield
