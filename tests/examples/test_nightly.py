"""A night's batch from cron: called again and again, in whatever state the last call left things."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from docs.conftest import Shell, make_shell, offline_shell

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["make_shell", "offline_shell"]
DAY = "2026-11-22"
CALL = "sh examples/nightly.sh night"


@pytest.fixture
def night(offline_shell: Shell) -> Path:
    folder = offline_shell.folder / "night"
    folder.mkdir()
    return folder


def requests(night: Path, *more: dict[str, Any], day: str = DAY) -> None:
    lines = [{"contents": [{"parts": [{"text": f"Review {n}"}]}]} for n in range(3)]
    text = "".join(json.dumps({"key": str(n), "request": line}) + "\n" for n, line in enumerate([*lines, *more]))
    (night / f"requests-{day}.jsonl").write_text(text)


def test_a_night_without_requests(offline_shell: Shell, night: Path) -> None:
    assert offline_shell.run(CALL).stdout == ""
    assert not list(night.iterdir())


def test_a_good_night(offline_shell: Shell, night: Path) -> None:
    """The results are there, and the next call asks nobody."""
    requests(night)

    first = offline_shell.run(CALL)
    results = night / f"results-{DAY}.jsonl"
    before = results.stat().st_mtime_ns
    second = offline_shell.run(CALL)

    assert "all requests succeeded" in first.stdout
    assert len(results.read_text().splitlines()) == 3
    assert (second.stdout, second.stderr) == ("", "")
    assert results.stat().st_mtime_ns == before


def test_some_rows_without_a_good_answer(offline_shell: Shell, night: Path) -> None:
    """Somebody is called, once; results and failures are both there."""
    requests(night, {"contents": [{"parts": [{"text": "A story"}]}], "generationConfig": {"maxOutputTokens": 8}})

    done = offline_shell.run(CALL, code=1)

    assert f"did not succeed: results-{DAY}.failures.jsonl" in done.stderr
    assert len((night / f"results-{DAY}.jsonl").read_text().splitlines()) == 4
    (failure,) = (night / f"results-{DAY}.failures.jsonl").read_text().splitlines()
    assert json.loads(failure)["verdict"] == "truncated"
    assert offline_shell.run(CALL).stderr == ""


def test_requests_that_cannot_be_used(offline_shell: Shell, night: Path) -> None:
    """Said at every call until they are fixed."""
    (night / f"requests-{DAY}.jsonl").write_text("not json\n")
    for _ in range(2):
        done = offline_shell.run(CALL, code=2)
        assert f"requests-{DAY}.jsonl:1" in done.stderr
        assert "nothing was sent" in done.stderr
    requests(night)

    assert "all requests succeeded" in offline_shell.run(CALL).stdout


def test_a_night_that_was_cut_off_is_gone_on_with(offline_shell: Shell, night: Path) -> None:
    """Any other ending leaves the rest to the next call, and nothing is sent twice."""
    requests(night)
    real = (offline_shell.bin / "gemini-batch").read_text()
    for ending in (3, 4, 143):
        offline_shell.command("gemini-batch", f"#!/bin/sh\nexit {ending}\n")
        assert f"ended with {ending}; the next call continues" in offline_shell.run(CALL, code=ending).stdout
    offline_shell.command("gemini-batch", real)

    assert "all requests succeeded" in offline_shell.run(CALL).stdout


def test_a_run_that_waits_for_a_decision_alerts_at_once(offline_shell: Shell, night: Path) -> None:
    """Without --timeout, run ends with 6 only where repeating it cannot help: somebody cancelled a job, for example."""
    requests(night)
    offline_shell.command("gemini-batch", "#!/bin/sh\nexit 6\n")

    assert "waits for your decision" in offline_shell.run(CALL, code=6).stderr


@pytest.mark.parametrize("ending", [0, 1])
@pytest.mark.parametrize("left", ["no file", "an empty file", "half a file"])
def test_a_code_without_its_file_ends_no_day(offline_shell: Shell, night: Path, ending: int, left: str) -> None:
    """Whatever ended with that code, and for whatever reason: the day is done only with an answer for every request."""
    requests(night)
    real = (offline_shell.bin / "gemini-batch").read_text()
    offline_shell.command("gemini-batch", f"#!/bin/sh\nexit {ending}\n")
    if left != "no file":
        line = '{"key":"0","verdict":"succeeded","response":{},"attempt":1}\n'
        (night / f"results-{DAY}.jsonl").write_text(line if "half" in left else "")

    done = offline_shell.run(CALL, code=3)

    assert f"ended with {ending}, but results-{DAY}.jsonl is not complete" in done.stdout
    assert not (night / f"results-{DAY}.done").exists()
    offline_shell.command("gemini-batch", real)
    assert "all requests succeeded" in offline_shell.run(CALL).stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110 - a device
def test_a_full_disk_under_the_log_stops_no_night(offline_shell: Shell, night: Path) -> None:
    requests(night)

    offline_shell.run(f"{CALL} > /dev/full 2>&1", code=3)
    assert not (night / f"results-{DAY}.done").exists()

    offline_shell.run(f"{CALL} 2> /dev/full")
    assert len((night / f"results-{DAY}.jsonl").read_text().splitlines()) == 3
    assert (night / f"results-{DAY}.done").exists()


def test_a_day_that_was_left_behind_is_made_up_for(offline_shell: Shell, night: Path) -> None:
    """A job may take longer than a day; a day that cannot be used does not hold up the others."""
    requests(night, day="2026-11-20")
    (night / "requests-2026-11-21.jsonl").write_text("not json\n")
    requests(night)

    done = offline_shell.run(CALL, code=2)

    assert "2026-11-20: all requests succeeded" in done.stdout
    assert "2026-11-21: the requests or the key cannot be used" in done.stderr
    assert f"{DAY}: all requests succeeded" in done.stdout


def test_two_calls_at_once(offline_shell: Shell, night: Path) -> None:
    """The second leaves the work to the first."""
    requests(night)
    if subprocess.run(["sh", "-c", "command -v flock"], capture_output=True, check=False).returncode:
        pytest.skip("flock is not installed")
    both = f"exec 8> night/requests-{DAY}.lock; flock 8; {CALL} 8>&-; echo left"

    done = offline_shell.run(both)

    assert done.stdout == "left\n"
    assert not list(night.glob("results*"))


def test_the_codes_that_it_tells_apart_are_the_documented_ones(offline_shell: Shell) -> None:
    text = (offline_shell.folder / "examples" / "nightly.sh").read_text()

    assert re.findall(r"^ +(\d[\d |]*|\*)\)", text, re.MULTILINE) == ["0 | 1", "2", "5", "6", "*"]


def test_it_finds_the_program_that_make_setup_has_made(offline_shell: Shell, night: Path) -> None:
    """cron's PATH is short."""
    requests(night)
    there = offline_shell.folder / ".venv" / "bin"
    there.mkdir(parents=True)
    (offline_shell.bin / "gemini-batch").rename(there / "gemini-batch")

    done = offline_shell.run(f"PATH=/usr/bin:/bin; {CALL}")

    assert "all requests succeeded" in done.stdout
