"""The whole life of jobs and files through Google's JavaScript SDK, for each version of the API that it can be told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance import environments, page

if TYPE_CHECKING:
    from gemini_batch.testing import GeminiEmulator

PACKAGE = "@google/genai"
VERSION = "3.1.0"

pytestmark = [
    pytest.mark.js,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not installed"),
]


@pytest.fixture(scope="module")
def home() -> Path:
    """A folder with the SDK and the script, which finds packages beside itself only."""
    folder = environments.node("google-genai-js", f"{PACKAGE}@{VERSION}")
    shutil.copy(Path(__file__).with_name("life.mjs"), folder)
    return folder


@pytest.fixture(params=["", "v1beta"], ids=["as-is", "v1beta"])
def seen(request: pytest.FixtureRequest, home: Path, gemini_emulator: GeminiEmulator, tmp_path: Path) -> dict[str, Any]:
    """What the script saw. Jobs begin an hour after they are made; the script moves the clock."""
    gemini_emulator.pace(queue_delay=3600)
    environment = {
        **os.environ,
        "GOOGLE_GEMINI_BASE_URL": gemini_emulator.url,
        "GEMINI_API_KEY": "a-key",
        "WITH_VERSION": request.param,
    }
    done = subprocess.run(
        ["node", home / "life.mjs", tmp_path, gemini_emulator.url],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_whole_life(seen: dict[str, Any]) -> None:
    """Every step saw what the service would have shown."""
    assert seen["nothing"] == [[], []]

    file, job, ended = seen["file"], seen["created"], seen["ended"]
    assert (file["displayName"], file["mimeType"], file["state"], file["source"]) == (
        "in",
        "application/jsonl",
        "ACTIVE",
        "UPLOADED",
    )
    assert int(file["sizeBytes"]) > 9 << 20
    assert seen["fileAgain"] == seen["fileByUri"] == file
    assert (job["state"], job["displayName"], job["model"]) == (
        "JOB_STATE_PENDING",
        "nightly",
        "models/gemini-3.8-flash",
    )
    assert ended["state"] == "JOB_STATE_SUCCEEDED"
    assert job["createTime"] == ended["createTime"] < ended["endTime"] <= ended["updateTime"]
    assert ended["dest"] == {"fileName": "files/batch-" + job["name"].removeprefix("batches/")}
    assert [row["key"] for row in seen["rows"]] == ["1", "long"]
    status, message = seen["outputFile"]
    assert status == 400
    assert "cannot be more than 40 characters" in message

    first, second = seen["inline"]["dest"]["inlinedResponses"]
    assert [first["metadata"], second["metadata"]] == [{"key": "1"}, {"key": "2"}]
    parts = first["response"]["candidates"][0]["content"]["parts"]
    assert isinstance(json.loads("".join(part["text"] for part in parts if not part.get("thought")))["a"], int)
    assert second["error"]["code"] == 3

    vectors = [
        one["response"]["embedding"]["values"] for one in seen["embedded"]["dest"]["inlinedEmbedContentResponses"]
    ]
    assert [len(one) for one in vectors] == [8, 8]
    (row,) = seen["embeddedRows"]
    assert row["response"]["embedding"]["values"] == pytest.approx(vectors[0])

    assert [sorted(names) for names in seen["lists"]] == [sorted(seen["made"])] * 3
    assert len(seen["files"]) == len(set(seen["files"])) == 2
    assert seen["cancelled"]["state"] == "JOB_STATE_CANCELLED"

    assert len(seen["chunks"]) > 1
    assert "".join(seen["chunks"]) == seen["whole"]
    assert seen["cached"]["cachedContentTokenCount"] == 5000
    assert len(seen["caches"]) == 1
    status, message = seen["deletedCache"]
    assert status == 403
    assert "CachedContent not found" in message


def test_refusals(seen: dict[str, Any]) -> None:
    """The errors that users meet most, as the SDK tells them."""
    refused = {name: seen[name] for name in ("deletedJob", "deletedFile", "badLine", "badModel", "badType")}
    assert {name: status for name, (status, _) in refused.items()} == {
        "deletedJob": 404,
        "deletedFile": 403,
        "badLine": 400,
        "badModel": 404,
        "badType": 400,
    }
    assert "Error on line 2:" in refused["badLine"][1]
    assert "models/gemini-0 is not found" in refused["badModel"][1]
    assert "Unsupported MIME type: bad/mime_type" in refused["badType"][1]


def test_the_page_names_this_version() -> None:
    assert [PACKAGE, VERSION] in [[row[0].strip("`"), row[1]] for row in page.table("Life cycles")]
