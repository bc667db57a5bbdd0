"""``validate --fix``: what it writes, what it says, how it ends; and that no file of the user's is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cli.conftest import Shell, request
from gemini_batch import GeminiBatch
from gemini_batch.commands import fixing
from gemini_batch.errors import UsageError
from gemini_batch.validation.inputfile import check_unchanged

if TYPE_CHECKING:
    from pathlib import Path

ASK = {"contents": [{"parts": [{"text": "Hello"}]}]}
FIX = ("validate", "in.jsonl", "--fix", "-o", "out.jsonl")


def copy(shell: Shell) -> list[Any]:
    """The lines of the copy."""
    return [json.loads(line) for line in (shell.folder / "out.jsonl").read_bytes().splitlines()]


def test_a_file_is_fixed(shell: Shell) -> None:
    """Valid: exit code 0; each kind of change with its lines on stderr; the original is as before; again, no change."""
    rows = [
        request("a", temperature=1),
        request("b"),
        *({"id": f"x{n}", "request": ASK, "n": 2**60 + 1} for n in range(7)),
    ]
    path = shell.write("in.jsonl", *rows)
    before = path.read_bytes()

    done = shell.run(*FIX)

    assert (done.code, done.out) == (0, "valid\n")
    assert done.err.splitlines() == [
        "Wrote out.jsonl (9 lines). Changes to in.jsonl:",
        "  moved `temperature` to `request.generationConfig.temperature`: 1 (line 1)",
        "  renamed `id` to `key`: 7 (line 3, 4, 5, 6, 7, …)",
        *[line for line in done.err.splitlines() if "Warning" in line or "the same in" in line],
        "9 requests for generation, 806 bytes.",
        next(line for line in done.err.splitlines() if line.startswith("Next: ")),
    ]
    assert path.read_bytes() == before
    assert [row["key"] for row in copy(shell)] == ["a", "b", *(f"x{n}" for n in range(7))]
    assert all(row["n"] == 2**60 + 1 for row in copy(shell)[2:])
    again = shell.run("validate", "out.jsonl", "--fix", "-o", "again.jsonl")
    assert "Nothing had to be changed." in again.err
    assert (shell.folder / "again.jsonl").read_bytes() == (shell.folder / "out.jsonl").read_bytes()


def test_what_is_left_is_shown_with_both_lines(shell: Shell) -> None:
    """Exit code 1; the copy is written all the same."""
    rows = [b"# by hand", request("a"), b"", b"broken", request("b", generationConfig={"numberOfImages": 1}), b"broken"]
    shell.write("in.jsonl", *rows)

    done = shell.run(*FIX)

    assert (done.code, done.out) == (1, "invalid\n")
    assert "out.jsonl:2: Not valid JSON" in done.err
    assert "[line 4 of the original]" in done.err
    assert "the same in 1 more: line 4 [6]" in done.err
    assert "out.jsonl:3:request.generationConfig.numberOfImages: `numberOfImages` is not a setting. (" in done.err
    assert "[line 5 of the original]" in done.err
    lines = (shell.folder / "out.jsonl").read_bytes().splitlines()
    assert [lines[1], lines[3]] == [b"broken", b"broken"]


def test_the_json_document(shell: Shell) -> None:
    """The changes, the copy, and problems with the lines of both files."""
    shell.write("in.jsonl", b"\xef\xbb\xbf", {"request": ASK}, {"key": "a", "request": {"contents": []}})

    done = shell.run(*FIX, "--json")

    assert done.code == done.document["exit_code"] == 1
    found = done.document["result"]
    assert (found["file"], found["valid"], found["next"]) == ("out.jsonl", False, None)
    assert found["fixed"] == {
        "original": "in.jsonl",
        "lines": 2,
        "changes": [
            {"what": "removed empty lines", "count": 1, "lines": [1]},
            {"what": "numbered lines without a key", "count": 1, "lines": [2]},
        ],
    }
    assert [(one["line"], one["original"], one["field"]) for one in found["problems"]] == [(2, 3, "request.contents")]
    plain = shell.run("validate", "in.jsonl", "--json").document["result"]
    assert plain["fixed"] is None
    assert {one["original"] for one in plain["problems"]} == {None}
    assert "validate in.jsonl --fix -o in-2.jsonl" in plain["next"]


@pytest.mark.parametrize(
    ("words", "keys", "code"),
    [
        ((), ["a", "row-2", "a", "b", "row-2-2", "a-2", "a"], 1),
        (("--key-duplicates", "error"), ["a", "row-2", "a", "b", "row-2-2", "a-2", "a"], 1),
        (("--key-duplicates", "number"), ["a", "row-2", "a-3", "b", "row-5", "a-2", "a-4"], 0),
        (("--key-duplicates", "first"), ["a", "row-2", "b", "row-4", "a-2"], 0),
    ],
)
def test_keys(shell: Shell, words: tuple[str, ...], keys: list[str], code: int) -> None:
    """Numbers avoid the keys that other lines have, also later ones; what is not asked for is not done."""
    keys = ["row-5" if key == "row-2-2" else key for key in keys]
    rows = [request("a"), request("row-2"), request("a"), request("b"), {"request": ASK}, request("a-2"), request("a")]
    shell.write("in.jsonl", *rows)

    done = shell.run(*FIX, *words)

    assert [row["key"] for row in copy(shell)] == keys
    assert done.code == code
    assert ("is already used on line 1" in done.err) == (code == 1)


def test_a_number_that_another_line_has(shell: Shell) -> None:
    shell.write("in.jsonl", {"request": ASK}, request("row-1"), request("row-1-2"))
    assert shell.run(*FIX).code == 0
    assert [row["key"] for row in copy(shell)] == ["row-1-3", "row-1", "row-1-2"]


def test_keys_from_a_path(shell: Shell) -> None:
    """A line where the path leads nowhere is not numbered: its key would be of another kind."""
    shell.write("in.jsonl", {"meta": {"id": 7}, "request": ASK}, {"request": ASK}, request("mine"))
    done = shell.run(*FIX, "--key-from", "meta.id")
    assert done.code == 1
    assert "out.jsonl:2:key: The line has no `key`." in done.err
    assert [row.get("key") for row in copy(shell)] == ["7", None, "mine"]
    assert copy(shell)[0]["meta"] == {"id": 7}


@pytest.mark.parametrize(
    ("name", "there", "said"),
    [
        ("in.jsonl", None, "the file that is read"),
        ("./in.jsonl", None, "the file that is read"),
        ("link.jsonl", "link", "the file that is read"),
        ("notes.txt", b"my notes\n", "has other content, which would be lost"),
        ("no/where.jsonl", None, "folder for the file does not exist"),
        (".", None, "folder"),
        ("/dev/null", None, "not a regular file"),
    ],
)
def test_no_file_is_lost(shell: Shell, name: str, there: object, said: str) -> None:
    """Exit code 2, and everything is as before."""
    path = shell.write("in.jsonl", {"request": ASK})
    if there == "link":
        (shell.folder / name).symlink_to(path)
    elif isinstance(there, bytes):
        (shell.folder / name).write_bytes(there)
    before, content = shell.files(), path.read_bytes()

    done = shell.run("validate", "in.jsonl", "--fix", "-o", name)

    assert done.code == 2
    assert said in done.err
    assert shell.files() == before
    assert path.read_bytes() == content
    if isinstance(there, bytes):
        assert (shell.folder / name).read_bytes() == there


@pytest.mark.parametrize("name", ["in.jsonl", "link.jsonl"])
def test_the_original_is_not_replaced_by_force(shell: Shell, name: str) -> None:
    path = shell.write("in.jsonl", {"request": ASK})
    (shell.folder / "link.jsonl").symlink_to(path)
    before = path.read_bytes()
    done = shell.run("validate", "in.jsonl", "--fix", "-o", name, "--force")
    assert done.code == 2
    assert path.read_bytes() == before


def test_an_earlier_copy(shell: Shell) -> None:
    """The same content may be there; other content only with --force."""
    shell.write("in.jsonl", {"request": ASK})
    assert [shell.run(*FIX).code for _ in range(2)] == [0, 0]
    shell.write("in.jsonl", {"request": ASK}, {"request": ASK})
    assert shell.run(*FIX).code == 2
    assert len(copy(shell)) == 1
    assert shell.run(*FIX, "--force").code == 0
    assert len(copy(shell)) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fix",), "--fix and --output belong together"),
        (("-o", "out.jsonl"), "--fix and --output belong together"),
        (("--key-from", "id"), "belong to --fix"),
        (("--key-duplicates", "number"), "belong to --fix"),
        (("--fix", "-o", "out.jsonl", "--limit", "3"), "Use one of them"),
        (("--fix", "-o", "out.jsonl", "--key-duplicates", "last"), "--key-duplicates"),
    ],
)
def test_arguments_that_do_not_go_together(shell: Shell, words: tuple[str, ...], said: str) -> None:
    shell.write("in.jsonl", {"request": ASK})
    done = shell.run("validate", "in.jsonl", *words)
    assert done.code == 2
    assert said in done.err
    assert not (shell.folder / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"[]", "has no requests"),
        (b"# nothing\n", "has no requests"),
        (json.dumps(request()).encode().decode().encode("utf-16"), "UTF-16"),
        (b'{"key":"a","verdict":"succeeded","response":{},"attempt":1}\n', "results, not requests"),
        (b"id,review\n1,fine\n", "run in.jsonl --prompt '… {{ review }} …'"),
    ],
)
def test_what_cannot_be_read(shell: Shell, data: bytes, said: str) -> None:
    """Exit code 2, no copy."""
    (shell.folder / "in.jsonl").write_bytes(data)
    done = shell.run(*FIX)
    assert done.code == 2
    assert said in done.err
    assert not (shell.folder / "out.jsonl").exists()


def test_a_copy_that_cannot_be_written_leaves_nothing(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk in the middle: no part of a copy, exit code 3."""

    def full(requests: Path, output: Path, *, force: bool) -> None:
        del requests, output, force
        raise OSError(28, "No space left on device")

    shell.write("in.jsonl", {"request": ASK})
    before = shell.files()
    monkeypatch.setattr(fixing, "put", full)
    done = shell.run(*FIX)
    assert done.code == 3
    assert "full" in done.err or "No space left" in done.err
    assert shell.files() == before


def test_a_file_that_changes_meanwhile(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """No copy of a file that is being written."""
    path = shell.write("in.jsonl", {"request": ASK})

    def grown(*facts: Any) -> None:
        with path.open("ab") as file:
            file.write(b"{}\n")
        check_unchanged(facts[0], path.stat(), facts[2])

    monkeypatch.setattr(fixing, "check_unchanged", grown)
    done = shell.run(*FIX)
    assert done.code == 2
    assert "changed while it was read" in done.err
    assert not (shell.folder / "out.jsonl").exists()


def test_a_value_that_never_ends(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, with the line on which it begins."""
    monkeypatch.setattr("gemini_batch.jsonl.MAX_LINE", 100)
    (shell.folder / "in.jsonl").write_bytes(b"[\n" + b'{"key": "' + b"x" * 200)
    done = shell.run(*FIX)
    assert done.code == 2
    assert "in.jsonl:2" in done.err
    assert "too long" in done.err


def test_what_is_fixed_can_be_sent(shell: Shell) -> None:
    """The forms of other tools, in one array: fixed, created offline, answered."""
    rows: list[object] = [
        ASK,
        {"id": 7, "request": ASK, "temperature": 0.1},
        {"custom_id": "o", "body": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8192}},
        {"batch": {"inputConfig": {"requests": {"requests": [{"request": ASK, "metadata": {"key": "m"}}]}}}},
    ]
    (shell.folder / "in.json").write_text(json.dumps(rows, indent=2))
    assert shell.run("validate", "in.json", "--fix", "-o", "out.jsonl").code == 0
    assert [row["key"] for row in copy(shell)] == ["row-1", "7", "o", "m"]
    done = shell.run("run", "out.jsonl", "--offline", "-o", "results.jsonl")
    assert done.code == 0, done.err
    results = (shell.folder / "results.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["verdict"] for line in results] == ["succeeded"] * 4


def test_the_library_has_the_same_words(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps(request("a")) + "\n" + json.dumps({"id": "a", "request": ASK}) + "\n")
    with GeminiBatch() as batch:
        found = batch.validate(path, fix=tmp_path / "out.jsonl", key_duplicates="number")
        assert found.valid
        assert found.fixed is not None
        assert [(one.what, one.count) for one in found.fixed.changes] == [
            ("renamed `id` to `key`", 1),
            ("numbered keys that an earlier line has", 1),
        ]
        with pytest.raises(UsageError):
            batch.validate(path, key_from="id")
        with pytest.raises(UsageError):
            batch.validate(path, fix=tmp_path / "x.jsonl", key_duplicates="last")  # type: ignore[arg-type]
