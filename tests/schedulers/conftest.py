"""Schedulers take long to install, so they run only where they are asked for. Each has an environment of its own."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crashes.users import ROOT
from interop.homes import interpreter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemini_batch.testing import GeminiEmulator

#: What each environment has; Airflow with the extra that asks for its provider.
NEEDS = {
    "airflow": ("apache-airflow==3.3.2", "apache-airflow-providers-common-ai==1.0.0", "--editable", f"{ROOT}[airflow]"),
    "dagster": ("dagster==1.13.29", "--editable", str(ROOT)),
    "prefect": ("prefect==3.9.1", "--editable", str(ROOT)),
}
DAY = (dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)).isoformat()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "schedulers" in config.getoption("markexpr"):
        return
    for item in items:
        if item.get_closest_marker("schedulers"):
            item.add_marker(pytest.mark.skip(reason="schedulers: `make schedulers` runs it"))


@dataclass
class Worker:
    """A process in which a scheduler calls the program of an example, as often as it is told to."""

    process: subprocess.Popen[str]
    log: Path

    def begin(self, wait: float) -> None:
        """Call the program; it may hold its worker for so many seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{wait}\n")
        self.process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """What came of the call."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.said
        said: dict[str, Any] = json.loads(line)
        return said

    def call(self, wait: float = 60.0) -> dict[str, Any]:
        """Both."""
        self.begin(wait)
        return self.end()

    def kill(self) -> None:
        """SIGKILL, for the process and all that it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=30)

    @property
    def said(self) -> str:
        """The end of what the scheduler printed."""
        return self.log.read_text(encoding="utf-8")[-20_000:]


@dataclass
class Place:
    """One machine's disk with requests of a night, an emulator, and a scheduler that runs an example."""

    python: Path
    driver: str
    example: str
    folder: Path
    service: GeminiEmulator
    environment: dict[str, str] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)

    def worker(self, **more: str) -> Worker:
        """Start one; ``more`` is its environment."""
        kept = {name: one for name, one in os.environ.items() if not name.startswith(("GOOGLE_", "GEMINI_", "PYTHON"))}
        named = {"EXAMPLE": str(ROOT / "examples" / self.example), "DAY": DAY, "REVIEWS": str(self.folder)}
        service = {"GOOGLE_GEMINI_BASE_URL": self.service.url, "GEMINI_API_KEY": "any-key"}
        paces = {"GEMINI_BATCH_POLL": "0.1", "GEMINI_BATCH_SETTLE": "0.3"}
        home = {"HOME": str(self.folder), "GEMINI_BATCH_HOME": str(self.folder / "state")}
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [self.python, ROOT / "tests" / "schedulers" / "drivers" / self.driver],
                cwd=self.folder,
                env={
                    **kept,
                    **named,
                    **service,
                    **paces,
                    **home,
                    **self.environment,
                    **more,
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self.workers.append(Worker(process, log))
        return self.workers[-1]

    def write(self, *, cut: bool = False) -> None:
        """The requests of the night: three rows, and a fourth whose answer is cut off."""
        texts = [{"contents": [{"parts": [{"text": f"Review {n}"}]}]} for n in range(3)]
        more = [{"contents": [{"parts": [{"text": "A story"}]}], "generationConfig": {"maxOutputTokens": 8}}] * cut
        lines = [json.dumps({"key": str(n), "request": one}) + "\n" for n, one in enumerate([*texts, *more])]
        (self.folder / f"requests-{DAY}.jsonl").write_text("".join(lines))

    @property
    def verdicts(self) -> list[str]:
        """Of the result lines."""
        lines = (self.folder / f"results-{DAY}.jsonl").read_text().splitlines()
        return [json.loads(line)["verdict"] for line in lines]

    def used(self) -> tuple[int, int, int]:
        """How many jobs the service has, how many rows they have, and how many were paid for."""
        totals = self.service.accounting()["totals"]
        return totals["jobs"], totals["rows"], totals["paid"]

    @property
    def known(self) -> list[str | None]:
        """The states of the jobs in the ledger."""
        with closing(sqlite3.connect(f"file:{self.folder}/state/ledger.db?mode=ro", uri=True)) as db:
            return [state for (state,) in db.execute("SELECT state FROM jobs")]

    def until(self, happened: Callable[[], object], worker: Worker) -> None:
        """Wait for something that a worker brings about."""
        while not happened():
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(0.05)
                raise AssertionError(worker.said)


@pytest.fixture
def place(gemini_emulator: GeminiEmulator, tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Makes the place for one scheduler and one example; a job waits in the queue for an hour."""
    made: list[Place] = []
    gemini_emulator.pace(queue_delay=3600.0)

    def make(scheduler: str, example: str, **environment: str) -> Place:
        python = interpreter(f"schedulers-{scheduler}", *NEEDS[scheduler])
        made.append(Place(python, f"with_{scheduler}.py", example, tmp_path, gemini_emulator, environment))
        return made[-1]

    yield make
    for worker in [worker for one in made for worker in one.workers]:
        worker.kill()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, Path], Path]:
    """Copies the database of an Airflow in which nothing has happened; made once."""
    origin = tmp_path_factory.mktemp("airflow") / "airflow.db"

    def copy(python: Path, folder: Path) -> Path:
        if not origin.exists():
            address = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{origin}", "AIRFLOW_HOME": str(origin.parent)}
            made = [str(python.parent / "airflow"), "db", "migrate"]
            subprocess.run(made, env={**os.environ, **address}, capture_output=True, check=True, timeout=120)
        return Path(shutil.copy(origin, folder))

    return copy


@pytest.fixture
def airflow(place: Callable[..., Place], database: Callable[[Path, Path], Path]) -> Callable[[str], Place]:
    """Makes a night with Airflow and one of the examples."""

    def make(example: str) -> Place:
        night = place("airflow", example)
        home = night.folder / "airflow"
        (home / "dags").mkdir(parents=True)
        shutil.copy(ROOT / "examples" / example, home / "dags")
        key = {"conn_type": "pydanticai", "password": "any-key", "host": night.service.url}
        night.environment |= {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database(night.python, home)}",
            "AIRFLOW_CONN_GEMINI": json.dumps(key),
        }
        night.write()
        return night

    return make
