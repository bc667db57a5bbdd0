"""Where the command line meets the shell: no words at all, mistyped ones, and stdout that is a pipe or full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import Shell, request
from gemini_batch.report.output_files import failures_file


def test_no_words_show_the_help(shell: Shell) -> None:
    """As --help shows it, on stderr, and the code of a usage error: nothing was done."""
    done = shell.run()

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: gemini-batch")
    assert done.err == shell.run("--help").out


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("creat", "create"),
        ("result", "results"),
        ("lst", "list"),
        ("get_results", "results"),
        ("check_status", "status"),
    ],
)
def test_a_mistyped_command_is_named(shell: Shell, typed: str, meant: str) -> None:
    done = shell.run(typed)

    assert done.code == 2
    assert f"Did you mean {meant}?" in done.err


def test_a_command_like_no_other_gets_no_guess(shell: Shell) -> None:
    done = shell.run("xyzzy")

    assert "Did you mean" not in done.err
    assert "gemini-batch --help" in done.err


# stdout ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def job(shell: Shell) -> str:
    """An offline job that has ended, with two answers."""
    shell.write("in.jsonl", request("a"), request("b"))
    name = shell.run("create", "in.jsonl", "--offline").out.strip()
    assert shell.run("status", name, "--wait").code == 0
    return name


def typed(job: str, tail: str) -> subprocess.CompletedProcess[str]:
    """``results`` typed into a shell, with the streams as that shell connects them."""
    return subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m gemini_batch results "$JOB" {tail}'],
        env={**os.environ, "JOB": job},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="names of Linux for the streams of a process")
@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("where", ["| cat", "> out.jsonl; cat out.jsonl"], ids=["a pipe", "a file"])
def test_every_name_of_stdout_gets_all_lines(job: str, name: str, where: str) -> None:
    done = typed(job, f"-o {name} {where}")

    assert [json.loads(line)["key"] for line in done.stdout.splitlines()] == ["a", "b"]
    assert "Written" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names of Linux for the streams of a process")
def test_another_stream_is_written_as_it_comes(job: str, shell: Shell) -> None:
    """A process that reads (``>(…)``) has the name of a pipe, which cannot be replaced by a finished file."""
    done = typed(job, "-o >(cat > taken.jsonl); wait $!; cat taken.jsonl")

    assert [json.loads(line)["key"] for line in done.stdout.splitlines()] == ["a", "b"], done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110 - a device, not a file
@pytest.mark.parametrize("words", ["", "-o -", "--json"])
def test_a_full_stdout_is_called_so(job: str, words: str) -> None:
    done = typed(job, f"{words} > /dev/full")

    assert done.returncode == 3, done.stderr
    assert "stdout cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["run", "retry"])
@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_run_and_retry_keep_stdout_for_the_run_id(shell: Shell, job: str, command: str, name: str) -> None:
    what = {"run": "in.jsonl", "retry": job}[command]

    done = shell.run(command, what, "-o", name, "--offline")

    assert (done.code, done.out) == (2, "")
    assert "use the results command afterwards" in done.err
    assert not (shell.folder / "-").exists()


@pytest.mark.parametrize("command", ["run", "retry"])
def test_the_help_names_the_failures_file_as_it_will_be_named(shell: Shell, command: str) -> None:
    said = " ".join(shell.run(command, "--help").out.split())

    for output in ("results.jsonl", "NAME.jsonl"):
        failed = failures_file(Path(output))
        assert failed is not None
        assert failed.name in said


def test_the_help_says_what_a_dash_is(shell: Shell) -> None:
    assert "- for stdout" in " ".join(shell.run("results", "--help").out.split())


def test_a_file_called_like_an_option_value_is_not_made(shell: Shell, job: str, tmp_path: Path) -> None:
    """`-o -` never makes a file of that name."""
    done = shell.run("results", job, "-o", "-")

    assert len(done.out.splitlines()) == 2
    assert not (shell.folder / "-").exists()


@pytest.mark.parametrize("command", ["validate", "models"])
def test_a_command_that_asks_nobody_does_not_offer_offline(shell: Shell, command: str) -> None:
    """It is taken all the same: whoever puts it everywhere is not stopped."""
    shell.write("in.jsonl", request())

    assert "--offline" not in shell.run(command, "--help").out
    words = ("in.jsonl",) if command == "validate" else ()
    assert shell.run(command, *words, "--offline").code == 0
