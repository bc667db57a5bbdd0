"""Every step that sends says that it costs money, and none says so offline, where the step works as it stands."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, write_requests
from engine.steps import KEYS
from gemini_batch import catalog
from gemini_batch.commands.cancel import cancel
from gemini_batch.commands.create import create
from gemini_batch.commands.doctor import doctor
from gemini_batch.commands.list_jobs import Filter, list_jobs
from gemini_batch.commands.results import results
from gemini_batch.commands.retry import RetrySelection, retry
from gemini_batch.commands.run import run
from gemini_batch.commands.status import status
from gemini_batch.errors import Error, Next
from gemini_batch.events import Notice
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.run_options import RequestOverrides, RunOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

RUN = "run-00000001"
OFFLINE = pytest.mark.parametrize("offline", [False, True], ids=["online", "offline"])


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", KEYS)
    return FakeService(Clock(), chunk=10_000)


def said(
    service: FakeService, folder: Path, work: Callable[[FakeSession], Awaitable[Any]], *, offline: bool
) -> list[str | Next]:
    """What one command proposes next, in its answer, its error and its notices."""

    async def whole() -> list[str | Next]:
        async with FakeSession(service, folder / "home", offline=offline) as session:
            found: list[Any] = []
            try:
                answer = await work(session)
            except Killed:
                return []
            except Error as error:
                found.append(error.next)
            else:
                found += [getattr(one, "next", None) for one in (*getattr(answer, "findings", ()), answer)]
                if isinstance(answer, list):
                    found += [one.next for one in answer]
            found += [event.next for event in session.events if isinstance(event, Notice)]
            return [one for one in found if one]

    return asyncio.run(whole())


def in_doubt(service: FakeService, folder: Path, *, offline: bool) -> None:
    service.faults = {("create", 0): ("after", Killed())}  # type: ignore[dict-item]
    said(service, folder, lambda s: create(s, Submission(source=folder / "in.jsonl")), offline=offline)
    service.faults = {}


def pays(found: list[str | Next], what: str) -> bool:
    """Whether the one step that begins so says that it costs money."""
    (text,) = {str(one) for one in found if what in str(one)}
    return "costs money" in text


@OFFLINE
@pytest.mark.parametrize(
    "verb",
    [doctor, lambda s: status(s, RUN), lambda s: results(s, RUN), lambda s: list_jobs(s, Filter()),
     lambda s: cancel(s, RUN)],
    ids=["doctor", "status", "results", "list", "cancel"],
)  # fmt: skip
def test_a_create_in_doubt_has_one_wording(service: FakeService, tmp_path: Path, verb: Any, *, offline: bool) -> None:
    in_doubt(service, tmp_path, offline=offline)

    found = said(service, tmp_path, verb, offline=offline)

    why = "finds out whether its job was created, and continues" + ("" if offline else "; this costs money")
    assert [str(one) for one in found if " adopt " not in str(one)] == [f"gemini-batch run {RUN}  ({why})"]


@OFFLINE
@pytest.mark.parametrize("verb", ["run", "retry"])
def test_a_run_whose_time_is_over(service: FakeService, tmp_path: Path, verb: str, *, offline: bool) -> None:
    service.polls_to_end = 10**9
    order = Submission(source=tmp_path / "in.jsonl")
    if verb == "run":
        found = said(service, tmp_path, lambda s: run(s, order, None, timeout=60), offline=offline)
    else:
        service.ends, service.polls_to_end = {0: ("BATCH_STATE_FAILED", None)}, 1
        said(service, tmp_path, lambda s: run(s, order, RunOptions(attempts=1)), offline=offline)
        service.polls_to_end = 10**9
        selection = RetrySelection(verdicts=("missing",), overrides=RequestOverrides())
        found = said(service, tmp_path, lambda s: retry(s, RUN, selection, timeout=60), offline=offline)

    assert pays(found, f"run {RUN}") is not offline


@OFFLINE
def test_a_retry_of_a_run_that_has_not_finished(service: FakeService, tmp_path: Path, *, offline: bool) -> None:
    in_doubt(service, tmp_path, offline=offline)
    selection = RetrySelection(verdicts=("missing",), overrides=RequestOverrides())

    assert pays(said(service, tmp_path, lambda s: retry(s, RUN, selection), offline=offline), "run") is not offline


@OFFLINE
def test_a_job_that_is_gone(service: FakeService, tmp_path: Path, *, offline: bool) -> None:
    service.polls_to_end = 10**9
    order = Submission(source=tmp_path / "in.jsonl")
    said(service, tmp_path, lambda s: create(s, order), offline=offline)
    service.jobs[0].deleted = True

    found = said(service, tmp_path, lambda s: run(s, RUN, None), offline=offline)

    assert pays([one for one in found if "resends its requests" in str(one)], "retry") is not offline


@OFFLINE
def test_two_jobs_that_an_inline_create_may_have_made(service: FakeService, tmp_path: Path, *, offline: bool) -> None:
    order = Submission(source=tmp_path / "in.jsonl", inline=True, name="one")
    service.faults = {("create", 0): ("after", Killed())}  # type: ignore[dict-item]
    said(service, tmp_path, lambda s: create(s, order), offline=offline)
    service.faults = {}
    first = service.jobs[0]
    service.jobs.append(type(first)(**{**vars(first), "name": "batches/job1"}))

    found = said(service, tmp_path, lambda s: create(s, order), offline=offline)

    assert pays(found, "use --new") is not offline


@OFFLINE
def test_a_run_that_is_too_large_for_one_job(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, offline: bool
) -> None:
    """The step names the run, which knows its model and whether it is offline."""
    order = Submission(source=tmp_path / "in.jsonl", model="gemini-2.5-flash")
    service.faults = {("start_upload", 0): ("before", Killed())}  # type: ignore[dict-item]
    said(service, tmp_path, lambda s: create(s, order), offline=offline)
    limits = catalog.load().limits
    small = msgspec.structs.replace(limits, input_file_bytes=msgspec.structs.replace(limits.input_file_bytes, value=10))
    monkeypatch.setattr(type(catalog.load()), "limits", small)

    found = said(service, tmp_path, lambda s: create(s, order), offline=offline)

    assert pays(found, f"run {RUN}") is not offline
