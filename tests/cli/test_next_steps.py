"""After rows without a good answer: the command that helps is on the screen, and it works as it stands there."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gemini_batch
from cli.conftest import Shell, request
from gemini_batch.cli import COMMANDS
from gemini_batch.cli.outcome import as_error, documented, show_error
from gemini_batch.emulator.http.server import serve
from gemini_batch.emulator.http.startup import setup
from gemini_batch.errors import Next, NotFinished
from gemini_batch.events import Notice

if TYPE_CHECKING:
    from cli.conftest import Done

SOURCE = Path(gemini_batch.__file__).parent
SCRIPTS = ("create_batch.py", "check_status.py", "get_results.py", "run_batch.py")
CUT = {"generationConfig": {"maxOutputTokens": 8}}


@pytest.fixture
def story(shell: Shell) -> str:
    """An offline job of three, of which one is cut off."""
    shell.write("in.jsonl", request("a"), request("b", **CUT), request("c"))
    job = shell.run("create", "in.jsonl", "--offline").out.strip()
    shell.run("status", job, "--wait")
    return job


def following(done: Done) -> list[str]:
    """The command that was offered, as words."""
    (command,) = re.findall(r"(?:Next|Type): \S*gemini-batch ([^\n]*?)(?:  \(.*)?\n", done.err)
    return shlex.split(command)


def test_an_answer_that_was_cut_off(shell: Shell, story: str) -> None:
    first = shell.run("results", story, "-o", "results.jsonl")
    assert first.code == 1

    again = shell.run(*following(first))

    assert again.code == 0, again.err
    assert len((shell.folder / "results.jsonl").read_text().splitlines()) == 3


def test_a_good_end_has_no_further_step(shell: Shell) -> None:
    shell.write("in.jsonl", request())
    job = shell.run("create", "in.jsonl", "--offline").out.strip()
    shell.run("status", job, "--wait")

    assert "Next" not in shell.run("results", job).err


def test_a_retry_with_nothing_to_do_names_what_there_is(shell: Shell, story: str) -> None:
    """The default of --only fits nothing here."""
    shell.run("results", story)

    done = shell.run("retry", story)

    assert done.code == 2
    assert "(2 succeeded, 1 truncated)" in done.err
    assert shell.run(*following(done)).code == 0


def test_a_retry_where_all_is_well(shell: Shell, story: str) -> None:
    shell.run("results", story)
    mended = shell.run("retry", story, "--only", "truncated", "--max-output-tokens", "8192")
    assert mended.code == 0, mended.err

    done = shell.run("retry", story)

    assert done.code == 2
    assert "(3 succeeded). Nothing is left to resend." in done.err


def test_run_names_the_file_of_failures(shell: Shell) -> None:
    shell.write("in.jsonl", request("a"), request("b", **CUT))

    done = shell.run("run", "in.jsonl", "--offline", "-o", "out.jsonl")

    assert done.code == 1
    assert "out.failures.jsonl" in done.err
    assert (shell.folder / "out.failures.jsonl").exists()
    assert following(done)[:1] == ["retry"]


def test_rows_that_failed_temporarily(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` resends them, and only them."""
    monkeypatch.setenv("GEMINI_API_KEY", "any")
    monkeypatch.setenv("GEMINI_BATCH_POLL", "0")
    shell.write("in.jsonl", *[request(str(n)) for n in (2, 3, 13)])
    faults = tmp_path / "faults.toml"
    faults.write_text("".join(f'[[fault]]\nrow = "error"\nkey = "{code}"\ncode = {code}\n' for code in (3, 13)))
    with serve(tmp_path / "service", setup=setup(file=faults)) as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        job = shell.run("create", "in.jsonl").out.strip()
        shell.run("status", job, "--wait")
        first = shell.run("results", job, "-o", "results.jsonl")
        assert first.code == 1
        words = following(first)
        assert words[0] == "run"

        again = shell.run(*words)

    assert "INVALID_ARGUMENT" in again.err
    assert "INTERNAL" not in again.err


def test_several_kinds_of_failure(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's words for each, and each step: on the screen, and with --json."""
    monkeypatch.setenv("GEMINI_API_KEY", "any")
    monkeypatch.setenv("GEMINI_BATCH_POLL", "0")
    wrong = {"wrong-1": "Bad schema.", "wrong-2": "Bad role.", "wrong-3": "Bad schema."}
    shell.write("in.jsonl", *[request(key) for key in wrong], request("cut", **CUT), request("good"))
    faults = tmp_path / "faults.toml"
    faults.write_text(
        "".join(f'[[fault]]\nrow = "error"\nkey = "{key}"\ncode = 3\nmessage = "{m}"\n' for key, m in wrong.items())
    )
    with serve(tmp_path / "service", setup=setup(file=faults)) as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        words = shell.run("run", "in.jsonl", "-o", "results.jsonl")
        document = shell.run("results", words.out.strip(), "-o", "results.jsonl", "--json").document["result"]

    assert "  2 failed: INVALID_ARGUMENT: Bad schema. (keys: wrong-1, wrong-3)\n" in words.err
    assert "  1 failed: INVALID_ARGUMENT: Bad role. (keys: wrong-2)\n" in words.err
    retry = f"gemini-batch retry {document['run']} --only truncated --max-output-tokens 8192 -o results.jsonl"
    assert re.search(rf"\nNext: \S*{retry}  \(this costs money\)\nThen: 3 requests failed for a reason", words.err)
    assert [(one["message"], one["count"]) for one in document["failures"]] == [
        ("Bad schema.", 2), ("Bad role.", 1), (None, 1),
    ]  # fmt: skip
    first, then = document["next_steps"]
    assert first == {"next": document["next"], "next_why": document["next_why"]}
    assert first["next"].endswith(retry)
    assert then["next"].startswith("3 requests failed")
    assert then["next_why"] is None


@pytest.mark.parametrize("columns", [90, None])
def test_a_message_fits_on_the_line_of_a_terminal(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int | None
) -> None:
    """A pipe or a file has it in full."""
    monkeypatch.setenv("GEMINI_API_KEY", "any")
    monkeypatch.setenv("GEMINI_BATCH_POLL", "0")
    shell.write("in.jsonl", request("a"))
    message = "The schema is wrong " * 8
    faults = tmp_path / "faults.toml"
    faults.write_text(f'[[fault]]\nrow = "error"\nkey = "a"\ncode = 3\nmessage = "{message}"\n')
    if columns is not None:
        monkeypatch.setattr("gemini_batch.cli.results.screen_width", lambda: columns)
    with serve(tmp_path / "service", setup=setup(file=faults)) as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        done = shell.run("run", "in.jsonl", "-o", "results.jsonl")

    (line,) = [line for line in done.err.splitlines() if "INVALID_ARGUMENT: " in line]
    if columns is None:
        assert line == f"  1 failed: INVALID_ARGUMENT: {message.strip()} (keys: a)"
    else:
        assert len(line) == columns
        assert line.startswith("  1 failed: INVALID_ARGUMENT: The schema")
        assert line.endswith("… (keys: a)")


def test_a_long_list_of_failures_ends_with_the_number_of_the_rest(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "any")
    monkeypatch.setenv("GEMINI_BATCH_POLL", "0")
    shell.write("in.jsonl", *[request(f"k{n}") for n in range(13)])
    faults = tmp_path / "faults.toml"
    faults.write_text(
        "".join(f'[[fault]]\nrow = "error"\nkey = "k{n}"\ncode = 3\nmessage = "Case {n}."\n' for n in range(13))
    )
    with serve(tmp_path / "service", setup=setup(file=faults)) as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        done = shell.run("run", "in.jsonl", "-o", "results.jsonl")

    assert done.err.count("1 failed: INVALID_ARGUMENT: Case ") == 10
    assert "  … and 3 more requests for other reasons (--json has all)\n" in done.err


def test_a_job_that_left_nothing(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAILED: the same create makes another job."""
    monkeypatch.setenv("GEMINI_API_KEY", "any")
    shell.write("in.jsonl", request())
    with serve(tmp_path / "service", setup=setup(("L7",))) as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        job = shell.run("create", "in.jsonl").out.strip()
        shell.run("status", job, "--wait")
        first = shell.run("results", job)
        assert first.code == 5
        again = shell.run(*following(first))

    assert again.code == 0
    assert again.out.strip() != job


@pytest.mark.parametrize("command", ["create", "run"])
def test_an_interrupted_new_is_not_advised_to_pay_again(command: str) -> None:
    """The same command with --new would make another run of the same requests."""
    stopped = as_error(KeyboardInterrupt(), [command, "in.jsonl", "--new"])
    assert stopped is not None
    assert "the same command without --new" in str(stopped)
    plain = as_error(KeyboardInterrupt(), [command, "in.jsonl"])
    assert plain is not None
    assert "--new" not in str(plain)
    assert "the same command" in str(plain)


def test_the_next_step_of_an_error_is_typed_alike_in_json_and_in_words(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["scripts/get_results.py"])
    step = Next("status", "batches/a b", "--wait", why="it is alive")
    error = NotFinished("No.", job="batches/a", state="", next=step)
    show_error(error, ["results", "batches/a", "--json"])
    show_error(error, ["results", "batches/a"])
    out, err = capfd.readouterr()
    said = json.loads(out)["error"]
    assert shlex.split(said["next"])[1:] == ["scripts/check_status.py", "batches/a b", "--wait"]
    assert said["next_why"] == "it is alive"
    assert f"Next: {said['next']}  (it is alive)" in err


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        (Next("list", why="lists them"), ("gemini-batch list", "lists them")),
        (Next("list"), ("gemini-batch list", None)),
        ("Wait.", ("Wait.", None)),
        (None, (None, None)),
    ],
)
def test_a_step_inside_a_document_is_a_command_with_its_reason_next_to_it(
    step: str | Next | None, shown: tuple[str | None, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    users = {"next": {"why": "text of an answer"}}
    document = documented({"events": [Notice("It is so.", next=step)], "preview": [users]})
    notice = {"message": "It is so.", "level": "note", "next": shown[0], "next_why": shown[1]}
    assert document == {"events": [notice], "preview": [users]}


COMMAND = re.compile(rf"gemini-batch ({'|'.join(COMMANDS)})\b|\b(run|check|create|get)_\w+\.py\b")


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_message_spells_out_a_command(path: Path) -> None:
    """A command in a message is a `Next`, so that it is shown as this user can type it."""
    tree = ast.parse(path.read_text())
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    ]
    assert [text for text in texts if COMMAND.search(text)] == (
        [*SCRIPTS] if path.parts[-2:] == ("cli", "outcome.py") else []
    )


def test_the_check_for_spelt_out_commands_finds_one() -> None:
    assert COMMAND.search("Type gemini-batch results run-1.")
