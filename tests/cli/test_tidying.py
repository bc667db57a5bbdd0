"""list and clean on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cli.conftest import Shell, request

if TYPE_CHECKING:
    from cli.conftest import Done


def unfinished(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Done:
    """A create that could not reach the service."""
    shell.write("in.jsonl", request())
    monkeypatch.setenv("GEMINI_API_KEY", "any")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    done = shell.run("create", "in.jsonl")
    assert done.code == 4
    return done


def test_a_service_that_cannot_be_reached_is_named(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "http://127.0.0.1:9" in unfinished(shell, monkeypatch).err


def test_what_was_not_created_is_listed_and_forgotten(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished(shell, monkeypatch)

    listed = shell.run("list").out
    assert listed.startswith("run-")
    assert "  NOT_CREATED  0/1  started " in listed
    assert "results" not in listed
    plain = shell.run("clean")
    assert plain.err == (
        "Nothing to delete.\n1 run listed as NOT_CREATED: --not-created forgets runs that were never sent.\n"
    )
    refused = shell.run("clean", "--not-created")
    assert refused.code == 2
    assert "This would forget 1 run. There is no terminal" in refused.err
    assert "--yes" in refused.err
    done = shell.run("clean", "--not-created", "--yes")
    assert done.code == 0
    assert done.out.startswith("run-")
    assert done.err == "Forgot 1 run.\n"

    assert shell.run("list").out == ""


def test_the_list_tells_an_age_from_a_duration(shell: Shell) -> None:
    shell.write("in.jsonl", request())
    job = shell.run("create", "in.jsonl", "--offline").out.strip()
    assert " s old  expires in " in shell.run("list", "--offline").out
    shell.run("status", job, "--wait")

    assert "  took " in shell.run("list", "--offline").out


@pytest.mark.parametrize("words", [("--state", "done"), ("--alive",), ("--name", "x"), ("-m", "y")])
def test_a_filter_that_nothing_passes(shell: Shell, words: tuple[str, ...]) -> None:
    done = shell.run("list", *words)

    assert (done.code, done.out) == (0, "")
    assert "No job matches" in done.err


def test_what_is_deleted_is_counted(shell: Shell) -> None:
    shell.write("in.jsonl", request())
    job = shell.run("create", "in.jsonl", "--offline").out.strip()
    shell.run("status", job, "--wait")

    assert "Would delete 1 file (" in shell.run("clean", "--offline", "--dry-run").err
    asked = shell.run("clean", "--offline")
    assert asked.code == 2
    assert "This would delete 1 file (" in asked.err
    assert "Deleted 1 file (" in shell.run("clean", "--offline", "--yes").err
    assert shell.run("clean", "--offline").err == "Nothing to delete.\n"


@pytest.mark.parametrize("command", ["status", "results", "cancel"])
def test_a_shell_variable_that_holds_nothing(shell: Shell, command: str) -> None:
    """JOB=$(gemini-batch create …) of a create that failed."""
    done = shell.run(command, "")

    assert done.code == 2
    assert "a create failed" in done.err
