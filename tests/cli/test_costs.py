"""What costs money is said to, and what is offline is not."""

from __future__ import annotations

import pytest

from cli.conftest import Shell, request

OFFLINE = pytest.mark.parametrize("offline", [False, True], ids=["online", "offline"])


@pytest.mark.parametrize(
    ("words", "variable", "following"),
    [
        ((), "", "create in.jsonl  (this costs money)"),
        (("--limit", "1"), "", "create in.jsonl --limit 1  (this costs money)"),
        (("--offline",), "", "create in.jsonl --offline"),
        ((), "1", "create in.jsonl --offline"),
        (("--limit", "1", "--offline"), "", "create in.jsonl --limit 1 --offline"),
    ],
)
def test_validate(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], variable: str, following: str
) -> None:
    monkeypatch.setenv("GEMINI_BATCH_OFFLINE", variable)
    shell.write("in.jsonl", request("a"), request("b"))

    done = shell.run("validate", "in.jsonl", *words)

    assert done.code == 0
    assert done.err.rstrip().endswith(f"gemini-batch {following}")
    found = shell.run("validate", "in.jsonl", *words, "--json").document["result"]
    command, _, why = following.partition("  (")
    assert found["next"].endswith(f"gemini-batch {command}")
    assert found["next_why"] == (why.removesuffix(")") or None)


def test_validate_proposes_nothing_that_pays_for_a_file_that_create_refuses(shell: Shell) -> None:
    shell.write("in.jsonl", {"key": 1})

    assert "create" not in shell.run("validate", "in.jsonl", "--json").document["result"]["next"]


def test_validate_needs_no_settings(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that cannot be meant is for the commands that use it."""
    monkeypatch.setenv("GEMINI_BATCH_OFFLINE", "perhaps")
    shell.write("in.jsonl", request())

    assert shell.run("validate", "in.jsonl").code == 0


@OFFLINE
@pytest.mark.parametrize("command", ["create", "validate"])
def test_a_file_over_the_limit(shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str, *, offline: bool) -> None:
    path = shell.write("in.jsonl", request(contents=[{"parts": [{"text": "long " * 100_000}]}]))
    monkeypatch.setenv("GEMINI_API_KEY", "any")
    with path.open("r+b") as file:
        file.truncate((1 << 31) + 1)

    done = shell.run(command, "in.jsonl", *(["--offline"] if offline else []))

    assert done.code == 2
    following = "run in.jsonl" + (" --offline" if offline else "")
    assert f"gemini-batch {following}  (splits it into several jobs" in done.err
    assert ("costs money" in done.err) is not offline
