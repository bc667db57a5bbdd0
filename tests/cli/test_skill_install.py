"""``skill install``: what it writes, what it brings up to date, and what it leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import skill_copy
from gemini_batch import __version__, errors
from gemini_batch.commands import skill
from gemini_batch.commands.skill import RECORD, install, plan
from gemini_batch.jsonl import sha256_of

if TYPE_CHECKING:
    from cli.conftest import Shell

HERE = Path(".agents/skills/gemini-batch")


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, without the record."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """The skill of some version: three files."""
    folder = tmp_path / "version"
    (folder / "scripts" / "__pycache__").mkdir(parents=True)
    (folder / "SKILL.md").write_text("one\n")
    (folder / "scripts" / "run.py").write_text("two\n")
    (folder / "scripts" / "run.py").chmod(0o755)
    (folder / "scripts" / "old.py").write_text("three\n")
    (folder / "scripts" / "__pycache__" / "run.pyc").write_text("no")
    (folder / "secrets.txt").write_text("not a part of the skill")
    return folder


def next_version(folder: Path) -> None:
    (folder / "SKILL.md").write_text("one, again\n")
    (folder / "scripts" / "old.py").unlink()


# The command ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "at_home", "place"),
    [
        ([], False, ".agents"),
        (["--claude"], False, ".claude"),
        (["--user"], True, ".agents"),
        (["--user", "--claude"], True, ".claude"),
    ],
)
def test_the_skill_is_copied(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str], at_home: bool, place: str
) -> None:
    """Byte for byte, without a network; the second time, nothing is left to do."""
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "person"))
    root = tmp_path / "person" if at_home else shell.folder
    expected = {name: data for name, (data, _) in skill_copy.files(skill_copy.ROOT).items()}

    done = shell.run("skill", "install", *options)

    assert done.code == 0, done
    folder = root / place / "skills" / "gemini-batch"
    assert (shell.folder / done.out.strip()) == folder
    assert content(folder) == expected
    assert (folder / "scripts" / "run_batch.py").stat().st_mode & 0o111
    assert f"{len(expected)} files written" in done.err
    again = shell.run("skill", "install", *options)
    assert (again.code, again.out) == (0, done.out)
    assert "up to date" in again.err


def test_json(shell: Shell) -> None:
    first = shell.run("skill", "install", "--json").document
    assert first["command"] == "skill"
    assert first["result"]["folder"] == str(HERE)
    assert first["result"]["version"] == __version__
    assert "SKILL.md" in first["result"]["written"]
    assert shell.run("skill", "install", "--json").document["result"]["written"] == []


def test_an_edited_copy_is_refused_and_force_replaces_it(shell: Shell) -> None:
    shell.run("skill", "install", "--claude")
    page = shell.folder / ".claude/skills/gemini-batch/SKILL.md"
    original = page.read_bytes()
    page.write_text("mine\n")

    refused = shell.run("skill", "install", "--claude")

    assert (refused.code, refused.out) == (2, "")
    assert "SKILL.md" in refused.err
    assert "skill install --claude --force" in refused.err
    assert page.read_text() == "mine\n"
    assert shell.run("skill", "install", "--claude", "--json").document["error"]["code"] == "skill_edited"
    assert shell.run("skill", "install", "--claude", "--force").code == 0
    assert page.read_bytes() == original


@pytest.mark.parametrize("words", [["skill"], ["skill", "remove"], ["skill", "install", "more"]])
def test_what_is_no_action_is_refused(shell: Shell, words: list[str]) -> None:
    done = shell.run(*words)
    assert done.code == 2
    assert "skill --help" in done.err
    assert not (shell.folder / ".agents").exists()


# What is written, and what is left alone ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "recorded", "new", "expected"),
    [
        ({}, {}, {"a": "1"}, (["a"], [], [])),  # nothing there
        ({"a": "1"}, {}, {"a": "1"}, ([], [], [])),  # the same file, by whomever
        ({"a": "1"}, {"a": "1"}, {"a": "2"}, (["a"], [], [])),  # ours, and older
        ({"a": "0"}, {"a": "1"}, {"a": "2"}, (["a"], [], ["a"])),  # edited
        ({"a": "0"}, {}, {"a": "1"}, (["a"], [], ["a"])),  # someone else's
        ({"a": None}, {}, {"a": "1"}, (["a"], [], ["a"])),  # a link or a folder
        ({"a": None}, {"a": "1"}, {"a": "1"}, (["a"], [], ["a"])),
        ({}, {"a": "1"}, {"a": "1"}, (["a"], [], [])),  # deleted by the user
        ({"a": "1"}, {"a": "1"}, {}, ([], ["a"], [])),  # ours, no longer needed
        ({"a": "0"}, {"a": "1"}, {}, ([], [], [])),  # the same, edited: it stays
        ({}, {"a": "1"}, {}, ([], [], [])),
        ({"b": "9"}, {}, {"a": "1"}, (["a"], [], [])),  # not of our concern
    ],
)
def test_the_plan(
    there: dict[str, str | None],
    recorded: dict[str, str],
    new: dict[str, str],
    expected: tuple[list[str], list[str], list[str]],
) -> None:
    assert plan(there, recorded, new) == expected


def test_a_later_version_replaces_and_removes_what_is_ours(version: Path, tmp_path: Path) -> None:
    folder = tmp_path / "installed"
    first = install(folder, source=version)
    assert first.written == ["SKILL.md", "scripts/old.py", "scripts/run.py"]
    (folder / "notes.md").write_text("the user's")
    next_version(version)

    second = install(folder, source=version)

    assert (second.written, second.removed) == (["SKILL.md"], ["scripts/old.py"])
    assert content(folder) == {"SKILL.md": b"one, again\n", "scripts/run.py": b"two\n", "notes.md": b"the user's"}
    assert install(folder, source=version).written == []


def test_an_old_file_that_was_edited_stays(version: Path, tmp_path: Path) -> None:
    folder = tmp_path / "installed"
    install(folder, source=version)
    (folder / "scripts" / "old.py").write_text("the user's")
    next_version(version)

    assert install(folder, source=version).removed == []
    assert (folder / "scripts" / "old.py").read_text() == "the user's"


@pytest.mark.parametrize("stopped", range(3))
def test_an_installation_that_was_cut_off_is_finished_by_the_next(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: int
) -> None:
    """Also an update: what it wrote is known by its content, although the record is still the old one."""
    folder = tmp_path / "installed"
    install(folder, source=version)
    for name in ("SKILL.md", "scripts/run.py", "scripts/old.py"):
        (version / name).write_text(f"{name}, again\n")
    copy, calls = skill._copy, iter(range(10))

    def cut(source: Path, target: Path) -> None:
        if next(calls) == stopped:
            raise KeyboardInterrupt
        copy(source, target)

    monkeypatch.setattr(skill, "_copy", cut)
    with pytest.raises(KeyboardInterrupt):
        install(folder, source=version)
    monkeypatch.undo()

    assert len(install(folder, source=version).written) == 3 - stopped
    assert content(folder)["scripts/run.py"] == b"scripts/run.py, again\n"


@pytest.mark.parametrize("place", ["", "scripts", "SKILL.md"])
def test_nothing_is_written_through_a_link(version: Path, tmp_path: Path, place: str) -> None:
    """A link of another installer, or of a repository: refused, and with force replaced, never followed."""
    folder, elsewhere = tmp_path / "skills" / "gemini-batch", tmp_path / "elsewhere"
    install(elsewhere, source=version)
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).symlink_to(elsewhere / place)
    (elsewhere / "SKILL.md").write_text("precious")
    (elsewhere / "scripts" / "run.py").write_text("precious")
    before = content(elsewhere)

    with pytest.raises(errors.UsageError, match="not written by this command"):
        install(folder, source=version)
    install(folder, source=version, force=True)

    assert content(elsewhere) == before
    assert not (folder / place).is_symlink()
    assert (folder / "SKILL.md").read_text() == "one\n"


@pytest.mark.parametrize(
    "name", ["../outside.txt", "scripts/../../outside.txt", "notes.md", ".git/hooks/x", "scripts//x", "OUTSIDE"]
)
def test_a_record_removes_nothing_but_files_of_the_skill(version: Path, tmp_path: Path, name: str) -> None:
    """A record comes with a repository, from anyone: it may name any file, with the right hash."""
    folder = tmp_path / "project" / "gemini-batch"
    install(folder, source=version)
    target = Path(str(tmp_path / "outside.txt")) if name == "OUTSIDE" else folder / name
    name = str(target) if name == "OUTSIDE" else name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("precious")
    record = json.loads((folder / RECORD).read_text())
    record["files"][name] = sha256_of(target)
    (folder / RECORD).write_text(json.dumps(record))

    assert install(folder, source=version).removed == []
    assert target.read_text() == "precious"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": 3}', '{"files": {"SKILL.md": null}}', "\udcff"])
def test_a_record_that_cannot_be_read_protects_the_files(version: Path, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "installed"
    install(folder, source=version)
    (folder / RECORD).write_bytes(text.encode("utf-8", "surrogateescape"))
    next_version(version)

    with pytest.raises(errors.UsageError):
        install(folder, source=version)
    assert (folder / "SKILL.md").read_text() == "one\n"


def test_a_package_without_a_skill_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(skill, "__file__", str(tmp_path / "src" / "gemini_batch" / "commands" / "skill.py"))
    with pytest.raises(errors.StateError, match="has no skill") as caught:
        skill.packaged()
    assert caught.value.exit_code == 3


def test_the_skill_in_a_wheel_comes_before_that_of_a_clone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(skill, "__file__", str(tmp_path / "src" / "gemini_batch" / "commands" / "skill.py"))
    for folder in ("src/gemini_batch/.agents/skills/gemini-batch", "skills/gemini-batch"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "SKILL.md").touch()
    assert skill.packaged() == tmp_path / "src/gemini_batch/.agents/skills/gemini-batch"
