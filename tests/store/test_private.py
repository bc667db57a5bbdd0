"""What this program stores can be read by its owner only, whatever the umask; what was there keeps its mode."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from gemini_batch import GeminiBatch, Settings
from gemini_batch.emulator.http.admin import arm
from gemini_batch.emulator.http.server import serve
from gemini_batch.jsonl import atomic_write, private_folder, private_open
from gemini_batch.settings import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes as POSIX has them")


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """No umask that hides what a call forgets."""
    before = os.umask(0)
    yield
    os.umask(before)


class Watch:
    """Looks at a folder whenever it is called; ``seen`` are all names, ``open`` what others may read or enter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: set[str] = set()
        self.open: dict[str, str] = {}

    def __call__(self, *_: object) -> None:
        # What is there now: folders come and go in other threads, and a walk passes over those that are gone.
        within = (Path(above, name) for above, folders, files in os.walk(self.folder) for name in [*folders, *files])
        for path in [self.folder, *within]:
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            name = str(path.relative_to(self.folder))
            self.seen.add(path.name)
            right = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
            if stat.S_IMODE(found.st_mode) & ~right:
                self.open[name] = oct(stat.S_IMODE(found.st_mode))


def write_requests(path: Path, count: int = 6) -> Path:
    part = {"contents": [{"parts": [{"text": "Say something."}]}], "generationConfig": {"maxOutputTokens": 5}}
    path.write_text("".join(json.dumps({"key": f"row-{n}", "request": part}) + "\n" for n in range(count)), "utf-8")
    return path


def test_a_state_folder_and_those_above_it_that_were_missing(tmp_path: Path) -> None:
    """A first offline command in a new home; all kinds of work in it."""
    home = tmp_path / "not" / "there" / "yet"
    watch = Watch(tmp_path / "not")
    first, second = write_requests(tmp_path / "first.jsonl"), write_requests(tmp_path / "second.jsonl", 3)
    with GeminiBatch(settings=Settings(home=home, offline=True, settle=0.0), on_event=watch) as batch:
        batch.run(first, max_requests_per_job=2)
        found = batch.run(second)
        batch.retry(found.summary.run, only=["truncated"], max_output_tokens=100)
        created = batch.create(write_requests(tmp_path / "third.jsonl", 2), inline=True)
        assert created.job is not None
        batch.status(created.job, wait=True)
        list(batch.results(created.job))
        watch()
    watch()
    assert {"ledger.db", "emulator.db", "requests.jsonl", "rows.db", "raw", "parts", "manifest.json"} <= watch.seen
    assert watch.open == {}


def test_an_adopted_run(tmp_path: Path) -> None:
    """A job that another state folder has made."""
    requests = write_requests(tmp_path / "requests.jsonl")
    with serve(tmp_path / "service") as running:
        shared: dict[str, Any] = {"base_url": running.url, "settle": 0.0}
        with GeminiBatch(settings=Settings(home=tmp_path / "a", api_key=Secret("k"), **shared)) as batch:
            job = batch.create(requests).job
            assert job is not None
        watch = Watch(tmp_path / "b")
        with GeminiBatch(
            settings=Settings(home=tmp_path / "b", api_key=Secret("k"), **shared), on_event=watch
        ) as batch:
            batch.status(job, wait=True)
            assert len(batch.results(job)) == 6
            watch()
    assert watch.open == {}
    assert {"ledger.db", "raw"} <= watch.seen


def test_the_data_of_an_emulator(tmp_path: Path) -> None:
    """Uploads, batches in work, changed outputs."""
    watch = Watch(tmp_path / "service")
    requests = write_requests(tmp_path / "requests.jsonl")
    with serve(tmp_path / "service", rows_per_second=1.0) as running:
        settings = Settings(home=tmp_path / "a", base_url=running.url, api_key=Secret("k"), settle=0.0)
        arm(running.emulator, output="shuffle", times=0)
        with GeminiBatch(settings=settings) as batch:
            job = batch.create(requests).job
            assert job is not None
            for _ in range(8):
                running.emulator.clock.advance(1)
                batch.status(job)
                watch()
            assert batch.status(job).state == "JOB_STATE_SUCCEEDED"
    watch()
    assert watch.open == {}
    assert any(name.startswith("output-") for name in watch.seen)


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    """What is made in it is private all the same."""
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    with serve(data) as running:
        httpx2.get(f"{running.url}/v1/models?key=k")
        watch = Watch(data)
        watch()
    assert watch.open == {".": "0o755"}


def test_private_folder(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    private_folder(tmp_path / "there" / "a" / "b")
    private_folder(tmp_path / "there" / "a" / "b")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("there", "there/a", "there/a/b")]
    assert modes == [0o755, 0o700, 0o700]
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        private_folder(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        private_folder(tmp_path / "file" / "a")


def test_private_files(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with private_open(path, "xb") as file:
        file.write(b"1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        private_open(path, "xb")
    path.chmod(0o644)
    with atomic_write(path, private=True) as file:
        file.write(b"2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
