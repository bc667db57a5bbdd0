"""Real processes: killed without warning, and several on one data folder."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx2
import pytest

from emulator.conftest import Api, lines
from gemini_batch.emulator.http.server import serve
from gemini_batch.emulator.service.uploads import GRANULARITY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = 20_000
SERVE = """
import sys
from pathlib import Path
from gemini_batch.emulator.service.uploads import GRANULARITY
from gemini_batch.emulator.http.server import run_forever
run_forever(Path(sys.argv[1]), rows_per_second=15_000)
"""


@contextlib.contextmanager
def process(data: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The standing server, as the command starts it; its first line is its URL."""
    path = os.pathsep.join(filter(None, ["src", os.environ.get("PYTHONPATH", "")]))
    started = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        assert started.stdout is not None
        yield started, started.stdout.readline().decode().strip()
    finally:
        started.kill()
        started.communicate()


def processed(http: httpx2.Client) -> int:
    count: int = http.get("/emulator/accounting").json()["totals"]["processed"]
    return count


def test_killed_without_warning(tmp_path: Path) -> None:
    """What was acknowledged is there afterwards, and every row is answered exactly once."""
    data = tmp_path / "data"
    headers = {"x-goog-api-key": "k"}
    name = ""
    counts: list[int] = []
    while not counts or (len(counts) < 8 and counts[-1] < ROWS):
        with process(data) as (running, url), httpx2.Client(base_url=url, headers=headers, timeout=30) as http:
            if not name:
                with serve(tmp_path / "none") as unused:  # only for the calls; it serves nothing
                    name = Api(http, unused.emulator).begin(lines(ROWS))
            before = processed(http)
            while (seen := processed(http)) == before and seen < ROWS:
                pass
            running.kill()
            counts.append(seen)
    assert 0 < counts[0] < ROWS  # it was in the middle of its work
    assert counts == sorted(counts)
    with serve(data) as last, httpx2.Client(base_url=last.url, headers=headers, timeout=30) as http:
        api = Api(http, last.emulator)
        assert [one["key"] for one in api.results(name)] == [f"row-{n}" for n in range(ROWS)]
        stats = api.get(name)["metadata"]["batchStats"]
        assert stats == {"requestCount": str(ROWS), "successfulRequestCount": str(ROWS)}


def test_killed_between_two_chunks(tmp_path: Path) -> None:
    """The bytes that were acknowledged are there, and the upload goes on."""
    data = bytes(range(256)) * 4096
    headers = {"x-goog-api-key": "k", "X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    with process(tmp_path) as (running, url):
        upload = httpx2.post(f"{url}/upload/v1/files", headers=headers).headers["X-Goog-Upload-URL"]
        command = {"X-Goog-Upload-Command": "upload", "X-Goog-Upload-Offset": "0"}
        assert httpx2.post(upload, headers=command, content=data[:GRANULARITY]).status_code == 200
        running.kill()
    with process(tmp_path) as (_, again):
        upload = upload.replace(url, again)
        held = httpx2.post(upload, headers={"X-Goog-Upload-Command": "query"}).headers["X-Goog-Upload-Size-Received"]
        assert held == str(GRANULARITY)
        command = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": held}
        file = httpx2.post(upload, headers=command, content=data[GRANULARITY:]).json()["file"]
    assert base64.b64decode(file["sha256Hash"]).decode() == hashlib.sha256(data).hexdigest()


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    """Interrupted or terminated, it stops cleanly and says nothing of its own but the exception."""
    with process(tmp_path) as (running, url):
        assert httpx2.get(f"{url}/v1/batches?key=k").json() == {}
        running.send_signal(number)
        _, errors = running.communicate()
    last = errors.decode().strip().splitlines()[-1]
    stopped = "Terminated: The emulator was stopped by SIGTERM."
    assert ("KeyboardInterrupt" if number == signal.SIGINT else stopped) in last
    assert not (tmp_path / "emulator.db-wal").exists()  # the database was closed


def test_two_processes_on_one_folder(tmp_path: Path) -> None:
    """Both know all batches and one clock, both push the work on, and every row is answered once."""
    headers = {"x-goog-api-key": "k"}
    with (
        serve(tmp_path) as here,
        httpx2.Client(base_url=here.url, headers=headers, timeout=30) as first,
        process(tmp_path) as (running, url),
        httpx2.Client(base_url=url, headers=headers, timeout=30) as second,
    ):
        api, there = Api(first, here.emulator), Api(second, here.emulator)
        names = [api.begin(lines(5000)), there.begin(lines(5000))]
        while not all(caller.get(name).get("done") for caller in (api, there) for name in names):
            pass
        for name in names:
            assert [one["key"] for one in there.results(name)] == [f"row-{n}" for n in range(5000)]
        assert processed(first) == processed(second) == 10_000
        second.post("/emulator/clock", json={"advance": 86_400})
        assert first.get("/emulator/clock").json()["now"][:13] == second.get("/emulator/clock").json()["now"][:13]
        assert running.poll() is None
