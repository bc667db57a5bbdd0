"""What the commands do with the rules of requests: for a model, leniently, and on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cli.conftest import Shell

TEXT = {"contents": [{"parts": [{"text": "x"}]}]}
BUDGET = {"key": "a", "request": {**TEXT, "generationConfig": {"thinkingConfig": {"thinkingBudget": 5}}}}
NEW = {"key": "a", "request": {**TEXT, "surprise": 1, "generationConfig": {"temperature": 3}}}
ARGON = ("--model", "gemini-4-argon")


def test_errors_are_shown_before_warnings(shell: Shell) -> None:
    """However many warnings there are; the rest is counted."""
    rows: list[dict[str, Any]] = [{"key": str(n), f"note{n}": 1, "request": TEXT} for n in range(30)]
    shell.write("in.jsonl", *rows, {"key": "z", "request": {**TEXT, "surprise": 1}})
    for words in (("validate", "in.jsonl"), ("create", "in.jsonl", "--offline")):
        done = shell.run(*words)
        assert "in.jsonl:31:request.surprise" in done.err
        assert "… and 11 more problems" in done.err


def test_the_rules_of_the_model(shell: Shell) -> None:
    """create and run know it; validate is told."""
    shell.write("in.jsonl", BUDGET)
    assert shell.run("validate", "in.jsonl").code == 0
    for words, code in (
        (("validate", "in.jsonl"), 1),
        (("create", "in.jsonl", "--offline"), 2),
        (("run", "in.jsonl", "--offline"), 2),
    ):
        done = shell.run(*words, *ARGON)
        assert done.code == code
        assert "gemini-4-argon does not support `thinkingBudget`" in done.err
    assert shell.run("validate", "in.jsonl", "--model", "not a model").code == 2


@pytest.mark.parametrize(
    "words", [("validate",), ("create", "--offline"), ("run", "--offline")], ids=lambda one: one[0]
)
def test_lenient(shell: Shell, words: tuple[str, ...]) -> None:
    """What is not certainly refused is a warning, and can be sent; offline it is answered."""
    shell.write("in.jsonl", NEW)
    strict, lenient = (shell.run(*words, "in.jsonl", *more) for more in ((), ("--lenient",)))
    assert strict.code in (1, 2)
    assert "surprise" in strict.err
    assert "temperature" in strict.err
    assert lenient.code == 0
    assert "surprise" in lenient.err
    assert "temperature" in lenient.err


@pytest.mark.parametrize(
    "words", [("validate",), ("create", "--offline"), ("run", "--offline")], ids=lambda one: one[0]
)
def test_the_rules_of_the_model_can_be_overruled(shell: Shell, words: tuple[str, ...]) -> None:
    """Alike before and with sending: what validate passes, create passes with the same options."""
    shell.write("in.jsonl", BUDGET)
    assert "does not support" in shell.run(*words, "in.jsonl", *ARGON).err
    done = shell.run(*words, "in.jsonl", *ARGON, "--model-check", "off")
    assert "does not support" not in done.err
    assert done.code == (1 if words[0] == "run" else 0), "offline, the service's own rule refuses the row"
    if words == ("validate",):
        assert "gemini-batch create in.jsonl --model gemini-4-argon --model-check off" in done.err


def test_the_next_step_is_the_same_check(shell: Shell) -> None:
    """With the model and the leniency of this one."""
    shell.write("in.jsonl", NEW)
    done = shell.run("validate", "in.jsonl", "--model", "gemini-3.8-flash", "--lenient")
    assert "create in.jsonl --model gemini-3.8-flash --lenient" in done.err


def test_the_emulators_switch(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reaches the server."""
    asked: list[object] = []
    monkeypatch.setattr(
        "gemini_batch.emulator.http.server.run_forever", lambda *_, lenient, **__: asked.append(lenient)
    )
    assert shell.run("emulator").code == 0
    assert shell.run("emulator", "--lenient").code == 0
    assert asked == [False, True]


@pytest.mark.parametrize("asked", [["AUDIO"], "AUDIO", ["Audio"]], ids=["list", "word", "case"])
def test_speech_of_a_text_model(shell: Shell, asked: object) -> None:
    """However the request writes its modalities."""
    shell.write("in.jsonl", {"key": "a", "request": {**TEXT, "generation_config": {"response_modalities": asked}}})
    done = shell.run("create", "in.jsonl", "--offline")
    assert done.code == 2
    assert "ask for speech" in done.err
