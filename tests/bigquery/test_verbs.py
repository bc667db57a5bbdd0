"""Tables of BigQuery wherever a verb takes a table, against the stand-in and with Google's client."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import itertools
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from engine.fake import Killed
from gemini_batch import GeminiBatch, ServiceError, StateError, UsageError, cli
from gemini_batch.objects.bigquery.service import BigQuery
from gemini_batch.objects.bigquery.stand_ins import StandIns
from gemini_batch.store.state_folder import StateFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bigquery.conftest import Dataset

pytestmark = pytest.mark.bigquery

WORDS = {"sku": "STRING", "name": "STRING"}
PROMPT: dict[str, Any] = {"prompt": "Describe {{ name }}", "key": "sku"}


@pytest.fixture
def batch() -> Iterator[GeminiBatch]:
    with GeminiBatch(offline=True) as found:
        yield found


def test_a_table_in_and_out(dataset: Dataset, batch: GeminiBatch) -> None:
    source = dataset.put("products", WORDS, {"sku": "b", "name": "oak"}, {"sku": "a", "name": "elm"})
    found = batch.run(source, output=dataset / "out", **PROMPT)
    assert found.summary.exit_code == 0
    rows = dataset.rows("out")
    assert [(row["sku"], row["name"], row["verdict"]) for row in rows] == [
        ("a", "elm", "succeeded"),
        ("b", "oak", "succeeded"),
    ]
    again = batch.run(source, output=dataset / "out", **PROMPT)
    assert again.summary.run == found.summary.run
    assert batch.estimate(source, **PROMPT).source == source
    assert [one.run for one in batch.list_jobs()] == [found.summary.run]


def test_the_same_rows_are_the_same_run_and_others_are_not(dataset: Dataset, batch: GeminiBatch) -> None:
    rows = [{"sku": name, "name": name * 2} for name in "abc"]
    first = batch.run(dataset.put("t", WORDS, *rows), **PROMPT).summary.run
    assert batch.run(dataset.put("u", WORDS, *reversed(rows)), **PROMPT).summary.run == first
    table = dataset.client.get_table(dataset.id("t"))
    assert dataset.client.insert_rows_json(table, [{"sku": "d", "name": "new"}]) == []
    assert batch.run(dataset / "t", **PROMPT).summary.run != first


def test_equal_keys_are_in_an_order_that_holds(dataset: Dataset, batch: GeminiBatch) -> None:
    rows = [{"sku": "a", "name": name} for name in "xyz"]
    more = {**PROMPT, "key_duplicates": "number"}
    first = batch.run(dataset.put("t", WORDS, *rows), **more).summary.run
    assert batch.run(dataset.put("u", WORDS, *reversed(rows)), **more).summary.run == first


COLUMNS = (
    *("id INTEGER", "real FLOAT", "yes BOOLEAN", "at TIMESTAMP", "day DATE", "moment DATETIME", "price NUMERIC"),
    *("huge BIGNUMERIC", "raw BYTES", "doc JSON", "tags STRING REPEATED", "nothing STRING"),
)
#: A row as it is inserted, and as Parquet has it.
ROW: dict[str, Any] = {
    "id": 7,
    "real": 0.5,
    "yes": True,
    "at": dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.UTC),
    "day": dt.date(2026, 1, 2),
    "moment": dt.datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001 - it has no zone
    "price": decimal.Decimal("12.340000001"),
    "huge": "1.00000000000000000000000000000000000001",
    "raw": b"\0\xff",
    "doc": '{"a":[1]}',
    "tags": ["x", "y"],
    "nothing": None,
    "maker": {"name": "Ann", "since": 1999},
    "parts": [{"n": 1}, {"n": 2}],
}
ARROW = pa.schema(
    {
        "id": pa.int64(),
        "real": pa.float64(),
        "yes": pa.bool_(),
        "at": pa.timestamp("us", "UTC"),
        "day": pa.date32(),
        "moment": pa.timestamp("us"),
        "price": pa.decimal128(38, 9),
        "huge": pa.string(),
        "raw": pa.binary(),
        "doc": pa.string(),
        "tags": pa.list_(pa.string()),
        "nothing": pa.string(),
        "maker": pa.struct({"name": pa.string(), "since": pa.int64()}),
        "parts": pa.list_(pa.struct({"n": pa.int64()})),
    }.items()
)


def _typed(dataset: Dataset) -> list[Any]:
    """A table of all types with one row; its columns."""
    from google.cloud import bigquery

    field: Any = bigquery.SchemaField
    schema = [field(*one.split()[:2], mode=(one.split()[2:] or ["NULLABLE"])[0]) for one in COLUMNS]
    schema.append(field("maker", "RECORD", fields=[field("name", "STRING"), field("since", "INTEGER")]))
    schema.append(field("parts", "RECORD", mode="REPEATED", fields=[field("n", "INTEGER")]))
    table = dataset.client.create_table(bigquery.Table(dataset.id("typed"), schema=schema))
    texts = {name: value.isoformat() for name, value in ROW.items() if isinstance(value, dt.date)}
    row = {**ROW, **texts, "price": str(ROW["price"]), "raw": base64.b64encode(ROW["raw"]).decode()}
    assert dataset.client.insert_rows_json(table, [row]) == []
    return schema


def test_prompts_see_what_parquet_has(dataset: Dataset, batch: GeminiBatch, tmp_path: Path) -> None:
    _typed(dataset)
    parquet.write_table(pa.Table.from_pylist([ROW], ARROW), tmp_path / "same.parquet")
    prompt = " ".join(f"{{{{ {name} }}}}" for name in [*ROW, "tags[1]", "maker.since", "parts[1].n"] if name != "raw")
    made = []
    for number, source in enumerate([dataset / "typed", str(tmp_path / "same.parquet")]):
        batch.prepare(source, output=tmp_path / f"{number}.jsonl", prompt=prompt, key="id")
        made.append((tmp_path / f"{number}.jsonl").read_bytes())
    assert made[0] == made[1]
    assert b"12.340000001" in made[0]


def test_a_table_that_is_written_has_types(dataset: Dataset, batch: GeminiBatch) -> None:
    schema = _typed(dataset)
    batch.run(dataset / "typed", output=dataset / "out", prompt="{{ price }}", key="id")
    found = {one.name: (one.field_type, one.mode) for one in dataset.client.get_table(dataset.id("out")).schema}
    for one in schema:
        kind = "STRING" if one.field_type in {"BIGNUMERIC", "JSON"} else one.field_type
        assert found[one.name] == (kind, one.mode), one.name
    (row,) = dataset.rows("out")
    assert {name: row[name] for name in ROW} == ROW


def test_a_file_in_and_results_and_retry_out(dataset: Dataset, batch: GeminiBatch, tmp_path: Path) -> None:
    """A table that gemini-batch wrote is replaced by better results."""
    (tmp_path / "t.csv").write_text("sku,name\na,elm\nb,oak\n")
    tight = {**PROMPT, "max_output_tokens": 1}
    run = batch.run(tmp_path / "t.csv", output=dataset / "out", **tight).summary.run
    assert {row["verdict"] for row in dataset.rows("out")} == {"truncated"}
    batch.retry(run, only=["truncated"], max_output_tokens=5000, output=dataset / "out")
    assert {row["verdict"] for row in dataset.rows("out")} == {"succeeded"}
    batch.results(run, output=dataset / "details", details=True)
    assert len(dataset.rows("details")[0]) > len(dataset.rows("out")[0])
    assert dataset.names() == ["details", "out"]


def test_other_tables_are_not_replaced(dataset: Dataset, batch: GeminiBatch) -> None:
    source = dataset.put("t", WORDS, {"sku": "a", "name": "elm"})
    mine = dataset.put("mine", WORDS, {"sku": "x", "name": "mine"})
    for output in (mine, dataset.put("empty", WORDS)):
        with pytest.raises(UsageError) as refused:
            batch.run(source, output=output, **PROMPT)
        assert (refused.value.reason_code, refused.value.file) == ("bad_output", output)
        assert "This table exists" in str(refused.value)
        assert "file" not in f"{refused.value} {refused.value.next}"
    assert dataset.rows("mine") == [{"sku": "x", "name": "mine"}]
    with pytest.raises(UsageError):
        batch.run(source, output=source, **PROMPT)
    assert batch.list_jobs() == []


def test_a_table_that_is_read_is_not_written(dataset: Dataset, batch: GeminiBatch) -> None:
    """Also if gemini-batch wrote it, in an earlier step."""
    source = dataset.put("t", WORDS, {"sku": "a", "name": "elm"}, {"sku": "b", "name": "oak"})
    batch.run(source, output=dataset / "out", **PROMPT)
    before = dataset.rows("out")
    with pytest.raises(UsageError, match="The rows are read from this") as refused:
        batch.run(dataset / "out", output=dataset / "out", limit=1, prefix="second_", **PROMPT)
    assert (refused.value.reason_code, refused.value.file) == ("bad_output", dataset / "out")
    assert dataset.rows("out") == before


def test_a_table_that_was_changed_since_is_not_replaced(dataset: Dataset, batch: GeminiBatch) -> None:
    source = dataset.put("t", WORDS, {"sku": "a", "name": "elm"})
    run = batch.run(source, output=dataset / "out", **PROMPT).summary.run
    table = dataset.client.get_table(dataset.id("out"))
    assert dataset.client.insert_rows_json(table, [{"sku": "theirs"}]) == []
    with pytest.raises(UsageError) as refused:
        batch.results(run, output=dataset / "out")
    assert "not as gemini-batch wrote it" in str(refused.value)
    dataset.client.delete_table(dataset.id("out"))
    batch.results(run, output=dataset / "out")  # the same file, and yet another job
    assert [row["sku"] for row in dataset.rows("out")] == ["a"]


@pytest.mark.parametrize("kind", ["image", "speech"])
def test_a_table_has_no_place_for_files(
    dataset: Dataset, batch: GeminiBatch, tmp_path: Path, kind: Literal["image", "speech"]
) -> None:
    """Their paths would name files of a folder that is removed at the end."""
    source = dataset.put("t", WORDS, {"sku": "a", "name": "elm"})
    with pytest.raises(UsageError) as early:
        batch.run(source, output=dataset / "out", kind=kind, **PROMPT)
    assert batch.list_jobs() == []
    run = batch.run(source, kind=kind, **PROMPT).summary.run
    for media_dir in (None, tmp_path / "media"):
        with pytest.raises(UsageError) as late:
            batch.results(run, output=dataset / "out", media_dir=media_dir)
        for refused in (early, late):
            assert (refused.value.reason_code, refused.value.file) == ("bad_output", dataset / "out")
    assert dataset.names() == ["t"]
    batch.results(run, output=tmp_path / "out.parquet")
    (path,) = parquet.read_table(tmp_path / "out.parquet").to_pylist()[0]["media"]
    assert (tmp_path / path).stat().st_size > 0


def test_a_table_that_appears_meanwhile_stays(
    dataset: Dataset, batch: GeminiBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, load = dataset.put("t", WORDS, {"sku": "a", "name": "elm"}), BigQuery.load

    def late(self: BigQuery, *given: Any, **more: Any) -> None:
        dataset.put("late", WORDS, {"sku": "theirs", "name": "x"})
        load(self, *given, **more)

    original = StandIns.put_all

    def early(self: StandIns, told: Any) -> None:
        dataset.put("early", WORDS, {"sku": "theirs", "name": "x"})
        original(self, told)

    for name, where, what, code in (
        ("early", StandIns, early, "object_replaced"),
        ("late", BigQuery, late, "table_not_loaded"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(where, "put_all" if where is StandIns else "load", what)
            with pytest.raises(StateError) as refused:
                batch.run(source, output=dataset / name, **PROMPT)
        assert (refused.value.reason_code, refused.value.file, refused.value.exit_code) == (code, dataset / name, 3)
        assert [row["sku"] for row in dataset.rows(name)] == ["theirs"]
    assert len({one.run for one in batch.list_jobs()}) == len(batch.list_jobs()) == 1


def test_someone_elses_lock_in_this_state_folder(dataset: Dataset, batch: GeminiBatch, tmp_path: Path) -> None:
    source = dataset.put("t", WORDS, {"sku": "a", "name": "elm"})
    folder = StateFolder(tmp_path / "home" / "offline")
    with folder.place_in_bucket(dataset / "out"), pytest.raises(StateError) as refused:
        batch.run(source, output=dataset / "out", **PROMPT)
    assert refused.value.reason_code == "locked"
    assert batch.list_jobs() == []


def _looks(**fields: Any) -> Any:
    """How a table looks that differs in some fields."""
    look = BigQuery.look

    def looked(*given: Any) -> Any:
        found = look(*given)
        return found and msgspec.structs.replace(found, **fields)

    return looked


def test_a_table_that_changes_while_it_is_read(
    dataset: Dataset, batch: GeminiBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = dataset.put("t", WORDS, {"sku": "a", "name": "elm"})
    monkeypatch.setattr(BigQuery, "look", _looks(rows=2))
    with pytest.raises(UsageError) as refused:
        batch.create(source, **PROMPT)
    assert (refused.value.reason_code, refused.value.file) == ("file_changed", source)


def test_it_is_read_as_of_one_moment(dataset: Dataset, batch: GeminiBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page, by the decorator of the table's name; the stand-in refuses to give another state than the asked."""
    from gemini_batch.objects.bigquery import service

    source = dataset.put("t", WORDS, *({"sku": str(number), "name": "x"} for number in range(5)))
    monkeypatch.setattr(service, "_PAGE", 2)
    assert batch.estimate(source, **PROMPT).requests == 5
    batches = BigQuery.batches

    def changing(*given: Any) -> Iterator[Any]:
        for number, batch in enumerate(batches(*given)):
            if number == 0:
                dataset.client.insert_rows_json(dataset.client.get_table(dataset.id("t")), [{"sku": "late"}])
            yield batch

    monkeypatch.setattr(BigQuery, "batches", changing)
    with pytest.raises(UsageError, match="keeps no history"):
        batch.estimate(source, **PROMPT)


@pytest.mark.parametrize("kind", ["VIEW", "EXTERNAL", "streaming"])
def test_what_cannot_be_read_as_of_a_moment_is_refused(
    dataset: Dataset, batch: GeminiBatch, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    source = dataset.put("t", WORDS, {"sku": "a", "name": "elm"})
    found: dict[str, Any] = {"streaming": True} if kind == "streaming" else {"kind": kind}
    monkeypatch.setattr(BigQuery, "look", _looks(**found))
    with pytest.raises(UsageError) as refused:
        batch.create(source, **PROMPT)
    assert (refused.value.reason_code, refused.value.file) == (
        "file_changed" if kind == "streaming" else "not_a_table",
        source,
    )


def test_what_is_not_there(dataset: Dataset, batch: GeminiBatch) -> None:
    source = dataset.put("t", WORDS, {"sku": "a", "name": "elm"})
    for what, output in (
        (dataset / "nothing", None),
        ("bq://a-project.nowhere.t", None),
        (source, "bq://a-project.nowhere.out"),
    ):
        with pytest.raises(UsageError) as refused:
            batch.run(what, output=output, **PROMPT)
        assert (refused.value.reason_code, refused.value.file) == ("file_not_found", output or what)
    with pytest.raises(UsageError) as empty:
        batch.create(dataset.put("empty", WORDS), **PROMPT)
    assert (empty.value.reason_code, empty.value.file) == ("empty", dataset / "empty")
    with pytest.raises(UsageError, match="no columns") as bare:
        batch.create(dataset.put("bare", {}), **PROMPT)
    assert (bare.value.reason_code, bare.value.file) == ("empty", dataset / "bare")
    assert batch.list_jobs() == []


def test_a_column_that_bigquery_does_not_take(dataset: Dataset, batch: GeminiBatch, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("sku,name (EUR)\na,elm\n")
    with pytest.raises(UsageError) as refused:
        batch.run(tmp_path / "t.csv", output=dataset / "out", prompt="{{ sku }}", key="sku")
    assert (refused.value.reason_code, refused.value.field) == ("bad_output", "--output")
    assert batch.list_jobs() == []


def test_killed_at_any_call_of_bigquery_it_goes_on(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before each call, and after it: what is paid for is paid once, and one job loads the results."""
    made: list[str] = []
    dies: list[int | None] = [None]
    loads: list[int] = []

    def watched(name: str) -> Callable[..., Any]:
        original = getattr(BigQuery, name)

        def call(*given: Any, **more: Any) -> Any:
            found = None
            for _ in range(2):
                if len(made) == dies[0]:
                    raise Killed
                made.append(name)
                if made.count(name) % 2:
                    found = original(*given, **more)
                    loads.extend([1] * (name == "load"))
            return found

        return call

    for name in ("look", "location", "batches", "job", "load", "wait"):
        monkeypatch.setattr(BigQuery, name, watched(name))
    close = StandIns.close
    # A process that is killed removes nothing.
    monkeypatch.setattr(StandIns, "close", lambda self: None if dies[0] is not None else close(self))
    for number in itertools.count():
        source = dataset.put(f"t{number}", WORDS, {"sku": "a", "name": f"number {number}"})
        output = dataset / f"out{number}"
        made.clear()
        loads.clear()
        dies[0] = number
        try:
            with GeminiBatch(offline=True) as batch:
                batch.run(source, output=output, **PROMPT)
        except Killed:
            dies[0] = None
            made.clear()
            with GeminiBatch(offline=True) as batch:
                batch.run(source, output=output, **PROMPT)
        else:
            break
        assert [row["sku"] for row in dataset.rows(f"out{number}")] == ["a"]
        assert len(loads) == 1
        with GeminiBatch(offline=True) as batch:
            assert len(batch.list_jobs()) == number + 1
    assert number > 15


def test_an_upload_that_was_in_doubt(dataset: Dataset, batch: GeminiBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error after BigQuery has taken the job is none; one before it ends the command, and the next one goes on."""
    source, load = dataset.put("t", WORDS, {"sku": "a", "name": "elm"}), BigQuery.load
    taken: list[str] = []

    def fails(self: BigQuery, *given: Any, **more: Any) -> None:
        if taken:
            load(self, *given, **more)
        taken.append(given[2])
        raise ServiceError("No answer.")

    monkeypatch.setattr(BigQuery, "load", fails)
    with pytest.raises(ServiceError):
        batch.run(source, output=dataset / "out", **PROMPT)
    assert dataset.names() == ["t"]
    batch.run(source, output=dataset / "out", **PROMPT)
    assert len(set(taken)) == 1
    assert [row["sku"] for row in dataset.rows("out")] == ["a"]
    assert len(batch.list_jobs()) == 1


def test_the_command_line_prints_addresses(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    source = dataset.put("t", WORDS, {"sku": "a", "name": "elm"}, {"sku": "b", "name": "oak"})
    tight = ["--max-output-tokens", "1"]
    command = ["run", source, "--key", "sku", "--prompt", "Describe {{ name }}", "-o", dataset / "out", "--offline"]
    assert cli.execute([*command, *tight]) == 1
    out, err = capsys.readouterr()
    assert f"Written: {dataset / 'out'}" in err
    assert ".new-" not in out + err
    assert "failures" not in err
    assert cli.execute(["estimate", dataset / "none", "--key", "sku", "--prompt", "{{ name }}", "--offline"]) == 2
    assert dataset / "none" in capsys.readouterr().err
