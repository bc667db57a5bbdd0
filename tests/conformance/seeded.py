"""A pytest plugin for google-genai's own suite: every test finds an emulator of its own that holds what it expects.

The suite was recorded against one project of the real service. It names jobs and files of that project, wants media
beside it that the wheel does not carry, and its test client knows only the real hosts. So each test gets a fresh
service with those names in it (some delete or cancel theirs), and requests are turned to it as late as possible: the
URL is changed when the client has built the whole request.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import httpx2
import pytest

from conformance import left_out
from gemini_batch.emulator.http.server import serve
from gemini_batch.emulator.responders.media import png
from gemini_batch.emulator.service import batches, cached_contents

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from gemini_batch.emulator.http.server import Running

KEY = "a-key-of-nobody"
#: The hosts that the suite calls; the last, of the other platform, by mistake: it expects 404.
HOSTS = (
    "https://generativelanguage.googleapis.com",
    "https://autopush-generativelanguage.sandbox.googleapis.com",
    "https://us-central1-aiplatform.googleapis.com",
)
#: The day on which the seeded service stands: nothing that the suite names was over by then, no model and no date.
TODAY = 1_765_792_800_000_000_000  # 2025-12-15T10:00:00Z
#: Where the report of the run goes: the environment variable that names a file.
REPORT = "CONFORMANCE_REPORT"
_BEGAN = time.time_ns()

_MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0\0\0\x08free"
_JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xd9"
_WAV = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\xc0\x5d\0\0\x80\xbb\0\0\2\0\x10\0data\0\0\0\0"
_PICTURES = ("a-man-and-a-dog", "bridge1", "checkerboard", "google", "google_homepage")
_PHOTOGRAPHS = ("dog", "google", "man", "segmentation_scribble", "skateboard_stop_sign")
#: The files that the suite reads from its own ``data`` folder.
MEDIA = {
    **{f"{name}.png": png(number) for number, name in enumerate(_PICTURES)},
    **dict.fromkeys((f"{name}.jpg" for name in _PHOTOGRAPHS), _JPEG),
    "story.pdf": b"%PDF-1.4\n%%EOF\n",
    "story.txt": b"Once upon a time.\n",
    "animal.mp4": _MP4,
    "pixel.m4a": _MP4.replace(b"mp42", b"M4A "),
    "voice_sample.wav": _WAV,
}

_GENERATE: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "what is the number after 1?"}]}]}
_EMBED: dict[str, Any] = {"content": {"parts": [{"text": "1"}]}, "outputDimensionality": 64}
#: Uploaded files: id, type, bytes.
FILES: tuple[tuple[str, str, bytes], ...] = (
    ("s0pa54alni6w", "application/jsonl", json.dumps({"key": "1", "request": _GENERATE}).encode()),
    ("mq9e3mg3u2y5", "application/jsonl", json.dumps({"key": "1", "request": _EMBED}).encode()),
    ("kje1wewvo85z", "image/jpeg", _JPEG),
    ("tyvaih24jwje", "video/mp4", _MP4),
    ("1g583ke2xdsn", "text/plain", b"for files.delete"),
    ("n1gls7dyh90q", "text/plain", b"for the asynchronous one"),
    ("vjvu9fwk2qj8", "text/plain", b"for files.get"),
    ("864z7ft4m14h", "image/png", png(2)),
    ("22xab9a8jp0v", "image/jpeg", _JPEG),
    ("9tnpjy0re13a", "application/pdf", b"%PDF-1.4\n%%EOF\n"),
    ("i2ojhd8z99uk", "video/mp4", _MP4),
    ("fq9r5ftyqrho", "video/mp4", _MP4),
    ("0o9iyit198g1", "audio/mp4", _MP4.replace(b"mp42", b"M4A ")),
    ("8q6j6weg80ey", "image/png", png(3)),
    ("v200dhvn15h7", "application/pdf", b"%PDF-1.4\n%%EOF\n"),
)
#: A video, as a video model would have left it: the only files that are listed and can be downloaded.
VIDEO = ("k2xq8w0v5m1a", "video/mp4", _MP4)
_INLINE = {"requests": {"requests": [{"request": _GENERATE}]}}
#: Jobs: id, model, input.
_FINISHED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("z2p8ksus4lyxt25rntl3fpd67p2niw4hfij5", "gemini-2.5-flash", _INLINE),
    ("70h2jo0ic2t1zejyl0p4jgi8mk1gj0wvjusv", "gemini-2.5-flash", {"fileName": "files/s0pa54alni6w"}),
    ("wdx71o8cgbzoa6gg3be1mg7g8ulrhapcjgo3", "gemini-embedding-001", {"requests": {"requests": [{"request": _EMBED}]}}),
    ("507oatd242het8ox60pwsmn7tcmtkrj8itff", "gemini-embedding-001", {"fileName": "files/mq9e3mg3u2y5"}),
)
#: Caches that are not over, by their ids.
_CACHES = ("o239k1gxzz0juy9wqstndhncr85krehehf551hqh", "idv6zldt3p2f1lbm31vn41tx2ld42qngpcnka2s3")
_WAITING = ("0yew7plxupyybd7appsrq5vw7w0lp3l79lab", "gemini-2.5-flash", _INLINE)


@dataclass
class Report:
    """What became of every test: ``passed``, ``failed``, ``left out``, ``skipped: why``."""

    outcomes: dict[str, str] = field(default_factory=dict)
    #: What was left out, by the names in the list.
    left_out: list[str] = field(default_factory=list)
    #: Tests of which the service heard.
    heard: set[str] = field(default_factory=set)


_REPORT = pytest.StashKey[Report]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORT] = Report()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Expect what is left out to fail, so that the list stays true; variants for the other platform skip themselves."""
    report, listed = config.stash[_REPORT], left_out.listed()
    for item in items:
        name = item.nodeid.partition("[")[0].removeprefix("tests/")
        if name in listed and "[True-" not in item.nodeid:
            report.left_out.append(name)
            item.add_marker(pytest.mark.xfail(reason=listed[name].why, strict=listed[name].always))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Whole files that cannot even be read are left out as such."""
    name = "/".join(collection_path.parts[-2:])
    if name not in left_out.listed():
        return None
    config.stash[_REPORT].left_out.append(name)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    outcomes = item.config.stash[_REPORT].outcomes
    if hasattr(report, "wasxfail"):
        outcomes[item.nodeid] = "left out"
    elif report.skipped:
        assert isinstance(report.longrepr, tuple)
        outcomes[item.nodeid] = f"skipped: {report.longrepr[2].removeprefix('Skipped: ')}"
    elif report.failed:
        outcomes[item.nodeid] = "failed"
    else:
        outcomes.setdefault(item.nodeid, "passed")
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    report = asdict(session.config.stash[_REPORT])
    Path(os.environ[REPORT]).write_text(json.dumps(report, default=sorted))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a service that holds everything."""
    folder = tmp_path_factory.mktemp("service")
    with _serving(folder) as running, httpx2.Client(base_url=running.url, headers={"x-goog-api-key": KEY}) as http:
        for name, mime_type, data in (*FILES, VIDEO):
            _upload(http, name, mime_type, data)
        with running.emulator.store.transaction() as db:
            db.execute("UPDATE files SET source = 'GENERATED' WHERE id = ?", (VIDEO[0],))
        for name, model, source in _FINISHED:
            _create(http, name, model, source)
        while not all(http.get(f"/v1beta/batches/{name}").json().get("done") for name, _, _ in _FINISHED):
            pass
        for name in _CACHES:
            _cache(http, name)
        running.emulator.batches.queue_delay = 3600
        _create(http, *_WAITING)
    return folder


@pytest.fixture(autouse=True)
def seeded_service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A service that holds the suite's objects, and every client of this test talking to it."""
    if "use_vertex" in request.fixturenames and request.getfixturevalue("use_vertex"):
        yield  # the suite itself skips what is meant for the other platform
        return
    from google.genai import _api_client

    client = _api_client.BaseApiClient
    build = client._build_request
    folder = tmp_path_factory.mktemp("test") / "service"
    shutil.copytree(request.getfixturevalue("template"), folder)
    report = request.config.stash[_REPORT]
    with _serving(folder) as running:

        def redirected(*args: Any, **kwargs: Any) -> Any:
            made = build(*args, **kwargs)
            for host in HOSTS:
                made.url = made.url.replace(host, running.url)
            assert made.url.startswith(running.url), f"{made.url} is not on this machine"
            return made

        def listen(operation: str, status: int) -> None:
            report.heard.add(request.node.nodeid)

        running.emulator.on_answer = listen
        with mock.patch.object(client, "_build_request", redirected):
            yield


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[Running]:
    with serve(folder) as running:
        running.emulator.clock._base = lambda: TODAY + time.time_ns() - _BEGAN
        yield running


def _upload(http: httpx2.Client, name: str, mime_type: str, data: bytes) -> None:
    headers = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    body = {"file": {"name": f"files/{name}", "mimeType": mime_type}}
    url = http.post("/upload/v1beta/files", headers=headers, json=body).headers["X-Goog-Upload-URL"]
    headers = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0"}
    assert http.post(url, headers=headers, content=data).json()["file"]["name"] == f"files/{name}"


def _create(http: httpx2.Client, name: str, model: str, source: dict[str, Any]) -> None:
    """Make a job under a name of our choice, which nobody can at the service."""
    method = "asyncBatchEmbedContent" if "embedding" in model else "batchGenerateContent"
    with mock.patch.object(batches, "new_id", return_value=name):
        made = http.post(f"/v1beta/models/{model}:{method}", json={"batch": {"inputConfig": source}})
    assert made.json()["name"] == f"batches/{name}", made.text


def _cache(http: httpx2.Client, name: str) -> None:
    """Make a cache under a name of our choice, likewise."""
    contents = [{"role": "user", "parts": [{"text": "A long text. " * 2000}]}]
    body = {"model": "models/gemini-2.5-flash", "contents": contents, "ttl": "86400s"}
    with mock.patch.object(cached_contents, "new_id", return_value=name):
        made = http.post("/v1beta/cachedContents", json=body)
    assert made.json()["name"] == f"cachedContents/{name}", made.text
