"""The troubles that SKILL.md answers, met: each ends with the documented code and one clear paragraph on stderr."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from gemini_batch.cli import execute
from gemini_batch.emulator.http.server import Running, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Type = Callable[..., tuple[int, str, str]]

LINE = '{"key": "%s", "request": {"contents": [{"parts": [{"text": "Why?"}]}]}}'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a good request file in it."""
    there = tmp_path / "work"
    there.mkdir()
    (there / "requests.jsonl").write_text(LINE % "a" + "\n" + LINE % "b" + "\n")
    monkeypatch.chdir(there)
    return there


@pytest.fixture
def type_(folder: Path, capfd: pytest.CaptureFixture[str]) -> Type:
    """Type a command; what came of it: exit code, stdout, stderr."""

    def typed(*words: str) -> tuple[int, str, str]:
        code = execute(words)
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return typed


@pytest.fixture
def slow_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A service whose queue takes an hour, and a key for it."""
    with serve(tmp_path / "service", queue_delay=3600.0) as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        monkeypatch.setenv("GEMINI_API_KEY", "any")
        yield running


def test_no_api_key(type_: Type) -> None:
    code, out, err = type_("create", "requests.jsonl")
    assert (code, out) == (2, "")
    assert "No API key" in err
    assert "export GEMINI_API_KEY" in err
    assert "--offline" in err


def test_the_key_may_be_in_a_dotenv_file(type_: Type, folder: Path, tmp_path: Path) -> None:
    with serve(tmp_path / "service") as running:
        (folder / ".env").write_text(f"GEMINI_API_KEY=from-the-file\nGOOGLE_GEMINI_BASE_URL={running.url}\n")
        code, out, err = type_("create", "requests.jsonl")
    assert code == 0, err
    assert out.startswith("batches/")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("absent.jsonl", None, ["absent.jsonl", "The file does not exist", "working folder"]),
        ("array.json", f"[{LINE % 'a'}]", ["one JSON array", "JSONL", "array.jsonl"]),
        ("commas.jsonl", LINE % "a" + ",\n" + LINE % "b" + "\n", ["commas.jsonl:1:", "comma"]),
        ("broken.jsonl", LINE % "a" + "\n{'key': 'b'}\n", ["broken.jsonl:2:", "Not valid JSON"]),
        ("twice.jsonl", LINE % "a" + "\n" + LINE % "a" + "\n", ["twice.jsonl:2:key:", "line 1"]),
        (
            "sdk.jsonl",
            LINE.replace("}}", '}, "config": {}}') % "a" + "\n",
            ["sdk.jsonl:1:config:", "generationConfig"],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith((".json", ".jsonl")) else "",
)
def test_a_file_that_cannot_be_sent(
    name: str, content: str | None, says: list[str], type_: Type, folder: Path, tmp_path: Path
) -> None:
    if content is not None:
        (folder / name).write_text(content)
    code, out, err = type_("create", name, "--offline")
    assert (code, out) == (2, "")
    for words in says:
        assert words in err
    assert not (tmp_path / "home" / "offline" / "emulator").exists()  # the service was not even started


def test_a_model_that_is_gone_is_refused_before_the_upload(
    type_: Type, slow_service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = type_("create", "requests.jsonl", "--model", "gemini-3-pro-preview")
    assert (code, out) == (2, "")
    assert "shut down on 2026-03-09" in err
    assert "gemini-3.1-pro-preview" in err
    assert not slow_service.emulator.store.rows("SELECT 1 FROM files")


def test_results_of_a_job_that_is_not_finished(type_: Type, slow_service: Running) -> None:
    job = type_("create", "requests.jsonl")[1].strip()
    code, out, err = type_("results", job, "-o", "results.jsonl")
    assert (code, out) == (6, "")
    assert "JOB_STATE_PENDING" in err
    assert f"status {job} --wait" in err


def test_a_job_that_seems_to_be_stuck(type_: Type, slow_service: Running) -> None:
    """Its age, when it expires at the latest, and no code of failure."""
    job = type_("create", "requests.jsonl")[1].strip()
    code, out, err = type_("status", job)
    assert (code, out) == (0, "JOB_STATE_PENDING\n")
    assert re.search(r"\d+ s old, expires in (2 d|47 h \d+ min)", err)
    assert type_("status", job, "--exit-code")[0] == 6


def test_a_job_of_another_project(type_: Type, slow_service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    job = type_("create", "requests.jsonl")[1].strip()
    monkeypatch.setenv("GEMINI_API_KEY", "another")
    code, _, err = type_("status", job)
    assert code == 2
    assert "another API key" in err
    assert "does not mean that the job is gone" in err


def test_a_lost_shell_variable(type_: Type, slow_service: Running) -> None:
    """The same command prints the same name, under any --name, and one job was made."""
    first = type_("create", "requests.jsonl", "--name", "one")[1]
    code, again, err = type_("create", "requests.jsonl", "--name", "two")
    assert (code, again) == (0, first)
    assert "nothing was sent" in err
    assert len(slow_service.emulator.store.rows("SELECT 1 FROM batches")) == 1


def test_a_trial_sends_only_the_first_lines(type_: Type, slow_service: Running) -> None:
    made = json.loads(type_("create", "requests.jsonl", "--limit", "1", "--json")[1])
    assert made["result"]["requests"] == 1


def test_your_file_is_left_alone(type_: Type, folder: Path) -> None:
    """Nothing is written into it, and results never go over it."""
    source = folder / "requests.jsonl"
    before = (source.read_bytes(), source.stat().st_mtime_ns)
    job = type_("create", "requests.jsonl", "--offline")[1].strip()
    assert type_("status", job, "--wait")[0] == 0
    code, _, err = type_("results", job, "-o", "requests.jsonl")
    assert code == 2
    assert "would be lost" in err
    assert type_("results", job, "-o", "results.jsonl")[0] == 0
    assert (source.read_bytes(), source.stat().st_mtime_ns) == before
    assert {path.name for path in folder.iterdir()} == {"requests.jsonl", "results.jsonl"}
