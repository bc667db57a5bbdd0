"""A folder of texts: names that no key chooses, and the user's files stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.answers.media_folder import MANIFEST
from gemini_batch.errors import UsageError
from gemini_batch.tables.outputs.folder import TextFolder
from tables.outputs.tables import texts

if TYPE_CHECKING:
    from pathlib import Path

NASTY = [
    "../../up",
    "/etc/passwd",
    "a/b",
    "..",
    ".",
    "",
    "con",
    "CON.txt",
    "a\0b",
    "ä",
    "\ud800",
    "x" * 300,
    "A",
    "a",
    "a~2",
]


@given(rows=st.lists(st.tuples(st.sampled_from(NASTY) | texts, texts), max_size=8))
def test_one_file_for_each_row_in_the_folder(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    parent = tmp_path_factory.mktemp("texts")
    folder = TextFolder(parent / "out", run="run-1")

    paths = [folder.write(key, text) for key, text in rows]

    assert len(set(paths)) == len({path.name.lower() for path in paths}) == len(rows)
    assert all(path.parent == parent / "out" for path in paths)
    assert [path.read_bytes() for path in paths] == [text.encode() for _, text in rows]
    assert folder.files == len(rows)
    assert set((parent / "out").glob("*")) - {parent / "out" / MANIFEST} == set(paths)
    assert [path.name for path in parent.iterdir()] in ([], ["out"])


def test_keys_name_the_files_and_a_repeated_key_is_numbered(tmp_path: Path) -> None:
    folder = TextFolder(tmp_path, ending="md")

    names = [folder.write(key, "x").name for key in ("sku-1", "sku-1", "Ünïcode key", "sku-1", "sku-1~2")]

    assert names[:2] + names[3:4] == ["sku-1.md", "sku-1~2.md", "sku-1~3.md"]
    assert names[2].startswith("n-code-key-")
    assert len(set(names)) == 5


def test_writing_again_gives_the_same_names_and_replaces_what_has_changed(tmp_path: Path) -> None:
    first = TextFolder(tmp_path)
    paths = [first.write(key, "old") for key in ("a", "b", "b")]

    second = TextFolder(tmp_path)
    again = [second.write(key, text) for key, text in (("a", "old"), ("b", "new"), ("b", "old"))]

    assert again == paths
    assert [path.read_text() for path in paths] == ["old", "new", "old"]
    assert second.files == 1


@pytest.mark.parametrize("edited", [False, True])
def test_a_file_of_the_users_is_never_replaced(edited: bool, tmp_path: Path) -> None:
    if edited:
        TextFolder(tmp_path).write("a", "ours")
    (tmp_path / "a.txt").write_text("theirs")
    checker = TextFolder(tmp_path).checker()
    assert checker is not None

    for writer in (checker, TextFolder(tmp_path)):
        with pytest.raises(UsageError, match="--output-dir would replace this file") as caught:
            writer.write("a", "new")
        assert (caught.value.field, caught.value.file) == ("--output-dir", str(tmp_path / "a.txt"))
    assert (tmp_path / "a.txt").read_text() == "theirs"


def test_a_checker_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "theirs.txt").write_text("theirs")
    checker = TextFolder(tmp_path).checker()
    assert checker is not None

    checker.write("a", "x")

    assert [path.name for path in tmp_path.iterdir()] == ["theirs.txt"]
    assert TextFolder(tmp_path / "new").checker() is None


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(UsageError, match="not a folder") as caught:
        TextFolder(tmp_path / "file").check_place()
    assert caught.value.field == "--output-dir"


def test_half_a_surrogate_pair_becomes_a_sign_of_its_own(tmp_path: Path) -> None:
    assert TextFolder(tmp_path).write("a", "x\ud83dy").read_text("utf-8") == "x\ufffdy"
    assert TextFolder(tmp_path).write("b", "\r\nx\n").read_bytes() == b"\r\nx\n"
