"""The library's functions, with the settings of the environment; and importing it costs nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

import gemini_batch
from gemini_batch import InvalidInput, UsageError, aio

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import gemini_batch; dir(gemini_batch)", ["asyncio", "click", "httpx2", "sqlite3", "msgspec", "rich"]),
        ("import gemini_batch.testing", ["asyncio", "httpx2", "sqlite3", "uvicorn", "starlette"]),
        (
            "from gemini_batch.cli import cli\ntry: cli(['--help'])\nexcept SystemExit: pass",
            [
                "asyncio",
                "httpx2",
                "sqlite3",
                "msgspec",
                "rich",
                "uvicorn",
                "gemini_batch.commands",
                "gemini_batch.protocol",
            ],
        ),
    ],
    ids=["library", "testing", "help"],
)
def test_what_is_not_imported(code: str, absent: list[str]) -> None:
    """Start-up is a feature: what costs time is imported when it is used."""
    probe = f"{code}\nimport sys\nprint([m for m in {absent!r} if m in sys.modules], file=sys.stderr)"

    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert done.stderr.strip() == "[]"


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    probe = "import sys; import gemini_batch; print(*sorted(m for m in sys.modules if m.startswith('gemini_batch')))"

    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["gemini_batch", "gemini_batch._version"]


@pytest.fixture
def requests_file(tmp_path: Path) -> Path:
    path = tmp_path / "requests.jsonl"
    line = {"key": "a", "request": {"contents": [{"parts": [{"text": "Hello"}]}]}}
    path.write_bytes(msgspec.json.encode(line) + b"\n")
    return path


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_BATCH_OFFLINE", "1")
    monkeypatch.setenv("GEMINI_BATCH_POLL", "0.01")


def test_the_whole_life_blocking(requests_file: Path, tmp_path: Path) -> None:
    made = gemini_batch.create(requests_file, name="n")
    seen = gemini_batch.status(made.job, wait=True)
    found = gemini_batch.results(made.job, output=tmp_path / "results.jsonl")

    assert (made.name, seen.state, len(found)) == ("n", "JOB_STATE_SUCCEEDED", 1)
    (row,) = found
    assert "Hello" in row["response"]["text"]
    assert msgspec.json.decode((tmp_path / "results.jsonl").read_bytes()) == row
    assert gemini_batch.list_jobs()[0].job == made.job


def test_the_whole_life_awaited_and_in_a_running_loop(requests_file: Path) -> None:
    """The blocking functions also work where a loop is running, as in a notebook."""

    async def stage() -> str:
        made = await aio.create(requests_file)
        await aio.status(made.job, wait=True)
        return gemini_batch.results(made.job).summary.state

    assert asyncio.run(stage()) == "JOB_STATE_SUCCEEDED"


def test_errors_carry_data(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"key": 1}\n')

    with pytest.raises(InvalidInput) as caught:
        gemini_batch.create(path)

    assert caught.value.problems[0].line == 1
    assert isinstance(caught.value, UsageError)
    assert not gemini_batch.validate(path).valid


def test_media_go_into_files_as_rows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/library.md promises it: also without ``output``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEMINI_BATCH_OFFLINE", "1")
    request = {"contents": [{"parts": [{"text": "A boat."}]}], "generationConfig": {"responseModalities": ["IMAGE"]}}
    (tmp_path / "in.jsonl").write_bytes(msgspec.json.encode({"key": "boat", "request": request}) + b"\n")
    job = gemini_batch.create("in.jsonl", model="gemini-3.1-flash-image").job
    gemini_batch.status(job, wait=True)

    (row,) = gemini_batch.results(job, media_dir="media")

    assert row["response"]["media"] == ["media/boat.png"]
    assert (tmp_path / "media" / "boat.png").read_bytes().startswith(b"\x89PNG")
    assert "media" not in next(iter(gemini_batch.results(job)))["response"]
