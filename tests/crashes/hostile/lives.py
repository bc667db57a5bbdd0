"""The people who use the hostile service: processes that work on one state folder, die anywhere, and come again."""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from crashes.hostile.service import BASE, EPOCH, Lies, Service
from crashes.hostile.virtual_time import run_in_no_time
from crashes.hostile.wire import Weather, Wire, draw_weather
from engine.fake import Killed, write_requests
from gemini_batch.api.client import Client
from gemini_batch.backend import Backend, GeminiService
from gemini_batch.commands.create import create
from gemini_batch.commands.list_jobs import Filter, list_jobs
from gemini_batch.commands.results import results
from gemini_batch.commands.retry import RetrySelection, retry
from gemini_batch.commands.run import run
from gemini_batch.commands.status import status
from gemini_batch.errors import Error, Next
from gemini_batch.intake.submission import Submission
from gemini_batch.report.result_set import Results
from gemini_batch.session import Session
from gemini_batch.settings import Secret, Settings
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.run_options import RequestOverrides, RunOptions
from gemini_batch.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from gemini_batch.errors import Error as AnyError

KEY = "AIzaSyHostile-TheKeyOfThisWorld_0123456789"
#: No life and no command may take longer, in seconds of its own time.
LONGEST = 60 * 86_400.0
#: So many requests are more than anything sensible sends.
MOST_REQUESTS = 20_000
COMMANDS = ("run", "run", "run", "run briefly", "create", "status", "results", "list")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One world, drawn from its seed."""

    seed: int
    keys: tuple[str, ...]
    size: int
    inline: bool
    lies: Lies
    weather: Weather
    #: Who is there at the same time, life after life: a command each, and how many breaths it lives.
    lives: tuple[tuple[tuple[str, int | None], ...], ...]
    power_cuts: bool
    jumps: tuple[float, ...]

    @classmethod
    def of(cls, seed: int) -> Scenario:
        """The same for the same seed, always."""
        chance = random.Random(seed)

        def some(value: float) -> float:
            return value if chance.random() < 0.3 else 0.0

        def death() -> int | None:
            return None if chance.random() < 0.4 else int(2 ** chance.uniform(2, 11))

        lies = Lies(
            hides=some(0.3), repeats=some(0.5), stale=some(0.3), no_input=some(0.7), mixes_up=some(0.3), odd=some(0.5),
            foreign=chance.choice([0, 0, 3]), page=chance.choice([1, 2, 100]), listed_late=some(20.0),
            output_late=some(5_000.0), complete_late=some(20_000.0), vanish=some(0.3),
            skew=chance.choice([0.0, 0.0, -90_000.0, 90_000.0, 250.0]), spoils=some(0.5),
        )  # fmt: skip
        lives = tuple(
            tuple((chance.choice(COMMANDS), death()) for _ in range(chance.choice([1, 1, 1, 2, 3])))
            for _ in range(chance.randint(1, 5))
        )
        return cls(
            seed=seed,
            keys=tuple(f"k{n}" for n in range(chance.randint(1, 8))),
            size=chance.randint(1, 8),
            inline=chance.random() < 0.15,
            lies=lies,
            weather=draw_weather(chance),
            lives=lives,
            power_cuts=chance.random() < 0.5,
            jumps=tuple(chance.choice([0.0, 0.0, -90_000.0, 3_600.0, 300_000.0]) for _ in lives),
        )


@dataclass
class Told:
    """What one command came to."""

    command: str
    error: AnyError | None
    found: Any


@dataclass
class Life:
    """One process: it breathes wherever it asks the world or the service for something, and may die there."""

    dies_at: int | None
    dying: Callable[[Life], None] = lambda _: None
    breaths: int = 0
    dead: bool = False

    def breathe(self) -> None:
        """Die here, if it is time; whoever is dead does nothing any more."""
        self.breaths += 1
        if not self.dead and self.breaths == self.dies_at:
            self.dead = True
            self.dying(self)
        if self.dead:
            raise Killed


class HostileSession(Session):
    """A session whose client goes through the hostile wire."""

    def __init__(self, settings: Settings, world: World, said: list[str], wire: Wire) -> None:
        super().__init__(settings, world, lambda event: said.append(repr(event)))
        self._wire = wire

    async def backend(self) -> Backend:
        """Our real client, on that wire."""
        if self._backend is None:
            key = self.settings.require_key()
            client = await self._stack.enter_async_context(Client(BASE, key, world=self.world, transport=self._wire))
            self._backend = Backend(BASE, key, GeminiService(client))
        return self._backend


@dataclass
class Play:
    """One scenario as it is played; ``told`` has what every command came to, ``said`` all that was printed."""

    scenario: Scenario
    folder: Path
    told: list[Told] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    #: When the user agreed to pay again, by the time of the world.
    consents: list[float] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    _jumped: float = 0.0
    _tokens: Any = field(default_factory=itertools.count)
    _snapshot: Path | None = None

    def __post_init__(self) -> None:
        write_requests(self.folder / "in.jsonl", self.scenario.keys)
        self.service = Service(self.scenario.seed, self.scenario.lies, lambda: asyncio.get_running_loop().time(), KEY)
        self.chance = random.Random(f"{self.scenario.seed} wire")

    def play(self, check: Callable[[Told], None]) -> Results:
        """All lives, then the good days; ``check`` sees what each command came to."""
        return run_in_no_time(self._whole(check), longest=LONGEST)

    async def _whole(self, check: Callable[[Told], None]) -> Results:
        for people, jump in zip(self.scenario.lives, self.scenario.jumps, strict=True):
            self._jumped += jump
            for told in await self._together(people):
                check(told)
            await asyncio.sleep(self.chance.choice([0.0, 60.0, 7_200.0]))
        self.service.heal()
        return await self._good_days(check)

    async def _together(self, people: tuple[tuple[str, int | None], ...]) -> list[Told]:
        lives = [Life(dies_at) for _, dies_at in people]

        def power_cut(_: Life) -> None:
            self._snapshot = self.folder.with_name(self.folder.name + "-as-it-was")
            shutil.copytree(self.folder, self._snapshot, ignore=shutil.ignore_patterns("*-shm"))
            for life in lives:
                life.dead = True

        if self.scenario.power_cuts:
            for life in lives:
                life.dying = power_cut
        works = [self._life(life, command) for life, (command, _) in zip(lives, people, strict=True)]
        told = [one for one in await asyncio.gather(*works) if one is not None]
        if self._snapshot is not None:
            shutil.rmtree(self.folder)
            self._snapshot.replace(self.folder)
            self._snapshot = None
        return told

    async def _life(self, life: Life, command: str) -> Told | None:
        """What a command came to; None if it died."""
        work = getattr(self, "_" + command.replace(" ", "_"))
        try:
            told = Told(command, None, await self._in_session(life, work))
        except Error as error:
            told = Told(command, error, None)
            self.said.append(f"{error} {error.as_json()}")
        except Killed:
            self.ends.append(f"{command}: killed")
            return None
        if life.dead:  # it had nothing left to do but to end
            self.ends.append(f"{command}: killed at its end")
            return None
        self.ends.append(f"{command}: {told.error.reason_code if told.error else 'ended'}")
        self.told.append(told)
        assert self.service.requests < MOST_REQUESTS, "it asks and asks"
        return told

    async def _in_session(self, life: Life, work: Callable[[Session], Coroutine[Any, Any, Any]]) -> Any:
        loop = asyncio.get_running_loop()

        def now() -> float:
            life.breathe()
            return EPOCH + loop.time() + self._jumped

        def monotonic() -> float:
            life.breathe()
            return loop.time()

        async def sleep(seconds: float) -> None:
            life.breathe()
            await asyncio.sleep(seconds)
            life.breathe()

        def token(length: int) -> str:
            return f"{next(self._tokens):0{length}d}"

        world = World(now=now, monotonic=monotonic, sleep=sleep, uniform=self.chance.uniform, token=token)
        wire = Wire(self.service, self.scenario.weather, self.chance, life.breathe, KEY)
        settings = Settings(home=self.folder / "home", base_url=BASE, api_key=Secret(KEY))
        async with HostileSession(settings, world, self.said, wire) as session:
            return await work(session)

    # Commands --------------------------------------------------------------------------------------------------------

    @property
    def _source(self) -> Submission:
        return Submission(source=self.folder / "in.jsonl")

    async def _run(self, session: Session, timeout: float | None = None) -> Any:
        options = RunOptions(max_requests_per_job=self.scenario.size)
        return await run(session, self._source, options, output=self.folder / "out.jsonl", timeout=timeout)

    async def _run_briefly(self, session: Session) -> Any:
        return await self._run(session, timeout=self.chance.uniform(1.0, 3_000.0))

    async def _create(self, session: Session) -> Any:
        return await create(session, Submission(source=self.folder / "in.jsonl", inline=self.scenario.inline))

    async def _status(self, session: Session) -> Any:
        return await status(session, self._name())

    async def _results(self, session: Session) -> Any:
        found = await results(session, self._name())
        found.write(self.folder / "results.jsonl")
        return found

    async def _list(self, session: Session) -> Any:
        return await list_jobs(session, Filter(), remote=True)

    def _name(self) -> str:
        """A run or a job that the ledger knows; a name that nobody knows if there is none."""
        names = ["batches/none"]
        if (self.folder / "home" / "ledger.db").exists():
            with Ledger(self.folder / "home" / "ledger.db") as ledger:
                names = [one.id for one in ledger.runs()] + [job.batch for _, job in ledger.jobs() if job.batch]
        return self.chance.choice(names or ["batches/none"])

    # The good days ---------------------------------------------------------------------------------------------------

    async def _good_days(self, check: Callable[[Told], None]) -> Results:
        """The same command once an hour, or the ``retry`` that its Next asks for, until it comes to its end."""
        work: Callable[[Session], Coroutine[Any, Any, Any]] = self._run
        for _ in range(12):
            try:
                found = await self._in_session(Life(None), work)
            except Error as error:
                told = Told("run", error, None)
                self.said.append(f"{error} {error.as_json()}")
                self.ends.append(f"good days: {error.reason_code}")
                check(told)
                work = self._run
                if isinstance(error.next, Next) and error.next.command == "retry":
                    self.consents.append(asyncio.get_running_loop().time())
                    work = partial(self._retry, asked=error.next)
            else:
                assert isinstance(found, Results)
                await asyncio.sleep(1.0)
                before = self.service.requests
                await self._in_session(Life(None), self._run)
                assert self.service.requests == before, "all is done, and the service is asked again"
                return found
            await asyncio.sleep(3_600.0)
        raise AssertionError(f"it never comes to its end: {self.ends[-3:]}")

    async def _retry(self, session: Session, asked: Next) -> Any:
        run_id, _, verdicts = asked.args[:3]
        selection = RetrySelection(verdicts=tuple(verdicts.split(",")), overrides=RequestOverrides())
        return await retry(session, run_id, selection, output=self.folder / "out.jsonl")
