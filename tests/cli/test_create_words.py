"""What create says, and to whom: names that change nothing, money where nothing is paid, models and embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from cli.conftest import Shell, request
from gemini_batch.emulator.http.server import Running, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLAIN = {"content": {"parts": [{"text": "a"}]}}


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """An emulator at a socket, and a key for it."""
    with serve(tmp_path / "service") as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        monkeypatch.setenv("GEMINI_API_KEY", "any")
        yield running


def test_another_name_for_the_same_requests_is_said_to_change_nothing(shell: Shell) -> None:
    shell.write("in.jsonl", request())
    first = shell.run("create", "in.jsonl", "--offline", "--name", "one")

    again = shell.run("create", "in.jsonl", "--offline", "--name", "two")
    same = shell.run("create", "in.jsonl", "--offline", "--name", "one")
    unnamed = shell.run("create", "in.jsonl", "--offline")

    assert first.out == again.out == same.out == unnamed.out
    assert "--name 'two' has no effect: the job is called 'one'" in again.err
    assert "changes nothing" not in same.err + unnamed.err


def test_offline_nothing_is_said_to_be_paid_for(shell: Shell) -> None:
    shell.write("in.jsonl", request())

    made = shell.run("create", "in.jsonl", "--offline")
    again = shell.run("create", "in.jsonl", "--offline")

    assert "nothing is paid" in made.err
    assert "--new" in again.err
    assert "paid" not in again.err


def test_at_another_address_it_is_said_where_the_job_lives(shell: Shell, service: Running) -> None:
    """Whether something at this machine's address costs money is not known, so neither is claimed."""
    shell.write("in.jsonl", request())

    made = shell.run("create", "in.jsonl")
    again = shell.run("create", "in.jsonl")
    job = made.out.strip()

    assert f"at {service.url}" in made.err
    assert f"costs money again, unless {service.url} is an emulator" in again.err
    assert f" · at {service.url}" in shell.run("status", job, "--wait").err
    assert shell.run("create", "in.jsonl", "--json").document["result"]["backend"] == service.url


SAID = "Warning: GOOGLE_GEMINI_BASE_URL is set but empty: using {}.\n"


@pytest.mark.parametrize("command", [("create",), ("run", "-o", "results.jsonl")])
def test_a_blank_address_is_named_first(
    shell: Shell, service: Running, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Blank means unset, here for the .env to say; offline there is no address."""
    (shell.folder / ".env").write_text(f"GOOGLE_GEMINI_BASE_URL={service.url}\nGEMINI_API_KEY=any\n")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", " ")
    shell.write("in.jsonl", request())

    offline = shell.run(*command, "in.jsonl", "--offline")
    made = shell.run(*command, "in.jsonl")

    assert (made.code, offline.code) == (0, 0), made.err + offline.err
    assert made.err.startswith(SAID.format(service.url))
    assert "BASE_URL" not in offline.err


def test_a_blank_address_in_json(shell: Shell, service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """``create`` has it among its warnings, ``run`` among its events."""
    (shell.folder / ".env").write_text(f"GOOGLE_GEMINI_BASE_URL={service.url}\nGEMINI_API_KEY=any\n")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "")
    shell.write("in.jsonl", request())
    said = f"GOOGLE_GEMINI_BASE_URL is set but empty: using {service.url}."

    assert shell.run("create", "in.jsonl", "--json").document["result"]["warnings"] == [said]
    first = msgspec.json.decode(shell.run("run", "in.jsonl", "--json").out.splitlines()[0])
    assert (first["event"], first["level"], first["message"]) == ("notice", "warning", said)


def test_answers_of_an_emulator_at_a_socket_are_not_counted_as_money_spent(shell: Shell, service: Running) -> None:
    """The answers say it themselves (``modelVersion``)."""
    shell.write("in.jsonl", request())
    job = shell.run("create", "in.jsonl").out.strip()
    shell.run("status", job, "--wait")

    done = shell.run("results", job)

    assert f"answered by an emulator at {service.url}, not by Google" in done.err
    assert "would have been" in done.err
    result = shell.run("results", job, "--json").document["result"]
    assert (result["backend"], result["emulated"], result["offline"]) == (service.url, True, False)


def test_a_missing_file_is_said_before_a_missing_key(shell: Shell) -> None:
    done = shell.run("create", "nothere.jsonl")

    assert done.code == 2
    assert "The file does not exist" in done.err


# Models ---------------------------------------------------------------------------------------------------------------


def test_a_typo_in_a_model_is_said_once_and_leaves_nothing_behind(shell: Shell) -> None:
    """Neither a second guess on the screen, nor a run in the list that was never made."""
    shell.write("in.jsonl", request())

    done = shell.run("create", "in.jsonl", "--offline", "-m", "gemini-3-flsh-preview")

    assert done.code == 2
    assert done.err.count("Did you mean gemini-3-flash-preview?") == 1
    assert len(done.err.splitlines()) == 1
    assert shell.run("list", "--offline").out == ""


# Embeddings -----------------------------------------------------------------------------------------------------------


def embed(shell: Shell, *requests: object, model: str = "gemini-embedding-2") -> str:
    shell.write("in.jsonl", *[{"key": str(n), "request": one} for n, one in enumerate(requests)])
    done = shell.run("create", "in.jsonl", "--offline", "-m", model)
    assert done.code == 0, done.err
    return done.err


def test_plain_embeddings_need_no_advice(shell: Shell) -> None:
    assert len(embed(shell, PLAIN, PLAIN).splitlines()) == 2  # created, next


@pytest.mark.parametrize("name", ["taskType", "task_type"])
def test_a_task_type_that_has_no_effect_is_a_warning(shell: Shell, name: str) -> None:
    said = embed(shell, PLAIN, {**PLAIN, name: "CLUSTERING"})

    assert "Warning: gemini-embedding-2 ignores taskType" in said


def test_a_task_type_where_it_works_is_none(shell: Shell) -> None:
    assert "taskType" not in embed(shell, {**PLAIN, "taskType": "CLUSTERING"}, model="gemini-embedding-001")


def test_the_word_in_a_text_is_no_task_type(shell: Shell) -> None:
    assert "Warning" not in embed(shell, {"content": {"parts": [{"text": 'the field "taskType": what is it?'}]}})


def test_media_in_embeddings_cost_more_than_text(shell: Shell) -> None:
    image = {"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]}}

    assert "cost more than text" in embed(shell, PLAIN, image)


def test_the_same_warning_in_many_lines_is_said_once(shell: Shell) -> None:
    lines = [{**request(str(n)), "note": "mine"} for n in range(30)]
    shell.write("in.jsonl", *lines)

    done = shell.run("create", "in.jsonl", "--offline")

    assert done.code == 0
    assert done.err.count("Warning") == 1
    assert "the same in 29 more lines" in done.err
