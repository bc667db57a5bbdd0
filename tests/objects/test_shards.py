"""A run over shards in a bucket, with its results in one: each row paid once, and little on this machine."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from commands.test_shards import FAILED, good, request
from commands.views import ask
from engine.fake import FakeService, Killed, answer_line
from engine.steps import EVERY
from gemini_batch import GeminiBatch
from gemini_batch.commands import shards
from gemini_batch.commands.doctor import doctor
from gemini_batch.commands.estimate import estimate
from gemini_batch.commands.retry import retry
from gemini_batch.commands.shards import run_shards
from gemini_batch.errors import Error, InvalidInput, NotFinished, ServiceError, StateError, UsageError
from gemini_batch.intake.submission import Submission, enter_run
from gemini_batch.objects import stores
from gemini_batch.objects.lock import ObjectLock
from gemini_batch.objects.lock_policy import TRUSTED
from gemini_batch.objects.mirror import Mirror
from gemini_batch.report.result_set import Results
from gemini_batch.report.shards import folder as folder_of_answers
from gemini_batch.store.ledger.run_options import RunOptions
from objects.buckets import StillClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.objects.address import Address
    from gemini_batch.report.shards.answers import ShardsSummary
    from objects.buckets import Bucket, Calls


SHARDS = (("a", "b"), ("d", "g"))
KEYS = [key for shard in SHARDS for key in shard]
ONCE = dict.fromkeys(KEYS, 1)


@pytest.fixture(autouse=True)
def without_parquet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet takes most of the time, and is not what these tests are about."""
    monkeypatch.setattr(folder_of_answers, "is_installed", lambda _: False)


@pytest.fixture
def service() -> FakeService:
    return FakeService(StillClock())


def put_shards(bucket: Bucket, *, uri: str = "{name}", shards: Sequence[Sequence[str]] = SHARDS) -> str:
    """Shards and their manifest in a bucket; returns its address."""
    lines = []
    for number, keys in enumerate(shards):
        data, name = b"".join(map(request, keys)), f"part-{number}.jsonl"
        bucket.put(f"in/{name}", data)
        facts = {"requests": len(keys), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        lines.append({"uri": uri.format(name=name, address=bucket / f"in/{name}"), **facts})
    return bucket.put("in/shards.jsonl", b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def work(
    service: FakeService, folder: Path, bucket: Bucket, *, manifest: Any = None, new: bool = False, **more: Any
) -> ShardsSummary:
    """``run --shards …/shards.jsonl -o …/answers/`` in a process of its own."""
    manifest = manifest or bucket / "in/shards.jsonl"
    found: ShardsSummary = ask(
        service,
        folder,
        lambda s: run_shards(
            s, manifest, Submission(source=Path("x"), new=new), RunOptions(), output=bucket / "answers/", **more
        ),
    )
    return found


def answers(bucket: Bucket) -> dict[str, str]:
    """What the results say, by key; each key once, each file counted by the manifest."""
    found: dict[str, str] = {}
    for line in map(json.loads, bucket.get("answers/manifest.jsonl").splitlines()):
        for file in line["answers"]:
            data = bucket.get(f"answers/{file['file']}")
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
        rows = [json.loads(row) for row in bucket.get(f"answers/{line['answers'][0]['file']}").splitlines()]
        assert len(rows) == line["requests"] == sum(line["verdicts"].values())
        for row in rows:
            assert row["key"] not in found
            found[row["key"]] = row["response"]["text"] if row["verdict"] == "succeeded" else row["verdict"]
    return found


def copies(folder: Path) -> list[str]:
    """Copies of shards and answers on this machine."""
    home = folder / "home"
    shards = [path for path in home.rglob("*.jsonl") if path.parent.name not in {"raw", "parts"}]
    return [str(path) for path in (*shards, *home.rglob(".new-*"))]


@pytest.mark.parametrize("uri", ["{name}", "../in/{name}", "{address}"])
def test_a_manifest_in_a_bucket_names_shards_there(
    tmp_path: Path, service: FakeService, memory: Bucket, uri: str
) -> None:
    put_shards(memory, uri=uri, shards=SHARDS[:1])
    work(service, tmp_path, memory)
    assert answers(memory) == good(SHARDS[0])


def test_each_request_of_each_shard_is_answered_and_paid_for_once(
    tmp_path: Path, service: FakeService, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_of_answers, "is_installed", lambda _: True)
    put_shards(bucket)
    found = work(service, tmp_path, bucket)
    assert answers(bucket) == good(KEYS)
    assert service.paid() == ONCE
    assert (found.finished, found.exit_code) == (2, 0)
    assert (found.folder, found.manifest) == (bucket / "answers", bucket / "answers/manifest.jsonl")
    assert not [name for name in bucket.names() if name.endswith((".lock", ".part"))]
    assert copies(tmp_path) == []


def test_a_manifest_on_this_machine_names_objects(tmp_path: Path, service: FakeService, memory: Bucket) -> None:
    put_shards(memory, uri="{address}")
    (tmp_path / "shards.jsonl").write_bytes(memory.get("in/shards.jsonl"))
    work(service, tmp_path, memory, manifest=tmp_path / "shards.jsonl")
    assert answers(memory) == good(KEYS)


def test_a_repeated_command_reads_no_shard_and_sends_nothing(
    tmp_path: Path, service: FakeService, memory: Bucket, calls: Calls
) -> None:
    put_shards(memory)
    work(service, tmp_path, memory)
    calls.made.clear()
    again = work(service, tmp_path, memory)
    assert again.exit_code == 0
    assert service.paid() == ONCE
    assert answers(memory) == good(KEYS)
    assert not [path for _, path in calls.made if "part-" in path and "answers" not in path]


def test_a_shard_is_read_to_be_checked_and_to_be_sent_and_each_answer_is_put_once(
    tmp_path: Path, service: FakeService, memory: Bucket, calls: Calls
) -> None:
    put_shards(memory)
    calls.made.clear()
    work(service, tmp_path, memory)
    got = [path for name, path in calls.made if name == "get" and path.startswith("in/part-")]
    put = [path for name, path in calls.made if name == "put" and path.startswith("answers/part-")]
    assert sorted(got) == [f"in/part-{number}.jsonl" for number in range(2) for _ in range(2)]
    assert len(put) == len(set(put)) == 2


def test_killed_at_any_call_of_the_store_it_goes_on(
    tmp_path: Path, memory: Bucket, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, close = ObjectLock.release, Mirror.close
    # A process that is killed removes nothing.
    monkeypatch.setattr(ObjectLock, "release", lambda self: None if calls.dies_at is not None else release(self))
    monkeypatch.setattr(Mirror, "close", lambda self: None if calls.dies_at is not None else close(self))
    for number in itertools.count(step=4 * EVERY):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        service = FakeService(StillClock())
        for name in memory.names():
            memory.delete(name)
        put_shards(memory)
        calls.made.clear()
        calls.dies_at = number
        try:
            work(service, folder, memory)
        except Killed:
            calls.dies_at = None
            work(service, folder, memory)
        else:
            assert number > 20
            calls.dies_at = None
            break
        assert answers(memory) == good(KEYS)
        assert service.paid() == ONCE
        assert copies(folder) == []


def test_what_fails_for_a_moment_is_resent_from_the_bucket(
    tmp_path: Path, service: FakeService, memory: Bucket
) -> None:
    put_shards(memory)
    busy = b'{"error": {"code": 14, "message": "busy", "status": "UNAVAILABLE"}, "key": "%s"}'
    service.answer_at = lambda key, attempt: busy % key.encode() if key in "bdg" and attempt == 1 else answer_line(key)
    assert work(service, tmp_path, memory).exit_code == 0
    assert answers(memory) == good(KEYS)
    assert service.paid() == {"a": 1, "b": 2, "d": 2, "g": 2}
    assert copies(tmp_path) == []


def test_a_shard_that_was_changed_is_refused_and_one_that_was_copied_is_not(
    tmp_path: Path, service: FakeService, bucket: Bucket
) -> None:
    put_shards(bucket)
    busy = b'{"error": {"code": 14, "message": "busy", "status": "UNAVAILABLE"}, "key": "b"}'
    service.answer_at = lambda key, attempt: busy if key == "b" and attempt == 1 else answer_line(key)

    def change(_: int) -> None:
        if "b" in service.paid():  # the answers of the other shard may come before this one is sent
            bucket.put("in/part-0.jsonl", request("a") + request("B"))

    service.on_download = change
    with pytest.raises(StateError) as refused:
        work(service, tmp_path, bucket)
    assert (refused.value.reason_code, refused.value.file) == ("shard_changed", bucket / "in/part-0.jsonl")
    assert service.paid() == ONCE  # neither row of it was sent again
    service.on_download = lambda _: None
    bucket.put("in/part-0.jsonl", request("a") + request("b"))  # the same content in another object
    assert work(service, tmp_path, bucket).exit_code == 0
    assert answers(bucket) == good(KEYS)


def test_a_shard_that_is_gone_or_differs_is_said_before_anything_is_sent(
    tmp_path: Path, service: FakeService, memory: Bucket
) -> None:
    put_shards(memory)
    memory.delete("in/part-1.jsonl")
    memory.put("in/part-0.jsonl", b"longer than before" * 100)
    with pytest.raises(InvalidInput) as refused:
        work(service, tmp_path, memory)
    assert [(one.line, one.field) for one in refused.value.problems] == [(1, "bytes"), (2, "uri")]
    assert refused.value.file == memory / "in/shards.jsonl"
    assert service.paid() == {}


def test_a_shard_of_the_same_size_that_is_another_is_not_sent(
    tmp_path: Path, service: FakeService, memory: Bucket
) -> None:
    put_shards(memory, shards=(("a", "b"),))
    memory.put("in/part-0.jsonl", request("a") + request("x"))
    with pytest.raises(UsageError) as refused:
        work(service, tmp_path, memory)
    told = refused.value
    assert (told.reason_code, told.file, told.line) == ("shard_differs", memory / "in/shards.jsonl", 1)
    assert told.message.startswith("part-0.jsonl has the sha256 ")
    assert service.paid() == {}


def test_a_wrong_line_of_a_shard_is_named_by_the_address_of_its_object(
    tmp_path: Path, service: FakeService, memory: Bucket
) -> None:
    put_shards(memory, shards=[("a", "a")])
    with pytest.raises(InvalidInput) as refused:
        work(service, tmp_path, memory)
    told = refused.value
    assert (told.file, told.problems[0].line) == (memory / "in/part-0.jsonl", 2)
    assert f"validate {memory / 'in/part-0.jsonl'} --fix -o {memory / 'in/part-0-2.jsonl'}" in str(
        told.problems[0].next
    )
    assert str(tmp_path) not in json.dumps(told.as_json())


def test_what_a_killed_process_left_on_this_machine_is_removed(
    tmp_path: Path, service: FakeService, memory: Bucket
) -> None:
    put_shards(memory)
    left = tmp_path / "home" / "objects" / "at-hand" / "7" / "part-7.jsonl"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"left")
    work(service, tmp_path, memory)
    assert copies(tmp_path) == []


def test_the_doctor_looks_for_the_requests_in_the_bucket(tmp_path: Path, service: FakeService, memory: Bucket) -> None:
    put_shards(memory)
    refused = b'{"error": {"code": 3, "message": "no", "status": "INVALID_ARGUMENT"}, "key": "%s"}'
    service.answer_at = lambda key, _: refused % key.encode()
    work(service, tmp_path, memory)

    assert ask(service, tmp_path, doctor).findings == []
    memory.put("in/part-0.jsonl", request("a") + request("x"))
    memory.delete("in/part-1.jsonl")
    said = [finding.message for finding in ask(service, tmp_path, doctor).findings]
    assert len(said) == 2
    assert any("part-0.jsonl: This shard was changed" in message for message in said)
    assert any("part-1.jsonl: This shard is not in its bucket" in message for message in said)


@pytest.mark.parametrize("error", [ServiceError("away", code="object_store"), UsageError("no", code="object_refused")])
def test_a_bucket_that_cannot_be_read_any_more_keeps_no_other_file_from_being_estimated(
    tmp_path: Path, service: FakeService, memory: Bucket, monkeypatch: pytest.MonkeyPatch, error: Error
) -> None:
    put_shards(memory)
    refused = b'{"error": {"code": 3, "message": "no", "status": "INVALID_ARGUMENT"}, "key": "%s"}'
    service.answer_at = lambda key, _: refused % key.encode() if key == "g" else answer_line(key)
    work(service, tmp_path, memory)  # one shard is finished, and the other one is not

    def look(_: object) -> None:
        raise error

    monkeypatch.setattr(stores, "look", look)
    (tmp_path / "other.jsonl").write_bytes(request("z"))
    found = ask(service, tmp_path, lambda s: estimate(s, Submission(source=tmp_path / "other.jsonl"), RunOptions()))
    assert found.requests == 1


def test_no_shard_is_copied_and_one_result_is_here_at_a_time(
    tmp_path: Path, memory: Bucket, monkeypatch: pytest.MonkeyPatch, service: FakeService
) -> None:
    put_shards(memory, shards=[[f"{number}"] for number in range(8)])
    most = dict.fromkeys(("entering", "writing"), 0)

    def counts(name: str, original: Any) -> Any:
        def counted(*args: Any, **more: Any) -> Any:
            most[name] = max(most[name], len(list((tmp_path / "home" / "objects" / "at-hand").rglob("part-*.jsonl"))))
            return original(*args, **more)

        return counted

    monkeypatch.setattr(shards, "enter_run", counts("entering", enter_run))
    monkeypatch.setattr(Mirror, "put", counts("writing", Mirror.put))
    work(service, tmp_path, memory)
    assert most == {"entering": 0, "writing": 1}
    assert copies(tmp_path) == []


def test_earlier_results_are_not_here_while_they_are_written_anew(
    tmp_path: Path, service: FakeService, memory: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_shards(memory)
    bad = b'{"error": {"code": 3, "message": "no", "status": "INVALID_ARGUMENT"}, "key": "%s"}'
    service.answer_at = lambda key, _: bad % key.encode()
    work(service, tmp_path, memory)
    check, write, there = Results.check, Results.write, list[str]()

    def checked(results: Results, path: Path) -> None:
        there.append(f"checked {path.exists()}")
        check(results, path)

    def written(results: Results, path: Path) -> int:
        there.append(f"written {path.exists()}")
        return write(results, path)

    monkeypatch.setattr(Results, "check", checked)
    monkeypatch.setattr(Results, "write", written)
    work(service, tmp_path, memory)
    assert there == ["checked True", "written False", "checked False"] * 2


def test_another_machine_is_kept_out(tmp_path: Path, service: FakeService, bucket: Bucket) -> None:
    put_shards(bucket)
    refused: list[StateError] = []

    def meanwhile(_: Any) -> None:
        if not refused:
            with ThreadPoolExecutor(1) as other, pytest.raises(StateError) as locked:
                other.submit(work, FakeService(StillClock()), tmp_path / "other", bucket).result()
            refused.append(locked.value)

    service.on_download = meanwhile
    work(service, tmp_path, bucket)
    assert [(error.reason_code, error.exit_code) for error in refused] == [("locked", 3)]
    assert refused[0].file == bucket / "answers/.lock"
    assert answers(bucket) == good(KEYS)


def test_what_another_machine_has_answered_is_not_paid_for_again(
    tmp_path: Path, service: FakeService, memory: Bucket
) -> None:
    put_shards(memory)
    work(service, tmp_path / "first", memory)
    with pytest.raises(UsageError) as refused:
        work(service, tmp_path / "second", memory)
    assert (refused.value.reason_code, refused.value.exit_code) == ("answered_elsewhere", 2)
    assert refused.value.file == memory / "answers/manifest.jsonl"
    assert "--new" in str(refused.value.next)
    assert service.paid() == ONCE
    work(service, tmp_path / "second", memory, new=True)
    assert service.paid() == dict.fromkeys(KEYS, 2)


def test_a_rehearsal_offline_does_not_count_as_another_machine(
    tmp_path: Path, service: FakeService, memory: Bucket
) -> None:
    """The manifest of answers has lines of a run that only the offline state folder knows."""
    put_shards(memory)
    with GeminiBatch(offline=True) as batch:
        batch.run_shards(memory / "in/shards.jsonl", output=memory / "answers")
    work(service, tmp_path, memory)
    assert service.paid() == ONCE
    assert len(memory.get("answers/manifest.jsonl").splitlines()) == 4


def test_the_lock_is_lost_before_anything_further_is_sent(
    tmp_path: Path, memory: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StillClock()
    service = FakeService(clock)
    put_shards(memory, shards=[[f"{number}"] for number in range(12)])
    original = service.create
    made: list[str] = []

    async def create(*args: Any, **more: Any) -> Any:
        made.append("create")
        memory.delete("answers/.lock")  # and this process was suspended
        clock.pass_by(TRUSTED)
        return await original(*args, **more)

    monkeypatch.setattr(service, "create", create)
    with pytest.raises(StateError) as lost:
        work(service, tmp_path, memory)
    assert lost.value.reason_code == "lock_lost"
    assert len(made) <= 1
    assert not [name for name in memory.names() if name.startswith("answers/")]  # they are another process's by now


def test_rows_that_did_not_succeed_stand_next_to_the_results(
    tmp_path: Path, service: FakeService, memory: Bucket
) -> None:
    put_shards(memory)
    bad = b'{"error": {"code": 3, "message": "no", "status": "INVALID_ARGUMENT"}, "key": "b"}'
    service.answer_at = lambda key, _: bad if key == "b" else answer_line(key)
    found = work(service, tmp_path, memory)
    assert found.exit_code == 1
    (failures,) = [name for name in memory.names() if name.endswith(".failures.jsonl")]
    assert json.loads(memory.get(failures))["key"] == "b"
    assert "s3://bucket/answers/part-0-" in str(found.next)
    service.answer_at = lambda key, _: answer_line(key)
    run = str(found.next).split()[2]
    ask(service, tmp_path, lambda s: retry(s, run, FAILED, output=None))
    assert work(service, tmp_path, memory).exit_code == 0
    assert answers(memory) == good(KEYS)
    assert not [name for name in memory.names() if name.endswith(".failures.jsonl")]


def test_while_earlier_results_are_fetched_the_lock_can_be_refreshed(
    tmp_path: Path, service: FakeService, memory: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = b'{"error": {"code": 3, "message": "no", "status": "INVALID_ARGUMENT"}, "key": "b"}'
    service.answer_at = lambda key, _: bad if key == "b" else answer_line(key)
    put_shards(memory)
    work(service, tmp_path, memory)
    fetched, threads = Mirror.fetch_to_write, list[bool]()

    def watched(*given: Any) -> Path:
        threads.append(threading.current_thread() is threading.main_thread())
        return fetched(*given)

    monkeypatch.setattr(Mirror, "fetch_to_write", watched)
    work(service, tmp_path, memory)
    assert threads
    assert not any(threads)


def test_results_that_were_removed_are_not_paid_for_again(tmp_path: Path, service: FakeService, memory: Bucket) -> None:
    put_shards(memory)
    work(service, tmp_path, memory)
    for name in memory.names():
        if name.startswith("answers/part-0"):
            memory.delete(name)
    with pytest.raises(UsageError) as refused:
        work(service, tmp_path, memory)
    assert refused.value.reason_code == "results_moved"
    assert "s3://bucket/answers" in refused.value.message
    assert service.paid() == ONCE


def test_a_manifest_of_answers_that_is_lost_is_written_anew(
    tmp_path: Path, service: FakeService, memory: Bucket
) -> None:
    put_shards(memory)
    work(service, tmp_path, memory)
    memory.delete("answers/manifest.jsonl")
    assert work(service, tmp_path, memory).exit_code == 0
    assert answers(memory) == good(KEYS)


def test_other_objects_in_the_place_are_not_replaced(tmp_path: Path, service: FakeService, memory: Bucket) -> None:
    put_shards(memory)
    memory.put("answers/manifest.jsonl", b"mine")
    with pytest.raises(UsageError) as refused:
        work(service, tmp_path, memory)
    assert (refused.value.reason_code, refused.value.file) == ("bad_output", "s3://bucket/answers/manifest.jsonl")
    assert memory.get("answers/manifest.jsonl") == b"mine"
    assert service.paid() == {}


def test_a_time_that_is_over_leaves_nothing_locked(tmp_path: Path, memory: Bucket) -> None:
    service = FakeService(StillClock(), polls_to_end=10**6)
    put_shards(memory)
    with pytest.raises(NotFinished):
        work(service, tmp_path, memory, timeout=60.0)
    assert "answers/.lock" not in memory.names()
    assert copies(tmp_path) == []


def test_results_of_finished_shards_are_fetched_in_a_thread(
    bucket: Bucket, service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the lock is refreshed, however long it takes."""
    put_shards(bucket)
    work(service, tmp_path, bucket)
    bucket.delete("answers/manifest.jsonl")
    fetch, where = Mirror.fetch, set[bool]()

    def watched(mirror: Mirror, address: Address, told: Any) -> Path:
        where.add(threading.current_thread() is threading.main_thread())
        return fetch(mirror, address, told)

    monkeypatch.setattr(Mirror, "fetch", watched)
    assert work(service, tmp_path, bucket).verdicts == {"succeeded": 4}
    assert where == {False}
