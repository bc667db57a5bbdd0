"""The journal of calls: what is on disk when it returns, and what is read from one whose process died."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from gemini_batch.engine.calling import journal as module
from gemini_batch.engine.calling.journal import Calls, Journal, cut_to_lines, read_calls

if TYPE_CHECKING:
    from pathlib import Path

LINES = [b'{"key":"a"}\n', b'{"key":"b"}\n']


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "calls", tmp_path / "answers"


def test_all_is_on_disk_when_it_returns_and_answers_first(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a buffer that dies with the process: the files are read while they are open."""
    calls, answers = places
    journal = Journal(calls, answers)
    seen: list[tuple[bytes, Calls | None]] = []

    def sync(_: int) -> None:
        seen.append((answers.read_bytes(), read_calls(calls)))

    monkeypatch.setattr(module, "_sync", sync)
    journal.write([], [], [], [1, 2, 3, 4])
    journal.write(LINES, [3], [4], [5])

    last = Calls(frozenset({1, 2, 4, 5}), frozenset({4}))
    first = Calls(frozenset({1, 2, 3, 4}), frozenset())
    assert seen == [(b"", first), (b"".join(LINES), first), (b"".join(LINES), last)]
    journal.close()


def test_what_was_refused_and_sent_again_is_in_doubt(places: tuple[Path, Path]) -> None:
    journal = Journal(*places)
    journal.write([], [], [], [1, 2])
    journal.write([], [1, 2], [], [])
    journal.write([], [], [], [2])
    journal.close()

    assert read_calls(places[0]) == Calls(frozenset({2}), frozenset())


def test_it_is_never_opened_twice(places: tuple[Path, Path]) -> None:
    Journal(*places).close()
    with pytest.raises(FileExistsError):
        Journal(*places)


@pytest.mark.parametrize("left", range(17))
def test_a_record_that_is_not_whole_was_not_sent(places: tuple[Path, Path], left: int) -> None:
    journal = Journal(*places)
    journal.write([], [], [], [7, 8])
    journal.close()
    places[0].write_bytes(places[0].read_bytes()[:left])

    assert read_calls(places[0]) == Calls(frozenset([7, 8][: left // 8]), frozenset())


@pytest.mark.parametrize("piece", [1, 5, 64 * 1024])
def test_half_a_line_is_cut_off(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(module, "_PIECE", piece)
    whole = b"".join(LINES)
    for left in range(len(whole) + 1):
        places[1].write_bytes(whole[:left])
        cut_to_lines(places[1])
        assert places[1].read_bytes() == b"".join(LINES[: left // len(LINES[0])])
    cut_to_lines(places[1].with_name("none"))


def test_both_files_are_closed_on_a_full_disk(places: tuple[Path, Path]) -> None:
    class Full:
        def close(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    journal = Journal(*places)
    journal._calls.close()
    journal._calls = Full()  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space"):
        journal.close()
    assert journal._answers.closed
