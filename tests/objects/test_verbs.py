"""Addresses of objects wherever a verb takes a file, offline."""

from __future__ import annotations

import csv
import errno
import io
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch import GeminiBatch, InvalidInput, Next, Notice, StateError, UsageError, cli
from gemini_batch.objects.address import parse
from gemini_batch.objects.mirror import Mirror
from gemini_batch.store.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.events import Event
    from gemini_batch.objects.address import Address
    from objects.buckets import Bucket, Calls


def requests(*keys: str, **more: Any) -> bytes:
    body = {"contents": [{"parts": [{"text": "hello"}]}], **more}
    return b"".join(json.dumps({"key": key, "request": body}).encode() + b"\n" for key in keys)


@pytest.fixture
def batch() -> Iterator[GeminiBatch]:
    with GeminiBatch(offline=True) as found:
        yield found


def left_behind(home: Path) -> list[str]:
    """Files that stood in for objects, or were to."""
    return [str(path) for path in home.rglob(".new-*")]


def test_a_request_file_and_its_results(bucket: Bucket, batch: GeminiBatch, tmp_path: Path) -> None:
    bucket.put("in/r.jsonl", requests("a", "b"))
    found = batch.run(bucket / "in/r.jsonl", output=bucket / "out/results.jsonl")
    assert found.summary.exit_code == 0
    assert bucket.names() == ["in/r.jsonl", "out/results.jsonl"]
    rows = [json.loads(line) for line in bucket.get("out/results.jsonl").splitlines()]
    assert [(row["key"], row["verdict"]) for row in rows] == [("a", "succeeded"), ("b", "succeeded")]
    home = tmp_path / "home" / "offline"
    with Ledger(home / "ledger.db") as ledger:
        run = ledger.run(found.summary.run)
        assert run is not None
        assert run.source == bucket / "in/r.jsonl"
        assert [file.path for file in ledger.outputs_of(run)] == [bucket / "out/results.jsonl"]
    assert left_behind(home) == []
    assert len(list(batch.run(found.summary.run, output=bucket / "out/results.jsonl"))) == 2  # nothing to be sent


def test_the_same_requests_are_known_again(memory: Bucket, batch: GeminiBatch) -> None:
    first = batch.run(memory.put("r.jsonl", requests("a")))
    assert batch.run(memory.put("copy.jsonl", requests("a"))).summary.run == first.summary.run


def test_requests_that_did_not_succeed_are_next_to_the_results(memory: Bucket, batch: GeminiBatch) -> None:
    bad = requests("bad", generationConfig={"maxOutputTokens": 1})
    found = batch.run(memory.put("r.jsonl", requests("a") + bad), output=memory / "x.jsonl")
    assert found.summary.exit_code == 1
    assert memory.names() == ["r.jsonl", "x.failures.jsonl", "x.jsonl"]
    assert json.loads(memory.get("x.failures.jsonl"))["key"] == "bad"
    batch.retry(found.summary.run, only=["truncated"], max_output_tokens=5000, output=memory / "x.jsonl")
    assert memory.names() == ["r.jsonl", "x.jsonl"]


def test_a_table_and_its_answers(memory: Bucket, batch: GeminiBatch) -> None:
    memory.put("t.csv", b"id,word\n1,oak\n2,elm\n")
    batch.run(memory / "t.csv", output=memory / "out.csv", prompt="A word: {{ word }}", key="id")
    rows = list(csv.DictReader(io.StringIO(memory.get("out.csv").decode())))
    assert [(row["id"], row["word"]) for row in rows] == [("1", "oak"), ("2", "elm")]
    assert all(row["text"] and row["verdict"] == "succeeded" for row in rows)


def test_several_tables_by_a_pattern(memory: Bucket, batch: GeminiBatch) -> None:
    for number in range(2):
        memory.put(f"t/{number}.csv", f"word\n{number}\n".encode())
    found = batch.estimate(memory / "t/*.csv", prompt="{{ word }}")
    assert (found.requests, found.source) == (2, memory / "t/*.csv")


def test_an_output_that_would_be_read_as_a_part_of_the_table_is_refused(memory: Bucket, batch: GeminiBatch) -> None:
    memory.put("t/a.csv", b"word\noak\n")
    with pytest.raises(UsageError) as refused:
        batch.run(memory / "t/*.csv", output=memory / "t/out.csv", prompt="{{ word }}")
    assert (refused.value.reason_code, refused.value.file) == ("bad_output", memory / "t/out.csv")


def test_what_is_wrong_with_the_requests_names_the_object(memory: Bucket, batch: GeminiBatch) -> None:
    memory.put("r.jsonl", requests("a") + b'{"key": "b"}\n')
    with pytest.raises(InvalidInput) as refused:
        batch.create(memory / "r.jsonl")
    assert refused.value.file == memory / "r.jsonl"
    assert [problem.line for problem in refused.value.problems] == [2]
    assert "/.new-" not in json.dumps(refused.value.as_json())
    assert memory / "r.jsonl" in str(refused.value.as_json()["next"])


def test_validate_and_its_corrected_copy(memory: Bucket, batch: GeminiBatch) -> None:
    memory.put("r.jsonl", requests("a") + requests("a"))
    found = batch.validate(memory / "r.jsonl", fix=memory / "fixed.jsonl", key_duplicates="number")
    assert (found.valid, found.file) == (True, memory / "fixed.jsonl")
    assert memory / "fixed.jsonl" in str(found.next)
    assert memory.get("fixed.jsonl").count(b"\n") == 2
    assert batch.validate(memory / "fixed.jsonl").valid


def test_prepare(memory: Bucket, batch: GeminiBatch) -> None:
    memory.put("t.csv", b"word\noak\n")
    found = batch.prepare(memory / "t.csv", output=memory / "r.jsonl", prompt="{{ word }}")
    assert found.file == memory / "r.jsonl"
    assert b"oak" in memory.get("r.jsonl")


def test_results_and_report(memory: Bucket, batch: GeminiBatch, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(requests("a"))
    run = batch.run(tmp_path / "r.jsonl").summary.run
    batch.results(run, output=memory / "r.parquet")
    batch.spend_report(output=memory / "spent.csv")
    assert memory.get("r.parquet").startswith(b"PAR1")
    assert memory.names() == ["r.parquet", "spent.csv"]


def test_other_objects_are_not_replaced(memory: Bucket, batch: GeminiBatch) -> None:
    memory.put("r.jsonl", requests("a"))
    memory.put("mine.jsonl", b"mine\n")
    with pytest.raises(UsageError) as refused:
        batch.run(memory / "r.jsonl", output=memory / "mine.jsonl")
    assert (refused.value.reason_code, refused.value.file) == ("bad_output", memory / "mine.jsonl")
    assert memory.get("mine.jsonl") == b"mine\n"
    assert memory.names() == ["mine.jsonl", "r.jsonl"]
    assert batch.list_jobs() == []


def test_someone_elses_lock_ends_it_before_anything_is_sent(memory: Bucket, batch: GeminiBatch, tmp_path: Path) -> None:
    import time

    memory.put("r.jsonl", requests("a"))
    theirs = {"host": "other", "pid": 7, "at": time.time(), "token": "theirs"}
    memory.put("x.jsonl.lock", json.dumps(theirs).encode())
    with pytest.raises(StateError) as refused:
        batch.run(memory / "r.jsonl", output=memory / "x.jsonl")
    assert (refused.value.reason_code, refused.value.file) == ("locked", memory / "x.jsonl.lock")
    assert batch.list_jobs() == []


def test_a_lost_lock_stops_a_run(memory: Bucket, batch: GeminiBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    from gemini_batch.objects import lock

    memory.put("r.jsonl", requests("a"))
    monkeypatch.setattr(lock, "is_trusted", lambda *_: False)  # so that it is looked at before the create
    events: list[Event] = []

    def lose(event: Event) -> None:
        if not events:
            memory.delete("x.jsonl.lock")
        events.append(event)

    with GeminiBatch(offline=True, on_event=lose) as other, pytest.raises(StateError) as lost:
        other.run(memory / "r.jsonl", output=memory / "x.jsonl")
    assert lost.value.reason_code == "lock_lost"
    assert [job.job for job in batch.list_jobs() if job.job and job.job.startswith("batches/")] == []
    assert memory.names() == ["r.jsonl"]


@pytest.mark.parametrize("option", ["output_dir", "media_dir"])
def test_folders_for_many_files_are_local(memory: Bucket, batch: GeminiBatch, option: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        batch.results("run-x", **{option: memory / "texts"})  # type: ignore[arg-type]
    assert refused.value.field == f"--{option.replace('_', '-')}"
    assert not Path("s3:").exists()


@pytest.mark.parametrize(
    "output", ["s3://bucket", "s3://bucket/folder/", "s3://u:SECRET@bucket/x", "s3://bucket/x?t=SECRET"]
)
def test_an_address_that_names_no_object_is_refused(memory: Bucket, batch: GeminiBatch, output: str) -> None:
    memory.put("r.jsonl", requests("a"))
    with pytest.raises(UsageError) as refused:
        batch.run(memory / "r.jsonl", output=output)
    assert refused.value.field == "--output"
    assert "SECRET" not in str(refused.value)
    assert batch.list_jobs() == []


def test_a_folder_is_refused_as_the_output_before_anything_is_sent(batch: GeminiBatch, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(requests("a"))
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError) as refused:
        batch.run(tmp_path / "r.jsonl", output=f"file://{tmp_path.resolve()}/out")
    assert refused.value.reason_code == "bad_output"
    assert batch.list_jobs() == []


def test_a_full_disk_names_the_folder_of_the_copies(
    memory: Bucket, batch: GeminiBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr(Mirror, "fetch", full)
    with pytest.raises(StateError) as failed:
        batch.run(memory / "r.jsonl")
    assert failed.value.reason_code == "disk_full"
    assert str(failed.value.file).startswith(str((tmp_path / "home").resolve()))


def test_an_object_is_fetched_once(memory: Bucket, batch: GeminiBatch, calls: Calls) -> None:
    memory.put("r.jsonl", requests("a"))
    calls.made.clear()
    batch.create(memory / "r.jsonl")
    assert calls.made == [("head", "r.jsonl"), ("get", "r.jsonl")]


def test_the_command_line_prints_addresses(bucket: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    bad = requests("bad", generationConfig={"maxOutputTokens": 1})
    bucket.put("r.jsonl", requests("a") + bad)
    assert cli.execute(["run", bucket / "r.jsonl", "-o", bucket / "out/x.jsonl", "--offline"]) == 1
    out, err = capsys.readouterr()
    assert f"Written: {bucket / 'out/x.jsonl'}" in err
    assert bucket / "out/x.failures.jsonl" in err
    assert ".new-" not in out + err


def test_an_object_that_was_replaced_meanwhile_is_not_deleted(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("out/r.failures.jsonl", b"ours\n")
    mirror = Mirror(tmp_path / "mirror")
    try:
        mirror.fetch_to_write(parse(bucket / "out/r.failures.jsonl")).unlink()
        bucket.put("out/r.failures.jsonl", b"somebody else's\n")
        with pytest.raises(StateError) as refused:
            mirror.put_all()
        assert refused.value.reason_code == "object_replaced"
        assert bucket.get("out/r.failures.jsonl") == b"somebody else's\n"
    finally:
        mirror.close()


PROMPT: dict[str, Any] = {"prompt": "About {{ name }}", "key": "id"}


@pytest.fixture
def chain(tmp_path: Path, batch: GeminiBatch) -> Path:
    """A table that gemini-batch wrote, three rows of it, which the next step reads."""
    (data := tmp_path / "data").mkdir()
    (data / "in.csv").write_text("id,name\na,x\nb,y\nc,z\n")
    batch.run(data / "in.csv", output=data / "out.csv", **PROMPT)
    (tmp_path / "linked").symlink_to(data)
    return data / "out.csv"


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("{0}/data/out.csv", "file://{0}/data/out.csv"),
        ("file://{0}/data/out.csv", "{0}/data/out.csv"),
        ("file://{0}/linked/out.csv", "file://{0}/data/out.csv"),
        ("{0}/linked/o*.csv", "file://{0}/data/out.csv"),
        ("file://{0}/data/o*.csv", "{0}/linked/out.csv"),
        ("file://{0}/data/out.csv", "file://localhost{0}/data/out.csv"),
    ],
)
def test_what_is_read_is_not_written(chain: Path, batch: GeminiBatch, tmp_path: Path, source: str, output: str) -> None:
    before, jobs = chain.read_bytes(), len(batch.list_jobs())
    with pytest.raises(UsageError, match="The rows are read from this file") as refused:
        batch.run(source.format(tmp_path), output=output.format(tmp_path), limit=1, prefix="second_", **PROMPT)
    assert refused.value.reason_code == "bad_output"
    assert (chain.read_bytes(), len(batch.list_jobs())) == (before, jobs)
    with pytest.raises(UsageError, match="The rows are read from this file"):
        batch.prepare(source.format(tmp_path), output=output.format(tmp_path), force=True, **PROMPT)
    assert chain.read_bytes() == before


def test_a_query_does_not_write_what_it_reads(chain: Path, batch: GeminiBatch) -> None:
    with pytest.raises(UsageError, match="The rows are read from this file"):
        batch.run(sql=f"SELECT * FROM '{chain}'", output=f"file://{chain}", prefix="second_", **PROMPT)


def test_a_corrected_copy_does_not_replace_the_original(batch: GeminiBatch, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(before := b"\xef\xbb\xbf" + requests("a"))
    (tmp_path / "linked").symlink_to(tmp_path)
    for source, output in (("{0}/r.jsonl", "file://{0}/linked/r.jsonl"), ("file://{0}/r.jsonl", "{0}/r.jsonl")):
        with pytest.raises(UsageError, match="--fix never changes it"):
            batch.validate(source.format(tmp_path), fix=output.format(tmp_path), force=True)
    assert (tmp_path / "r.jsonl").read_bytes() == before


def test_pictures_beside_a_table_in_a_bucket(bucket: Bucket, batch: GeminiBatch) -> None:
    """A trial first, then the rest; and all of it again."""
    source = bucket.put("in.csv", b"id,name\na,x\nb,y\n")
    more: dict[str, Any]
    for more in ({"limit": 1}, {}, {"new": True}):
        batch.run(source, output=bucket / "out/t.csv", kind="image", **PROMPT, **more)
        rows = list(csv.DictReader(io.StringIO(bucket.get("out/t.csv").decode())))
        said = [json.loads(row["media"]) for row in rows if row["verdict"] == "succeeded"]
        assert said == [["t-media/a.png"], ["t-media/b.png"]][: len(said)]
        assert len(said) == more.get("limit", 2)
    there = [name for name in bucket.names() if name.startswith("out/")]
    assert there == ["out/t-media/.gemini-batch-media.jsonl", "out/t-media/a.png", "out/t-media/b.png", "out/t.csv"]


def test_a_picture_of_somebody_else_is_kept(bucket: Bucket, batch: GeminiBatch) -> None:
    source = bucket.put("in.csv", b"id,name\na,x\n")
    bucket.put("out/t-media/a.png", b"theirs")
    with pytest.raises(StateError) as refused:
        batch.run(source, output=bucket / "out/t.csv", kind="image", **PROMPT)
    assert refused.value.reason_code == "object_replaced"
    assert bucket.get("out/t-media/a.png") == b"theirs"


def test_an_address_in_a_command_is_whole(bucket: Bucket) -> None:
    body = {"contents": [{"parts": [{"text": "x"}]}]}
    lines = [{"key": f"k{n}", "request": {**body, f"unknown{n}": 1}} for n in range(40)]
    source = bucket.put("in/r.jsonl", b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    heard: list[Event] = []
    with GeminiBatch(offline=True, on_event=heard.append) as batch:
        batch.run(source, lenient=True)
    (more,) = (event for event in heard if isinstance(event, Notice) and "more warnings" in event.message)
    assert isinstance(more.next, Next)
    assert (more.next.command, more.next.args) == ("validate", (source,))


def test_a_lock_that_is_lost_while_results_are_put_is_said(
    memory: Bucket, batch: GeminiBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine has taken it."""
    from gemini_batch.objects import lock, stores

    memory.put("r.jsonl", requests("a"))
    monkeypatch.setattr(lock, "REFRESH", 0.0)
    put, refresh, lost = stores.put_file, lock.ObjectLock.refresh, threading.Event()

    def refreshing(held: lock.ObjectLock) -> None:
        try:
            refresh(held)
        except StateError:
            lost.set()
            raise

    def slow(address: Address, path: Path) -> None:
        taken = json.loads(memory.get("x.jsonl.lock"))
        memory.put("x.jsonl.lock", json.dumps({**taken, "token": "other"}).encode())
        put(address, path)
        assert lost.wait(60.0)

    monkeypatch.setattr(lock.ObjectLock, "refresh", refreshing)
    monkeypatch.setattr(stores, "put_file", slow)
    with pytest.raises(StateError) as ended:
        batch.run(memory / "r.jsonl", output=memory / "x.jsonl")
    assert ended.value.reason_code == "lock_lost"
