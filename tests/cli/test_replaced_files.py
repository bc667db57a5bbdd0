"""Which files `-o` replaces: what gemini-batch wrote, known by its content; never what the user has changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cli.conftest import request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli.conftest import Shell

SHORT = {"generationConfig": {"maxOutputTokens": 1}}


@pytest.fixture
def job(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> str:
    """A job that has ended: one good answer, one that is cut off."""
    monkeypatch.setenv("GEMINI_BATCH_OFFLINE", "1")
    shell.write("in.jsonl", request("a"), request("b", **SHORT))
    name = shell.run("create", "in.jsonl").out.strip()
    assert shell.run("status", name, "--wait").code == 0
    return name


def changed(path: Path) -> bytes:
    """The file after the user has added a field to its first line."""
    first, *others = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(first), "mine": 1}), *others]) + "\n", "utf-8")
    return path.read_bytes()


@pytest.mark.parametrize("form", [(), ("--raw",)], ids=["results", "raw"])
@pytest.mark.parametrize("moved", [False, True], ids=["in place", "moved"])
def test_what_was_written_is_replaced_until_it_is_changed(
    shell: Shell, job: str, form: tuple[str, ...], moved: bool
) -> None:
    target = shell.folder / "out.jsonl"
    assert shell.run("results", job, *form, "-o", "out.jsonl").code == 1
    if moved:
        target = target.rename(shell.folder / "moved.jsonl")
    before = target.read_bytes()

    assert shell.run("results", job, *form, "-o", target.name).code == 1
    assert target.read_bytes() == before
    mine = changed(target)
    done = shell.run("results", job, *form, "-o", target.name)

    assert (done.code, target.read_bytes()) == (2, mine)
    assert "is not as gemini-batch wrote it" in done.err


@pytest.mark.parametrize(
    "edit", [lambda text: text.replace(b"answer", b"correction", 1), lambda text: text * 2], ids=["a text", "a copy"]
)
@pytest.mark.parametrize("verb", ["results", "run"])
def test_an_edit_that_keeps_the_form_is_not_lost(
    shell: Shell, job: str, verb: str, edit: Callable[[bytes], bytes]
) -> None:
    """A correction of a text, for example: each line is still one of ours."""
    target = shell.folder / "out.jsonl"
    words = (verb, "in.jsonl" if verb == "run" else job, "-o", "out.jsonl")
    assert shell.run(*words).code == 1
    mine = edit(target.read_bytes())
    target.write_bytes(mine)

    done = shell.run(*words)

    assert (done.code, target.read_bytes()) == (2, mine)
    assert "is not as gemini-batch wrote it" in done.err


def test_the_failures_file_is_replaced_and_removed_only_unchanged(shell: Shell, job: str) -> None:
    failures = shell.folder / "out.failures.jsonl"
    assert shell.run("run", "in.jsonl", "-o", "out.jsonl").code == 1
    assert shell.run("run", "in.jsonl", "-o", "out.jsonl").code == 1
    mine = changed(failures)

    done = shell.run("retry", job, "--only", "truncated", "--max-output-tokens", "99", "-o", "out.jsonl")

    assert (done.code, failures.read_bytes()) == (2, mine)
    failures.unlink()
    assert shell.run("retry", job, "--only", "truncated", "--max-output-tokens", "99", "-o", "out.jsonl").code == 0
    assert not failures.exists()


def test_a_file_of_a_kind_is_not_replaced_by_one_of_another(shell: Shell, job: str) -> None:
    """Results under the name of the failures file stay, although gemini-batch wrote them."""
    assert shell.run("results", job, "-o", "out.failures.jsonl").code == 1

    assert shell.run("run", "in.jsonl", "-o", "out.jsonl").code == 2


def test_what_the_rehearsal_wrote_is_known_to_the_real_run(shell: Shell, job: str, tmp_path: Path) -> None:
    """The two state folders know each other's files."""
    from gemini_batch.jsonl import sha256_of
    from gemini_batch.store.state_folder import StateFolder

    assert shell.run("results", job, "--raw", "-o", "out.jsonl").code == 1
    digest = sha256_of(shell.folder / "out.jsonl")
    real = StateFolder(shell.home)

    assert real.output(digest, "") == real.offline.output(digest, "") != None  # noqa: E711 - both, and not nothing


def test_results_are_not_replaced_by_fewer_of_the_same_run(shell: Shell, job: str) -> None:
    """The answers of one job of the run, for example."""
    assert shell.run("run", "in.jsonl", "-o", "all.jsonl").code == 1
    retried = ("retry", job, "--only", "truncated", "--max-output-tokens", "99", "-o", "all.jsonl")
    assert shell.run(*retried).code == 0
    before = (shell.folder / "all.jsonl").read_bytes()

    done = shell.run("results", job, "--job-only", "-o", "all.jsonl")

    assert (done.code, (shell.folder / "all.jsonl").read_bytes()) == (3, before)
    assert "2 successful results of run-" in done.err
    assert "1 would replace them" in done.err
    assert "move this file away" in done.err
    assert shell.run("results", job, "--job-only", "-o", "part.jsonl").code == 1


def test_results_of_another_run_are_replaced(shell: Shell, job: str) -> None:
    assert shell.run("results", job, "-o", "out.jsonl").code == 1
    shell.write("other.jsonl", request("c", **SHORT))

    assert shell.run("run", "other.jsonl", "-o", "out.jsonl").code == 1
    assert json.loads((shell.folder / "out.jsonl").read_bytes())["key"] == "c"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("in.jsonl/out.jsonl", "This is a file, not a folder."),
        ("in.jsonl/more/out.jsonl", "This is a file, not a folder."),
        ("no/out.jsonl", "mkdir -p no"),
        ("n" * 300 + ".jsonl", "File name too long"),
    ],
)
@pytest.mark.parametrize("verb", ["results", "run", "retry"])
def test_a_place_where_no_file_can_be(shell: Shell, job: str, verb: str, target: str, said: str) -> None:
    what = "in.jsonl" if verb == "run" else job

    done = shell.run(verb, what, "-o", target)

    assert done.code == 2
    assert said in done.err.replace("\n", " ")
