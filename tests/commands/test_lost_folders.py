"""Runs whose folder is lost before anything was sent: nothing makes the folder again, and the next step works."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, write_requests
from engine.steps import KEYS
from gemini_batch.commands.cancel import cancel
from gemini_batch.commands.clean import clean
from gemini_batch.commands.create import create
from gemini_batch.commands.doctor import doctor
from gemini_batch.commands.list_jobs import Filter, list_jobs
from gemini_batch.commands.results import results
from gemini_batch.commands.retry import RetrySelection, retry
from gemini_batch.commands.run import run
from gemini_batch.commands.status import status
from gemini_batch.errors import Error, Next
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.run_options import RequestOverrides

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gemini_batch.commands.create import Created

RUN = "run-00000001"
ALL: dict[str, Callable[[FakeSession], Awaitable[Any]]] = {
    "run": lambda s: run(s, RUN, None),
    "retry": lambda s: retry(s, RUN, RetrySelection(verdicts=("missing",), overrides=RequestOverrides())),
    "status": lambda s: status(s, RUN),
    "status --wait": lambda s: status(s, RUN, wait=True),
    "results": lambda s: results(s, RUN),
    "cancel": lambda s: cancel(s, RUN),
    "list": lambda s: list_jobs(s, Filter()),
    "list --refresh": lambda s: list_jobs(s, Filter(), refresh=True),
    "doctor": doctor,
    "clean": lambda s: clean(s, dry_run=False),
    "clean --not-created": lambda s: clean(s, dry_run=False, not_created=True),
    "clean --not-created --dry-run": lambda s: clean(s, dry_run=True, not_created=True),
}
#: The commands that propose a step for the run.
PROPOSING = ("status", "results", "cancel", "doctor", "list", "list --refresh")


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", KEYS)
    return FakeService(Clock(), chunk=10_000)


def do(service: FakeService, folder: Path, verb: Callable[[FakeSession], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        async with FakeSession(service, folder / "home") as session:
            try:
                return await verb(session)
            except (Error, Killed) as error:
                return error

    return asyncio.run(whole())


def lose(service: FakeService, folder: Path, *, in_doubt: bool) -> Path:
    """A create that ends before, or during, the call that matters; then its run folder is lost."""
    call = "create" if in_doubt else "start_upload"
    service.faults = {(call, 0): ("after" if in_doubt else "before", Killed())}  # type: ignore[dict-item]
    order = Submission(source=folder / "in.jsonl", model="gemini-2.5-flash")
    assert isinstance(do(service, folder, lambda s: create(s, order)), Killed)
    service.faults = {}
    place = folder / "home" / "runs" / RUN
    shutil.rmtree(place)
    return place


@pytest.mark.parametrize("in_doubt", [False, True])
@pytest.mark.parametrize("command", ALL)
def test_no_command_makes_the_folder_again(
    service: FakeService, tmp_path: Path, command: str, *, in_doubt: bool
) -> None:
    place = lose(service, tmp_path, in_doubt=in_doubt)

    do(service, tmp_path, ALL[command])

    assert not place.exists()


def steps(found: Any) -> list[Next]:
    """The commands that an answer or an error proposes."""
    all_of_it = [*getattr(found, "findings", ()), *(found if isinstance(found, list) else [found])]
    return [one.next for one in all_of_it if isinstance(getattr(one, "next", None), Next)]


@pytest.mark.parametrize("command", PROPOSING)
def test_the_requests_can_be_entered_anew(service: FakeService, tmp_path: Path, command: str) -> None:
    lose(service, tmp_path, in_doubt=False)

    following = steps(do(service, tmp_path, ALL[command]))

    source = tmp_path / "in.jsonl"
    assert following, "something is proposed"
    assert {str(one) for one in following} == {
        f"gemini-batch create {source} --model gemini-2.5-flash --new  (sends every request; this costs money)"
    }
    made: Created = do(
        service, tmp_path, lambda s: create(s, Submission(source=source, model="gemini-2.5-flash", new=True))
    )
    assert (made.attached, service.paid()) == (False, dict.fromkeys(KEYS, 1))


@pytest.mark.parametrize("in_doubt", [False, True])
def test_the_list_shows_what_is_lost(service: FakeService, tmp_path: Path, *, in_doubt: bool) -> None:
    lose(service, tmp_path, in_doubt=in_doubt)

    (one,) = do(service, tmp_path, ALL["list"])

    assert (one.run, one.state, one.total) == (RUN, "NOT_CREATED", len(KEYS))


@pytest.mark.parametrize("command", PROPOSING)
def test_a_job_that_may_exist_is_looked_for_at_the_service(service: FakeService, tmp_path: Path, command: str) -> None:
    """Its requests may have been paid for, so they are not offered to be sent."""
    lose(service, tmp_path, in_doubt=True)

    following = steps(do(service, tmp_path, ALL[command]))

    shown = f"gemini-batch list --remote  (shows whether the job of {RUN} was created)"
    assert shown in {str(one) for one in following}
    assert not [one for one in following if one.command in {"create", "run"}]
    assert "batches/job0" in {one.job for one in do(service, tmp_path, lambda s: list_jobs(s, Filter(), remote=True))}
