"""The files of the user around an output file: links, FIFOs, folders and other people's lines stay as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch import cli

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and FIFOs")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def a_link_out_of_the_folder(path: Path) -> None:
    path.symlink_to(path.parent.parent / "elsewhere")


def a_link_to_a_dangling_link(path: Path) -> None:
    path.with_name("second").symlink_to("nowhere")
    path.symlink_to("second")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_link_into_a_missing_folder(path: Path) -> None:
    path.symlink_to("no/such/folder")


def a_link_to_the_users_file(path: Path) -> None:
    path.with_name("precious").write_bytes(b"mine")
    path.symlink_to("precious")


def a_file(path: Path) -> None:
    path.write_bytes(b"mine")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_failures(path: Path) -> None:
    line = {"key": "a", "verdict": "failed", "reason": "x", "line": {}}
    path.with_name("kept").write_text(json.dumps(line) + "\n", "utf-8")
    path.symlink_to("kept")


BOTH = [
    a_dangling_link,
    a_link_out_of_the_folder,
    a_link_to_a_dangling_link,
    a_link_to_itself,
    a_link_into_a_missing_folder,
    a_link_to_the_users_file,
    a_file,
    a_folder,
]
#: What is refused under the name of the results; a FIFO there is asked for, and written to.
CASES = [("results.jsonl", make) for make in BOTH]
#: And under the name of the failures file, which nobody has typed.
CASES += [("failures.jsonl", make) for make in [*BOTH, a_fifo, a_link_to_failures]]


def snapshot(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if "home" not in path.parts:
            status = path.lstat()
            held: Any = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
            found[str(path.relative_to(folder))] = (status.st_mode, status.st_ino, held)
    return found


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """A job that has ended, with one answer that is cut off; the working folder is in a folder of the user's."""
    folder = tmp_path / "user" / "work"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GEMINI_BATCH_OFFLINE", "1")
    monkeypatch.setenv("GEMINI_BATCH_HOME", str(tmp_path / "home"))
    asked = {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 1}}
    Path("r.jsonl").write_text(json.dumps({"key": "a", "request": asked}), "utf-8")
    assert cli._run(["create", "r.jsonl"]) == 0
    name = capsys.readouterr().out.strip()
    assert cli._run(["status", name, "--wait"]) == 0
    capsys.readouterr()
    return name


@pytest.mark.parametrize("verb", ["results", "run", "retry"])
@pytest.mark.parametrize(("name", "make"), CASES, ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_what_is_in_the_way_is_named_and_stays(
    verb: str,
    name: str,
    make: Callable[[Path], None],
    job: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit 2, before anything is sent or written."""
    if verb == "results" and name == "failures.jsonl":
        pytest.skip("results writes no failures file")
    make(Path(name))
    before = snapshot(tmp_path / "user")
    words = {
        "results": ["results", job],
        "run": ["run", "r.jsonl"],
        "retry": ["retry", job, "--only", "truncated", "--max-output-tokens", "99"],
    }
    assert cli._run([*words[verb], "-o", "results.jsonl"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert name in err
    assert "Traceback" not in err
    assert snapshot(tmp_path / "user") == before


def test_a_link_to_results_is_followed(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The link stays, and its file is replaced by newer results."""
    assert cli._run(["results", job, "-o", "real.jsonl"]) == 1
    before = Path("real.jsonl").stat().st_ino
    Path("results.jsonl").symlink_to("real.jsonl")
    assert cli._run(["results", job, "-o", "results.jsonl"]) == 1
    assert Path("results.jsonl").is_symlink()
    assert Path("real.jsonl").stat().st_ino != before
    capsys.readouterr()
