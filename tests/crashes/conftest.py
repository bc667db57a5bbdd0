"""Runs against the emulator over a socket, in time that passes by waiting; and what the service says was paid."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings

from crashes.nature import Nature
from crashes.users import User
from gemini_batch.commands.run import run
from gemini_batch.intake.submission import Submission
from gemini_batch.session import Session
from gemini_batch.settings import Secret, Settings
from gemini_batch.vertex_place import VertexPlace
from gemini_batch.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from gemini_batch.events import Event
    from gemini_batch.report.result_set import Results
    from gemini_batch.store.ledger.run_options import RunOptions
    from gemini_batch.testing import GeminiEmulator

settings.register_profile(
    "worlds",
    max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

MODEL = "gemini-3.8-flash"

#: So many seconds of the world pass in one that the test waits; whoever sleeps shorter still wakes earlier.
_PACE = 20_000.0


class Time:
    """One clock for the user and the service, which moves on only when somebody's sleep is over."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0
        self.pace = _PACE

    async def sleep(self, seconds: float) -> None:
        wake = self.now + seconds
        await asyncio.sleep(seconds / self.pace)
        self.now = max(self.now, wake)

    def world(self) -> World:
        return World(now=lambda: self.now, monotonic=lambda: self.now, sleep=self.sleep)


@dataclass
class Place:
    """The emulator, and people who run files against it: each key is a project of its own.

    ``vertex``: they use it as Vertex AI.
    """

    service: GeminiEmulator
    folder: Path
    time: Time = field(default_factory=Time)
    events: list[Event] = field(default_factory=list)
    #: Calls that the service got, by operation and status of the answer.
    calls: Counter[tuple[str, int]] = field(default_factory=Counter)
    vertex: bool = False

    def __post_init__(self) -> None:
        emulator = self.service._world
        emulator.clock._base = lambda: round(self.time.now * 1e9)

        def count(operation: str, status: int) -> None:
            self.calls[operation, status] += 1

        emulator.on_answer = count

    @property
    def refusals(self) -> int:
        """How many calls the service refused for lack of room."""
        return sum(times for (_, status), times in self.calls.items() if status == 429)

    def session(self, *, home: str = "home", key: str = "key") -> Session:
        url, at_vertex = self.service.url, None
        if self.vertex:
            self.service.add_bucket("bucket")
            at_vertex = VertexPlace(
                project=f"project-{key}", location="l", bucket="gs://bucket/in", url=url, storage_url=url
            )
        given = Settings(home=self.folder / home, base_url=url, api_key=Secret(key), vertex=at_vertex)
        return Session(given, self.time.world(), self.events.append)

    async def run(
        self,
        source: str,
        options: RunOptions | None = None,
        *,
        home: str = "home",
        key: str = "key",
        out: str = "out.jsonl",
    ) -> Results:
        """``gemini-batch run``, as the command calls it."""
        async with self.session(home=home, key=key) as session:
            return await run(
                session, Submission(source=self.folder / source, model=MODEL), options, output=self.folder / out
            )

    def write(self, name: str, keys: Iterable[str], *, characters: int = 20) -> None:
        """A request file with these keys, and prompts of so many characters."""
        with (self.folder / name).open("wb") as file:
            for key in keys:
                text = f"Say {key} ".ljust(characters, ".")
                file.write(msgspec.json.encode({"key": key, "request": {"contents": [{"parts": [{"text": text}]}]}}))
                file.write(b"\n")

    def read(self, name: str = "out.jsonl") -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in (self.folder / name).read_bytes().split(b"\n") if line]

    def paid(self) -> Counter[str]:
        """How often each key was paid for, by the service's own account."""
        return Counter(self.service.accounting()["keys"])

    def jobs(self) -> int:
        return int(self.service.accounting()["totals"]["jobs"])

    def check(self, keys: list[str], out: str = "out.jsonl") -> None:
        """Every key has one good answer of its own, in order."""
        rows = self.read(out)
        assert [row["key"] for row in rows] == keys
        assert {row["verdict"] for row in rows} == {"succeeded"}
        assert all(f"Say {row['key']} " in row["response"]["text"] for row in rows)


@pytest.fixture
def place(gemini_emulator: GeminiEmulator, tmp_path: Path) -> Place:
    return Place(gemini_emulator, tmp_path)


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path / "work")


@pytest.fixture(scope="module")
def nature() -> Iterator[Nature]:
    made = Nature()
    yield made
    made.end()


def killed_again_and_again(place: Place, words: list[str], patience: Callable[[int], float]) -> int:
    """Give a command again each time that its process was killed, until one ends well; returns how many were killed.

    ``patience``: the seconds after which the next one is killed, by how many were before.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "GEMINI_"))}
    given = {"GEMINI_BATCH_HOME": str(place.folder / "home"), "GOOGLE_GEMINI_BASE_URL": place.service.url}
    deaths = 0
    while True:
        process = subprocess.Popen(
            words,
            cwd=place.folder,
            env={**kept, **given, "GEMINI_API_KEY": "key"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _, said = process.communicate(timeout=patience(deaths))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            deaths += 1
            continue
        assert process.returncode == 0, said
        return deaths
