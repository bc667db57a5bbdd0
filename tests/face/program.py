"""A program over the public face alone. It is not run: mypy and pyright have to accept it as it stands, and
``test_typing`` sees to that. It uses every verb, both clients, all events, the errors and the catalog."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal  # noqa: TC003 - a program for type checkers, which runs as well
from pathlib import Path
from typing import assert_never, assert_type

import gemini_batch
from gemini_batch import (
    Adopted,
    ApiError,
    AsyncGeminiBatch,
    Cancelled,
    Cleaned,
    Created,
    Diagnosis,
    Error,
    Estimate,
    Event,
    EventHandler,
    GeminiBatch,
    InvalidInput,
    JobError,
    JobSeen,
    JobStage,
    JobStatus,
    Kind,
    Method,
    Model,
    NetworkError,
    Next,
    Notice,
    PreparedFile,
    Price,
    Problem,
    Results,
    RowError,
    RunProgress,
    RunStatus,
    Secret,
    ServiceError,
    Settings,
    ShardsSummary,
    Shown,
    ShownRun,
    Spend,
    SpendReport,
    StateError,
    Summary,
    Transfer,
    Usage,
    UsageError,
    Validated,
    Verdict,
    aio,
    cost,
    load_catalog,
    load_settings,
    price_on,
)


def told(event: Event) -> None:
    """Every kind of event, and no other."""
    match event:
        case Notice(message, level, following):
            print(level, message, following)
        case Transfer(what=what, done=done, total=total, unit=unit):
            print(what, done, total or "?", unit)
        case JobSeen(job, waited, next_poll):
            print(job.state, job.phase.ended, waited + next_poll)
        case RunProgress(run=run, verdicts=verdicts, usd=usd):
            print(run, sum(verdicts.values()), usd)
        case _:
            assert_never(event)


handler: EventHandler = told
settings = Settings(home=Path("state"), api_key=Secret("key"), offline=True, poll=0.1)
same: Settings = load_settings(offline=True, home=Path("state"))


def state_of(seen: JobStatus | RunStatus) -> str:
    """A job or a run, and what to do next."""
    following: Next | None = seen.next
    if following is not None:
        print(following.command, following.args, following.why, str(following))
    if isinstance(seen, RunStatus):
        return f"{seen.state}: {[job.state for job in seen.jobs]}"
    return f"{seen.state}: {seen.error.message if seen.error else seen.total}"


def counted(results: Results) -> dict[Verdict, int]:
    """Rows as dictionaries, lines as bytes, and the summary."""
    summary: Summary = results.summary
    count: dict[Verdict, int] = {}
    for row in results:
        verdict: Verdict = row["verdict"]
        count[verdict] = count.get(verdict, 0) + 1
    lines = [line.decode() for line in results.lines(limit=3)]
    tokens: int = summary.tokens.output
    dollars: float | None = summary.usd.batch
    reasons = [(reason.verdict, reason.reason, reason.count) for reason in summary.failures]
    print(lines, tokens, dollars, reasons, len(results))
    return count


def blocking() -> None:
    """Each verb of the client."""
    with GeminiBatch(settings, offline=True, on_event=handler) as batch:
        created = batch.create("requests.jsonl", model="m", name="n", limit=3, inline=False, new=False)
        assert_type(created, Created)
        method: Method = created.method
        seen = batch.status(created.job, wait=True)
        assert_type(seen, JobStatus | RunStatus)
        assert_type(batch.results(created.job, output=Path("results.jsonl"), media_dir="media"), Results)
        assert_type(
            batch.run(Path("requests.jsonl"), output="o.jsonl", attempts=2, tier=1, max_requests_per_job=10), Results
        )
        assert_type(batch.run_shards(Path("shards.jsonl"), output="answers", tier=1, max_usd=5), ShardsSummary)
        assert_type(batch.retry(created.run, only=("truncated",), max_output_tokens=10, temperature=1.0), Results)
        assert_type(batch.validate("requests.jsonl", limit=1), Validated)
        assert_type(batch.prepare("reviews.csv", output="requests.jsonl", prompt="{{ a }}", key="id"), PreparedFile)
        assert_type(batch.estimate("requests.jsonl", limit=5, tier=1, count=20), Estimate)
        assert_type(batch.run([{"a": 1}], prompt="{{ a }}", schema={"type": "object"}, output="o.csv"), Results)
        assert_type(batch.list_jobs(alive=True, state="running", refresh=True, remote=False), list[JobStatus])
        shown = batch.show(created.run, ["a"], verdict=("truncated",), grep="x", sample=2, sample_seed=1, limit=1)
        assert_type(shown, Shown)
        assert_type(shown.summary, ShownRun)
        assert_type([turn.text for row in shown for turn in row.answer or ()], list[str])
        report = batch.spend_report(created.run, since=dt.date(2026, 11, 1), by="model", output=Path("report.csv"))
        assert_type(report, SpendReport)
        assert_type([group.usd.batch for group in report.groups], list[float | None])
        assert_type(batch.cancel(created.job, wait=False), Cancelled)
        assert_type(batch.clean(dry_run=True, not_created=True), Cleaned)
        assert_type(batch.doctor(), Diagnosis)
        assert_type(batch.adopt(created.job, Path("in.jsonl"), output="out.jsonl"), Adopted)
        print(method, state_of(seen))


async def awaited() -> None:
    """The same for ``await``."""
    async with AsyncGeminiBatch(settings, offline=None, on_event=handler) as batch:
        created = await batch.create("requests.jsonl", model="m", name="n", limit=3, inline=False, new=False)
        assert_type(created, Created)
        assert_type(await batch.status(created.job, wait=True), JobStatus | RunStatus)
        assert_type(await batch.results(created.job, output="results.jsonl"), Results)
        assert_type(await batch.run("requests.jsonl"), Results)
        assert_type(await batch.run_shards("shards.jsonl", output="answers", timeout=60), ShardsSummary)
        assert_type(await batch.retry(created.run), Results)
        assert_type(await batch.validate("requests.jsonl"), Validated)
        assert_type(await batch.prepare([{"a": 1}], output="requests.jsonl", prompt="{{ a }}"), PreparedFile)
        assert_type(await batch.estimate([{"a": 1}], prompt="{{ a }}", new=True), Estimate)
        assert_type(await batch.list_jobs(limit=3), list[JobStatus])
        assert_type(await batch.show(created.run), Shown)
        assert_type(await batch.spend_report(since=30), SpendReport)
        assert_type(await batch.cancel(created.job), Cancelled)
        assert_type(await batch.clean(), Cleaned)
        assert_type(await batch.doctor(), Diagnosis)
        assert_type(await batch.adopt(created.job, "in.jsonl"), Adopted)
    assert_type(await aio.create("requests.jsonl", name="n"), Created)
    assert_type(await gemini_batch.aio.status("batches/abc"), JobStatus | RunStatus)


def functions() -> None:
    """Each verb as a function."""
    assert_type(gemini_batch.create("requests.jsonl", name="n"), Created)
    assert_type(gemini_batch.status("batches/abc", wait=True), JobStatus | RunStatus)
    assert_type(gemini_batch.results("batches/abc"), Results)
    assert_type(gemini_batch.run("requests.jsonl", output="results.jsonl"), Results)
    assert_type(gemini_batch.run_shards("shards.jsonl", output="answers"), ShardsSummary)
    assert_type(gemini_batch.retry("run-abc", only=["failed"]), Results)
    assert_type(gemini_batch.validate("requests.jsonl"), Validated)
    assert_type(gemini_batch.estimate("run-abcdefgh"), Estimate)
    assert_type(gemini_batch.prepare(sql="select 1 as a", output="r.jsonl", prompt="{{ a }}"), PreparedFile)
    assert_type(gemini_batch.list_jobs(), list[JobStatus])
    assert_type(gemini_batch.show("batches/abc", limit=3), Shown)
    assert_type(gemini_batch.spend_report(), SpendReport)
    assert_type(gemini_batch.cancel("batches/abc"), Cancelled)
    assert_type(gemini_batch.clean(dry_run=True), Cleaned)
    assert_type(gemini_batch.doctor(), Diagnosis)
    assert_type(gemini_batch.adopt("batches/abc", "in.jsonl"), Adopted)


def errors() -> int:
    """The tree, from the leaves up."""
    try:
        blocking()
    except InvalidInput as error:
        problems: tuple[Problem, ...] = error.problems
        print(error.total, [problem.line for problem in problems])
        return error.exit_code
    except (UsageError, StateError) as error:
        print(error.file, error.line, error.field, error.next, error.as_json())
        return error.exit_code
    except ApiError as error:
        print(error.status, error.reason, error.retry_after)
    except NetworkError as error:
        print(error.sent)
    except ServiceError as error:
        print(error.reason_code)
    except JobError as error:
        print(error.job, error.state)
    except Error as error:
        print(error.message)
    return 0


def catalog() -> Decimal | None:
    """What a million tokens cost in a batch today."""
    model: Model | None = load_catalog().find("gemini-3-flash-preview")
    today = dt.datetime.now(dt.UTC).date()
    price: Price | None = price_on(model.name, today) if model else None
    if price is None or price.batch is None or price.batch.of(Kind.INPUT) is None:
        return None
    spend: Spend = cost(Usage(input=1_000_000, known=True), price.model, today)
    return (spend + Spend()).exact


def stages(stage: JobStage) -> bool:
    """How far a job has come."""
    return stage is JobStage.COLLECTED or stage.made


def responder(model: str, request: dict[str, object]) -> dict[str, object]:
    """A row that fails, for the emulator."""
    raise RowError(3, f"{model} cannot answer {request}")


version: str = gemini_batch.__version__
