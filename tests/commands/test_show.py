"""Which rows ``show`` chooses, and where each is: from recorded facts, and never more rows in memory than asked for."""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gemini_batch import GeminiBatch, Turn, UsageError
from gemini_batch.commands.show import RowSelection, contains, nearest_key, row_selection, selected
from gemini_batch.commands.shown_row import ShownRowReader, Texts, place_of
from gemini_batch.store.ledger.records import Job, JobStage
from gemini_batch.store.rows.row_records import PlacedRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROW = PlacedRow(0, "a", 0, 10, False, None, 1, 1, None, None, 0, 0, None, None, None, None)


class _Job(msgspec.Struct):
    stage: JobStage
    via: str = "batch"
    is_calling = Job.is_calling


PLACES = [
    # job, attempts, answered by, stage of the job -> place
    (None, 0, None, None, "not_sent"),
    (None, 1, None, None, "to_be_resent"),
    (None, 1, 1, None, "to_be_resent"),
    (1, 1, None, JobStage.PLANNED, "not_sent"),
    (1, 1, None, JobStage.UPLOADED, "not_sent"),
    (2, 2, 1, JobStage.PLANNED, "to_be_resent"),
    (2, 2, None, JobStage.UPLOADED, "to_be_resent"),
    (1, 1, None, JobStage.INTENDED, "in_doubt"),
    (1, 1, None, JobStage.CREATED, "in_job"),
    (2, 2, 1, JobStage.CREATED, "in_job"),
    (1, 1, None, JobStage.ENDED, "not_collected"),
    (1, 1, None, JobStage.COLLECTED, "unanswered"),
    (0, 0, -1, None, "remembered"),
    (-1, 0, None, None, "elsewhere"),
    (-2, 0, None, None, "held_back"),
    (-3, 0, 1, None, "copied"),
    (1, 1, 1, JobStage.COLLECTED, "answered"),
    (2, 2, 1, JobStage.COLLECTED, "answered"),
]


@pytest.mark.parametrize(("job", "attempts", "by", "stage", "place"), PLACES)
def test_where_a_row_is(job: int | None, attempts: int, by: int | None, stage: JobStage | None, place: str) -> None:
    inside: Any = None if stage is None else _Job(stage)

    assert place_of(ROW._replace(job=job, attempts=attempts, answered_by=by), inside) == place


def test_a_row_that_is_sent_as_a_call() -> None:
    inside: Any = _Job(JobStage.INTENDED, "flex")

    assert place_of(ROW._replace(job=1, attempts=1, answered_by=None), inside) == "calling"


# Which rows -----------------------------------------------------------------------------------------------------------


class Alive(PlacedRow):
    """A row that counts how many of its kind are in memory."""

    now = most = 0

    @classmethod
    def made(cls, seq: int) -> Alive:
        cls.now += 1
        cls.most = max(cls.most, cls.now)
        return cls(*ROW._replace(seq=seq, key=f"row-{seq}", verdict="blocked" if seq % 3 else "succeeded"))

    def __del__(self) -> None:
        type(self).now -= 1


class Reader:
    """Reads texts that hold the key, and counts how many."""

    read = 0

    def texts(self, row: PlacedRow) -> Texts:
        self.read += 1
        return Texts([Turn("user", f"Prompt of {row.key}.")], [Turn("model", "Straße")], None, damaged=False)

    def verdict(self, row: PlacedRow) -> str | None:
        return row.verdict


def rows(most: int | None = None) -> Iterator[PlacedRow]:
    Alive.now = Alive.most = 0
    return map(Alive.made, count() if most is None else range(most))


def chosen(source: Iterator[PlacedRow], reader: Any, **wanted: Any) -> list[int]:
    return [row.seq for row, _ in selected(source, reader, RowSelection(**wanted))]


@pytest.mark.parametrize(
    ("wanted", "seqs", "read"),
    [
        ({"limit": 3}, [0, 1, 2], 0),
        ({"limit": 3, "verdicts": ("succeeded",)}, [0, 3, 6], 0),
        ({"limit": 2, "grep": "ROW-1"}, [1, 10], 11),
        ({"limit": 1, "grep": "row-11", "verdicts": ("blocked",)}, [11], 8),
    ],
)
def test_no_more_is_read_than_is_needed(wanted: dict[str, Any], seqs: list[int], read: int) -> None:
    """Of rows without end; texts are read only to search them."""
    reader, source = Reader(), rows()

    assert chosen(source, reader, **wanted) == seqs
    assert reader.read == read
    assert next(source).seq == seqs[-1] + 1
    assert Alive.most <= 5


def test_all_rows_pass_one_by_one() -> None:
    for row, _ in islice(selected(rows(), Reader(), RowSelection()), 10_000):  # type: ignore[arg-type]
        del row
    assert Alive.most <= 5


def test_a_sample_holds_no_more_rows_than_it_has() -> None:
    reader = Reader()

    found = chosen(rows(10_000), reader, sample=7, verdicts=("blocked",))

    assert len(found) == 7
    assert found == sorted(found)
    assert all(seq % 3 for seq in found)
    assert reader.read == 0
    assert Alive.most <= 12


def test_the_same_seed_is_the_same_sample_and_a_larger_one_contains_it() -> None:
    few, again, more, other = (
        chosen(rows(1000), Reader(), sample=size, sample_seed=seed) for size, seed in ((5, 0), (5, 0), (50, 0), (5, 1))
    )

    assert few == again
    assert set(few) < set(more)
    assert few != other


def test_a_limit_after_a_sample_and_a_sample_of_few() -> None:
    assert chosen(rows(3), Reader(), sample=9) == [0, 1, 2]
    assert chosen(rows(3), Reader(), sample=9, limit=2) == [0, 1]


@pytest.mark.parametrize(
    ("text", "found"), [("b", True), ("WHY", True), ("STRASSE", True), ("why? yes", False), ("x", False)]
)
def test_a_text_is_found_in_the_key_the_prompt_and_the_answer(text: str, found: bool) -> None:
    assert contains(text, "B", Texts([Turn("user", "Why?")], [Turn("model", "Straße")], "x", damaged=False)) == found
    assert not contains("y", "b", Texts(None, None, None, damaged=False))


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("row-17", "row-017"),
        ("ROW-018", "row-018"),
        ("row017", "row-017"),
        ("row-03x", "row-030"),
        ("zebra", None),
        ("", None),
    ],
)
def test_the_nearest_key(typed: str, near: str | None) -> None:
    assert nearest_key(typed, (f"row-{number:03}" for number in range(50))) == near


def test_the_nearest_of_keys_without_end() -> None:
    assert nearest_key("row-17x", (f"row-{number}" for number in count())) == "row-17"


@pytest.mark.parametrize("wanted", [{"sample": 0}, {"limit": 0}, {"limit": -1}, {"verdict": ["good"]}])
def test_what_cannot_be_asked_for(wanted: dict[str, Any]) -> None:
    arguments = {"verdict": None, "grep": None, "sample": None, "sample_seed": 0, "limit": None, **wanted}
    with pytest.raises(UsageError) as caught:
        row_selection(None, **arguments)
    assert caught.value.reason_code == "bad_argument"


def test_one_word_is_a_list_of_one() -> None:
    found = row_selection("abc", verdict="failed, missing", grep=None, sample=None, sample_seed=0, limit=None)

    assert (found.keys, found.verdicts) == (("abc",), ("failed", "missing"))


# A run ----------------------------------------------------------------------------------------------------------------


def test_the_library_reads_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, read = ShownRowReader.texts, []

    def counted(reader: ShownRowReader, row: PlacedRow) -> Texts:
        read.append(row.key)
        return texts(reader, row)

    monkeypatch.setattr(ShownRowReader, "texts", counted)
    body = {"contents": [{"parts": [{"text": "Hello"}]}]}
    file = tmp_path / "in.jsonl"
    file.write_bytes(b"".join(msgspec.json.encode({"key": f"k{n}", "request": body}) + b"\n" for n in range(20)))
    with GeminiBatch(offline=True) as batch:
        run = batch.run(file).summary.run
        shown = batch.show(run)
        assert read == []
        assert [row.key for row in islice(shown, 3)] == read == ["k0", "k1", "k2"]
        assert [row.key for row in batch.show(run, ["k9", "k3", "k9"])] == ["k9", "k3"]
        (one,) = batch.show(run, "k3")
    assert one.prompt == [Turn("user", "Hello")]
    assert one.answer is not None
    assert "Hello" in one.answer[0].text
    assert len(list(shown)) == 20, "it can be read again, also when the client is closed"
