"""The results of shards that are finished: kept, recognised, replaced only by better ones, and retried."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from commands.test_shards import (
    FAILED,
    KEYS,
    ONCE,
    answers,
    entry,
    four,
    good,
    manifest,
    most_spent,
    request,
    runs,
    work,
)
from commands.views import ask
from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, answer_line
from gemini_batch.commands.cancel import cancel
from gemini_batch.commands.clean_local import clean_local
from gemini_batch.commands.results import results
from gemini_batch.commands.retry import retry
from gemini_batch.commands.run import run
from gemini_batch.commands.shards import run_shards
from gemini_batch.engine.settling import count_earlier
from gemini_batch.errors import Next, NotFinished, UsageError
from gemini_batch.intake.submission import Submission
from gemini_batch.report.shards.folder import AnswersFolder
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.commands.clean import Cleaned
    from gemini_batch.report.shards.answers import ShardsSummary


@pytest.fixture
def service() -> FakeService:
    return FakeService(Clock())


def with_model(service: FakeService, folder: Path, model: str, output: str = "answers") -> ShardsSummary:
    path = folder / "shards.jsonl"
    submission = Submission(source=path, model=model)
    found: ShardsSummary = ask(
        service, folder, lambda s: run_shards(s, path, submission, RunOptions(), output=folder / output)
    )
    return found


def bad(key: str) -> bytes:
    error = {"code": 3, "message": "no", "status": "INVALID_ARGUMENT"}
    return json.dumps({"error": error, "key": key}).encode()


def retried(service: FakeService, folder: Path) -> Path:
    """Work, retry what failed in the second shard as it is recommended; returns the file of its results."""
    following = work(service, folder).next
    assert isinstance(following, Next)
    run_id, service.answer = following.args[0], answer_line
    output = next(path for path in (folder / "answers").glob("part-1-*.jsonl") if "failures" not in path.name)
    ask(service, folder, lambda s: retry(s, run_id, FAILED, output=output))
    return output


def cleaned_away(service: FakeService, folder: Path) -> list[str]:
    """``clean --local``: the runs whose answers were deleted."""

    async def clean(session: FakeSession) -> Cleaned:
        return clean_local(session, dry_run=False, older_than=-1.0)

    freed: list[str] = ask(service, folder, clean).freed
    return freed


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "answers" / "manifest.jsonl").read_bytes().splitlines()]


def test_nothing_is_to_cancel_of_a_finished_shard_whose_results_are_where_they_were_written(
    tmp_path: Path, service: FakeService
) -> None:
    four(tmp_path)
    work(service, tmp_path)
    for folder in runs(tmp_path):
        found = ask(service, tmp_path, partial(cancel, name=folder.path.name))
        assert not found.asked
        assert found.answers == found.requests
        assert (found.next.command, found.next.args) == ("report", (folder.path.name,))


def test_results_that_were_moved_are_not_paid_for_again(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    work(service, tmp_path)
    (tmp_path / "answers").rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError) as refused:
        work(service, tmp_path)
    assert refused.value.reason_code == "results_moved"
    assert str(tmp_path / "answers") in refused.value.message
    assert not (tmp_path / "answers").exists()
    assert service.paid() == ONCE
    assert work(service, tmp_path, new=True).exit_code == 0
    assert service.paid() == dict.fromkeys(KEYS, 2)
    assert answers(tmp_path) == good()


def test_rows_that_did_not_succeed_can_be_retried_shard_by_shard(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    bad = b'{"error": {"code": 3, "message": "no", "status": "INVALID_ARGUMENT"}, "key": "d"}'
    service.answer = lambda key: bad if key == "d" else answer_line(key)
    found = work(service, tmp_path)
    assert (found.exit_code, found.verdicts) == (1, {"succeeded": 7, "failed": 1})
    assert answers(tmp_path) == {**good(), "d": "failed"}
    (failures,) = (tmp_path / "answers").glob("*.failures.jsonl")
    assert json.loads(failures.read_bytes())["key"] == "d"
    assert found.next is not None
    command, (run_id, *_) = found.next.command, found.next.args  # type: ignore[union-attr]
    assert command == "retry"
    service.answer = answer_line
    output = next(path for path in (tmp_path / "answers").glob("part-1-*.jsonl") if "failures" not in path.name)
    ask(service, tmp_path, lambda s: retry(s, run_id, FAILED, output=output))
    assert work(service, tmp_path).exit_code == 0
    assert answers(tmp_path) == good()
    assert not list((tmp_path / "answers").glob("*.failures.jsonl"))
    assert service.paid() == {**ONCE, "d": 2}


def test_a_finished_shard_says_where_its_results_are(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    work(service, tmp_path)
    name = runs(tmp_path)[0].path.name
    with pytest.raises(UsageError) as refused:
        ask(service, tmp_path, lambda s: results(s, name))
    assert "a shard" in refused.value.message


def test_results_of_another_model_replace_none(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    work(service, tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "answers").glob("part-*")}
    bad = '{"error": {"code": 3, "message": "no", "status": "INVALID_ARGUMENT"}, "key": "%s"}'
    service.answer = lambda key: (bad % key).encode()
    assert with_model(service, tmp_path, "gemini-2.5-flash").verdicts == {"failed": 8}
    assert before == {path: path.read_bytes() for path in before}
    assert work(service, tmp_path).verdicts == {"succeeded": 8}  # nor are they taken for those of the first one
    assert with_model(service, tmp_path, "gemini-2.5-flash").verdicts == {"failed": 8}


def test_worse_results_of_new_replace_none(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    bad = b'{"error": {"code": 3, "message": "no", "status": "INVALID_ARGUMENT"}, "key": "d"}'
    service.answer = lambda key: bad if key == "d" else answer_line(key)
    assert work(service, tmp_path).exit_code == 1
    service.answer = answer_line
    assert work(service, tmp_path, new=True).exit_code == 0
    service.answer = lambda key: bad if key == "d" else answer_line(key)
    found = work(service, tmp_path)  # goes on with the newest, and nothing is left to be done of it
    assert (found.exit_code, found.verdicts) == (0, {"succeeded": 8})
    assert service.paid() == dict.fromkeys(KEYS, 2)


@pytest.mark.parametrize("lost", ["manifest.jsonl", "*.parquet"])
def test_results_that_are_there_are_recognised(tmp_path: Path, service: FakeService, lost: str) -> None:
    four(tmp_path)
    first = work(service, tmp_path)
    for path in (tmp_path / "answers").glob(lost):
        path.unlink()
    again = work(service, tmp_path)
    assert again.verdicts == first.verdicts
    assert again.usd == pytest.approx(first.usd)
    assert answers(tmp_path) == good()
    assert service.paid() == ONCE


def test_two_manifests_share_a_folder(tmp_path: Path, service: FakeService) -> None:
    lines = [json.loads(line) for line in four(tmp_path).read_bytes().splitlines()]
    manifest(tmp_path, lines[:2])
    work(service, tmp_path)
    manifest(tmp_path, lines[1:])
    assert work(service, tmp_path).finished == 3
    assert answers(tmp_path) == good()
    assert service.paid() == ONCE


def test_the_file_of_a_finished_shard_is_not_sent_again(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    work(service, tmp_path)
    with pytest.raises(UsageError) as refused:
        ask(service, tmp_path, lambda s: run(s, Submission(source=tmp_path / "part-1.jsonl"), None))
    assert refused.value.reason_code == "sent_as_shard"
    assert service.paid() == ONCE
    ask(service, tmp_path, lambda s: run(s, Submission(source=tmp_path / "part-1.jsonl", new=True), None))
    assert service.paid() == {**ONCE, "c": 2, "d": 2, "e": 2}


def test_a_finished_shard_whose_file_was_changed_keeps_nothing_from_being_counted(
    tmp_path: Path, service: FakeService
) -> None:
    """What a job of it costs was not known when it was sent, so another run counts it."""
    service.clock.now = 1_795_000_000.0  # when prices were known
    four(tmp_path)
    work(service, tmp_path)
    (tmp_path / "part-0.jsonl").write_bytes(request("x"))

    async def counts(session: FakeSession) -> None:
        ledger = session.ledger()
        unknown = [ledger.update_job(job, "unknown", at=1.0, unbounded=None, settled=None) for _, job in ledger.jobs()]
        count_earlier(session, unknown)
        assert all(ledger.job(job.id).settled is not None for job in unknown)

    ask(service, tmp_path, counts)


@pytest.mark.parametrize("of_shard", [False, True])
def test_a_shard_that_has_the_content_of_another_run_is_refused(
    tmp_path: Path, service: FakeService, of_shard: bool
) -> None:
    ours, others = request("a") + request("b"), request("c") + request("d")
    first, second = entry(tmp_path, "a.jsonl", ours), entry(tmp_path, "b.jsonl", others)
    service.answer = lambda key: bad(key) if key == "b" else answer_line(key)
    if of_shard:
        manifest(tmp_path, [first])
        work(service, tmp_path)
        manifest(tmp_path, [first, second])
    else:
        ask(service, tmp_path, lambda s: run(s, Submission(source=tmp_path / "a.jsonl"), None))
        manifest(tmp_path, [second])
    (tmp_path / "b.jsonl").write_bytes(ours)  # of the same size, with as many requests
    with pytest.raises(UsageError) as refused:
        work(service, tmp_path)
    assert (refused.value.reason_code, refused.value.field) == ("shard_differs", "sha256")
    assert [line["uri"] for line in lines_of(tmp_path)] == (["a.jsonl"] if of_shard else [])


def test_failed_requests_stay_failed_when_their_run_is_cleaned_away(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    service.answer = lambda key: bad(key) if key == "d" else answer_line(key)
    found = work(service, tmp_path)

    assert cleaned_away(service, tmp_path)
    for again in range(2):
        if again:
            (tmp_path / "answers" / "manifest.jsonl").unlink()
        counted = work(service, tmp_path)
        assert (counted.exit_code, counted.verdicts) == (1, found.verdicts)
        assert "clean --local" in str(counted.next)
    assert service.paid() == ONCE


def test_a_process_that_ends_before_it_writes_the_manifest_loses_no_results(
    tmp_path: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    four(tmp_path)
    service.answer = lambda key: bad(key) if key == "d" else answer_line(key)
    output = retried(service, tmp_path)

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(AnswersFolder, "put_manifest", die)
        with pytest.raises(Killed):
            work(service, tmp_path)
    assert work(service, tmp_path).verdicts == {"succeeded": 8}
    assert answers(tmp_path) == good()
    old = output.read_bytes().replace(b'"succeeded"', b'"failed"', 1)
    output.write_bytes(old)  # what was written there last is something else
    with pytest.raises(UsageError) as refused:
        work(service, tmp_path)
    assert refused.value.reason_code == "results_moved"


def test_a_table_that_retry_did_not_write_anew_is_no_answer(tmp_path: Path, service: FakeService) -> None:
    """And no one can write it, because the answers are deleted."""
    four(tmp_path)
    service.answer = lambda key: bad(key) if key == "d" else answer_line(key)
    retried(service, tmp_path)
    assert cleaned_away(service, tmp_path)
    assert work(service, tmp_path).verdicts == {"succeeded": 8}
    named = [[one["file"].rpartition(".")[2] for one in line["answers"]] for line in lines_of(tmp_path)]
    assert named == [["jsonl", "parquet"], ["jsonl"], ["jsonl", "parquet"], ["jsonl", "parquet"]]


def test_what_new_has_entered_is_no_earlier_answer(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path, maxOutputTokens=1000)
    most_spent(service, tmp_path)
    work(service, tmp_path)
    with pytest.raises(NotFinished) as ended:
        work(service, tmp_path, RunOptions(max_nano_usd=1_000_000), new=True)
    assert ended.value.reason_code == "budget_reached"
    assert len(runs(tmp_path)) == 8
    assert "--new had not come to" not in ended.value.message


def test_what_new_has_not_come_to_is_said(tmp_path: Path) -> None:
    service = FakeService(Clock())
    manifest(tmp_path, [entry(tmp_path, f"{number}.jsonl", request(f"k{number}")) for number in range(8)])
    service.polls_to_end = 1
    work(service, tmp_path)
    service.polls_to_end, service.most_jobs = 10**6, 2
    with pytest.raises(NotFinished) as ended:
        work(service, tmp_path, new=True, timeout=3600.0)
    assert "--new had not come to" in ended.value.message
