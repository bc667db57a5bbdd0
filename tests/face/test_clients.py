"""Two clients, one set of verbs: the same words and defaults, one ledger and one connection over many calls."""

from __future__ import annotations

import asyncio
import gc
import inspect
import signal
import sqlite3
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

import gemini_batch
from gemini_batch import AsyncGeminiBatch, GeminiBatch, JobSeen, Notice, Settings, Transfer, UsageError, aio, client
from gemini_batch.api.client import Client
from gemini_batch.cli import COMMANDS
from gemini_batch.cli.shards import TAKEN
from gemini_batch.engine import judging
from gemini_batch.intake.table_options import TableOptions
from gemini_batch.store.state_folder import StateFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gemini_batch import Event
    from gemini_batch.testing import GeminiEmulator

VERBS = [
    "adopt",
    "cancel",
    "clean",
    "create",
    "doctor",
    "estimate",
    "list_jobs",
    "prepare",
    "results",
    "retry",
    "run",
    "run_shards",
    "show",
    "spend_report",
    "status",
    "validate",
]
each_verb = pytest.mark.parametrize("verb", VERBS)


# The same words -------------------------------------------------------------------------------------------------------


def test_the_verbs_are_the_same_everywhere() -> None:
    def verbs(owner: type) -> list[str]:
        own = {name for room in owner.__mro__ for name in vars(room) if room is not object}
        return sorted(name for name in own if not name.startswith("_") and name not in {"close", "aclose"})

    assert verbs(GeminiBatch) == verbs(AsyncGeminiBatch) == VERBS
    assert [name for name in aio.__all__ if name != "AsyncGeminiBatch"] == VERBS
    assert [name for name in client.__all__ if name != "GeminiBatch"] == VERBS
    assert set(VERBS) < set(gemini_batch.__all__)


@each_verb
def test_a_verb_has_the_same_words_in_all_its_forms(verb: str) -> None:
    awaited, blocking = getattr(AsyncGeminiBatch, verb), getattr(GeminiBatch, verb)
    function, coroutine_function = getattr(gemini_batch, verb), getattr(aio, verb)

    assert inspect.signature(blocking) == inspect.signature(awaited)
    assert blocking.__doc__ == awaited.__doc__ == function.__doc__ == coroutine_function.__doc__
    without_self = list(inspect.signature(awaited).parameters.values())[1:]
    assert list(inspect.signature(function).parameters.values()) == without_self
    assert list(inspect.signature(coroutine_function).parameters.values()) == without_self
    assert inspect.iscoroutinefunction(awaited)
    assert inspect.iscoroutinefunction(coroutine_function)
    assert not inspect.iscoroutinefunction(blocking)
    assert not inspect.iscoroutinefunction(function)


def test_both_clients_are_made_with_the_same_arguments() -> None:
    assert inspect.signature(GeminiBatch) == inspect.signature(AsyncGeminiBatch)


#: What only the command line has: settings, and what only a shell asks for.
_SHELL = {
    "as_json",
    "quiet",
    "debug",
    "offline",
    "backend",
    "project",
    "location",
    "bucket",
    "poll",
    "exit_code",
    "yes",
    "no_pager",
    "fixing",
    "max_usd_basis",
    "max_usd_unknown",
}


@each_verb
def test_a_verb_and_its_command_have_the_same_words_and_defaults(verb: str) -> None:
    word = verb.removesuffix("_jobs").removesuffix("_shards").removeprefix("spend_")
    command = import_module(f"gemini_batch.cli.{COMMANDS[word][0]}").command
    given = command.make_context(verb, [], resilient_parsing=True).params
    options = {parameter.name for parameter in command.params}
    arguments = dict(inspect.signature(getattr(GeminiBatch, verb)).parameters)
    del arguments["self"]
    if arguments.pop("table", None) is not None:
        assert options >= TableOptions.__annotations__.keys()
        options -= TableOptions.__annotations__.keys()

    if verb == "run_shards":  # `run --shards MANIFEST`
        options = {"manifest" if option == "shards" else option for option in options & {*TAKEN, *_SHELL}}
        arguments["output"] = arguments["output"].replace(default=None)
    elif verb == "run":
        options.remove("shards")
    assert options - _SHELL == arguments.keys()
    for name, argument in arguments.items():
        if argument.default is not inspect.Parameter.empty:
            wanted = [",".join(argument.default)] if isinstance(argument.default, tuple) else argument.default
            assert given[name] == wanted, name


# One ledger, one connection -------------------------------------------------------------------------------------------


class Count:
    """How often ledgers and HTTP clients were opened, and how many of them are closed again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledgers = self.clients = self.clients_closed = 0
        ledger, enter, leave = StateFolder.ledger, Client.__aenter__, Client.__aexit__

        def opened(folder: StateFolder) -> Any:
            self.ledgers += 1
            return ledger(folder)

        async def entered(one: Client) -> Any:
            self.clients += 1
            return await enter(one)

        async def left(one: Client, *details: Any) -> None:
            self.clients_closed += 1
            await leave(one, *details)

        monkeypatch.setattr(StateFolder, "ledger", opened)
        monkeypatch.setattr(Client, "__aenter__", entered)
        monkeypatch.setattr(Client, "__aexit__", left)


@pytest.fixture
def here(gemini_emulator: GeminiEmulator, tmp_path: Path) -> Settings:
    """Settings of a client of the emulator, in which no job begins by itself."""
    gemini_emulator.pace(queue_delay=3600)
    from gemini_batch import Secret

    return Settings(home=tmp_path / "home", base_url=gemini_emulator.url, api_key=Secret("test"), poll=0.01)


@pytest.fixture
def requests_file(tmp_path: Path) -> Path:
    path = tmp_path / "requests.jsonl"
    line = '{"key": "KEY", "request": {"contents": [{"parts": [{"text": "Hello"}]}]}}\n'
    path.write_text(line.replace("KEY", "a") + line.replace("KEY", "b"), encoding="utf-8")
    return path


def test_twenty_calls_open_ledger_and_connection_once(
    here: Settings, requests_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Count(monkeypatch)
    with GeminiBatch(here) as batch:
        job = batch.create(requests_file).job
        states = {batch.status(job).state for _ in range(20)}

    assert states == {"JOB_STATE_PENDING"}
    # Rows are looked up in a thread, over a ledger of its own.
    assert (count.ledgers, count.clients, count.clients_closed) == (1 + 1, 1, 1)


def test_calls_that_overlap_share_ledger_and_connection(
    here: Settings, requests_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Count(monkeypatch)

    async def work() -> None:
        async with AsyncGeminiBatch(here) as batch:
            job = (await batch.create(requests_file)).job
        async with AsyncGeminiBatch(here) as batch:
            seen = await asyncio.gather(*(batch.status(job) for _ in range(20)))
            assert {one.state for one in seen} == {"JOB_STATE_PENDING"}

    asyncio.run(work())
    assert (count.ledgers, count.clients, count.clients_closed) == (2 + 1, 2, 2)


def test_a_job_of_the_emulator_turns_no_client_offline(here: Settings, requests_file: Path) -> None:
    """A name leads to where it was made; what comes after goes where the client belongs."""
    with GeminiBatch(here, offline=True) as batch:
        offline = batch.create(requests_file).job
    with GeminiBatch(here) as batch:
        assert batch.status(offline, wait=True).offline
        assert not batch.create(requests_file).offline
        assert batch.results(offline).summary.offline


# Settings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offline", [True, False])
def test_offline_goes_before_the_settings(offline: bool, here: Settings, requests_file: Path) -> None:
    other = Settings(home=here.home, base_url=here.base_url, api_key=here.api_key, offline=not offline)
    with GeminiBatch(other, offline=offline) as batch:
        assert batch.create(requests_file).offline is offline


def test_settings_are_not_read_before_they_are_needed(requests_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """validate asks nobody, so nothing that is set can be in its way."""
    monkeypatch.setenv("GEMINI_BATCH_POLL", "often")
    with GeminiBatch() as batch:
        assert batch.validate(requests_file).valid
        with pytest.raises(UsageError, match="GEMINI_BATCH_POLL"):
            batch.list_jobs()


# Threads --------------------------------------------------------------------------------------------------------------


class Threads:
    """What was told, and on which threads."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.threads: set[int] = set()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self.threads.add(threading.get_ident())

    @property
    def kinds(self) -> set[str]:
        return {event.what if isinstance(event, Transfer) else type(event).__name__ for event in self.events}


@pytest.fixture
def moving(here: Settings, gemini_emulator: GeminiEmulator, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The same with a job that takes some polls, and with word of every answer that is judged."""
    gemini_emulator.pace(queue_delay=5000)
    monkeypatch.setattr(judging, "_SHOWN_EVERY", 0)
    return here


def whole_life(emulator: GeminiEmulator, threads: Threads) -> Callable[[Event], None]:
    def told(event: Event) -> None:
        threads(event)
        if isinstance(event, JobSeen):
            emulator.advance(3600)

    return told


#: Reading and judging are done in threads, uploading and polling on the loop.
_KINDS = {"reading", "uploading", "downloading", "judging", "JobSeen"}


def test_events_arrive_on_the_thread_that_called(
    moving: Settings, requests_file: Path, gemini_emulator: GeminiEmulator
) -> None:
    threads = Threads()
    with GeminiBatch(moving, on_event=whole_life(gemini_emulator, threads)) as batch:
        job = batch.create(requests_file).job
        batch.status(job, wait=True)
        batch.results(job)

    assert threads.kinds >= _KINDS
    assert threads.threads == {threading.get_ident()}


def test_events_arrive_on_the_thread_of_the_loop(
    moving: Settings, requests_file: Path, gemini_emulator: GeminiEmulator
) -> None:
    threads = Threads()

    async def work() -> None:
        async with AsyncGeminiBatch(moving, on_event=whole_life(gemini_emulator, threads)) as batch:
            job = (await batch.create(requests_file)).job
            await batch.status(job, wait=True)
            await batch.results(job)

    asyncio.run(work())
    assert threads.kinds >= _KINDS
    assert threads.threads == {threading.get_ident()}


def test_the_blocking_client_works_where_a_loop_is_running(requests_file: Path) -> None:
    """As in a notebook; its events arrive there, too."""
    threads = Threads()

    async def cell() -> str:
        with GeminiBatch(offline=True, on_event=threads) as batch:
            made = batch.create(requests_file)
            return batch.status(made.job, wait=True).state

    assert asyncio.run(cell()) == "JOB_STATE_SUCCEEDED"
    assert threads.threads == {threading.get_ident()}


def test_each_thread_gets_the_events_of_its_own_calls(requests_file: Path, tmp_path: Path) -> None:
    wrong: list[Event] = []
    mine = threading.local()

    def told(event: Event) -> None:
        if getattr(mine, "calls", None) is None:
            wrong.append(event)
        else:
            mine.calls += 1

    def validate() -> None:
        mine.calls = 0
        assert batch.validate(requests_file).valid
        counts.append(mine.calls)

    counts: list[int] = []
    with GeminiBatch(on_event=told) as batch:
        workers = [threading.Thread(target=validate) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    assert not wrong
    assert len(counts) == 4
    assert len(set(counts)) == 1
    assert counts[0] > 0


# Endings --------------------------------------------------------------------------------------------------------------


class OwnError(Exception):
    """Raised by a handler."""


def raises_at(kind: str) -> Callable[[Event], None]:
    def told(event: Event) -> None:
        if kind in {type(event).__name__, getattr(event, "what", None)}:
            raise OwnError(kind)

    return told


each_kind = pytest.mark.parametrize("kind", ["reading", "uploading"])  # in a thread, and on the loop


@each_kind
def test_a_handler_that_raises_ends_the_call(kind: str, here: Settings, requests_file: Path) -> None:
    """In order, and the client works on."""
    with GeminiBatch(here, on_event=raises_at(kind)) as batch:
        with pytest.raises(OwnError):
            batch.create(requests_file)
        assert batch.list_jobs() is not None


@each_kind
def test_a_handler_that_raises_ends_the_awaited_call(
    kind: str, here: Settings, requests_file: Path, gemini_emulator: GeminiEmulator
) -> None:
    """At that very event: nothing was created."""

    async def work() -> None:
        async with AsyncGeminiBatch(here, on_event=raises_at(kind)) as batch:
            with pytest.raises(OwnError):
                await batch.create(requests_file)
            assert await batch.list_jobs() is not None

    asyncio.run(work())
    assert not gemini_emulator.accounting()["jobs"]


def test_a_handler_may_use_its_client(here: Settings, requests_file: Path) -> None:
    seen: list[str] = []

    def told(event: Event) -> None:
        if isinstance(event, JobSeen) and not seen:
            seen.append(batch.cancel(job, wait=False).job)

    with GeminiBatch(here, on_event=told) as batch:
        job = batch.create(requests_file).job
        assert batch.status(job, wait=True).state == "JOB_STATE_CANCELLED"
    assert seen == [job]


def test_ctrl_c_ends_the_waiting_and_not_the_job(
    here: Settings, requests_file: Path, gemini_emulator: GeminiEmulator
) -> None:
    def told(event: Event) -> None:
        if isinstance(event, JobSeen):
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    with GeminiBatch(here, on_event=told) as batch:
        job = batch.create(requests_file).job
        try:
            with pytest.raises(KeyboardInterrupt):
                batch.status(job, wait=True)
        finally:
            signal.signal(signal.SIGINT, before)
        assert batch.status(job).state == "JOB_STATE_PENDING"
    assert gemini_emulator.accounting()["jobs"]


def test_what_the_work_says_after_a_second_ctrl_c_is_heard() -> None:
    """The first lets what was begun come to its end, the second ends it at once; it still says what is in doubt."""
    said: list[str] = []

    async def work(_: AsyncGeminiBatch) -> None:
        client._post(Notice("begun"))
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            client._post(Notice("waiting"))
            try:
                await asyncio.sleep(60)
            finally:
                client._post(Notice("in doubt"))

    def heard(event: Event) -> None:
        assert isinstance(event, Notice)
        said.append(event.message)
        if event.message != "in doubt":
            raise KeyboardInterrupt

    with GeminiBatch(offline=True) as batch, pytest.raises(KeyboardInterrupt):
        batch._loop.call(work, heard)
    assert said == ["begun", "waiting", "in doubt"]


def test_a_closed_client_says_so(requests_file: Path) -> None:
    batch = GeminiBatch(offline=True)
    batch.create(requests_file)
    batch.close()
    batch.close()
    with pytest.raises(RuntimeError, match="closed"):
        batch.list_jobs()

    async def work() -> None:
        awaited = AsyncGeminiBatch(offline=True)
        await awaited.list_jobs()
        await awaited.aclose()
        with pytest.raises(RuntimeError, match="closed"):
            await awaited.list_jobs()

    asyncio.run(work())


def test_closing_ends_what_another_thread_waits_for(here: Settings, requests_file: Path) -> None:
    waiting = threading.Event()
    ended: list[bool] = []

    def told(event: Event) -> None:
        if isinstance(event, JobSeen):
            waiting.set()

    def wait() -> None:
        with pytest.raises(RuntimeError, match="closed during the call"):
            batch.status(job, wait=True)
        ended.append(True)

    batch = GeminiBatch(here, on_event=told)
    job = batch.create(requests_file).job
    worker = threading.Thread(target=wait)
    worker.start()
    assert waiting.wait(60)
    batch.close()
    worker.join()
    assert ended


def test_a_client_that_is_forgotten_is_closed(here: Settings, requests_file: Path) -> None:
    def threads() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name == "gemini-batch"]

    before = len(threads())
    batch = GeminiBatch(here)
    batch.create(requests_file)
    assert len(threads()) == before + 1
    del batch
    gc.collect()
    assert len(threads()) == before


def test_a_wrong_argument_is_refused_before_anything_begins(requests_file: Path) -> None:
    with GeminiBatch() as batch, pytest.raises(TypeError, match="modle"):
        batch.create(requests_file, modle="x")  # type: ignore[call-arg]


def test_clean_deletes_as_its_command_does(
    here: Settings, requests_file: Path, gemini_emulator: GeminiEmulator
) -> None:
    with GeminiBatch(here) as batch:
        job = batch.create(requests_file).job
        gemini_emulator.advance(7200)
        batch.results(job)
        planned = batch.clean(dry_run=True)
        done = batch.clean()
        assert not batch.clean(dry_run=True).deleted

    assert (planned.dry_run, done.dry_run) == (True, False)
    assert planned.deleted == done.deleted
    assert len(done.deleted) == 1


def test_the_ledger_is_closed_with_the_client(here: Settings, requests_file: Path) -> None:
    with GeminiBatch(here) as batch:
        batch.create(requests_file)
    path = here.home / "ledger.db"
    with sqlite3.connect(path) as database:
        database.execute("BEGIN EXCLUSIVE")
    database.close()


def test_a_client_whose_loop_cannot_begin_raises_and_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(asyncio, "new_event_loop", full)
    monkeypatch.setattr(asyncio.events, "new_event_loop", full)
    batch = GeminiBatch()
    with pytest.raises(OSError, match="Too many"):
        batch.list_jobs()
    batch.close()
