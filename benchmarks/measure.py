"""Whole processes, measured: wall time, processor time and peak memory, in the same environment for each of them."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import resource
    from collections.abc import Callable, Iterator, Mapping, Sequence

SCRIPTS = Path(__file__).parent / "scripts"
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
#: Seconds between two readings of the memory of a process and those that it started.
_SAMPLED = 0.1
#: The unit of ``ru_maxrss``: kilobytes, but bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended with 0: its wall time and processor time in seconds, its peak resident memory in bytes, and
    its stdout. Time and memory include the processes that it started."""

    seconds: float
    cpu: float
    peak: int
    stdout: str


@dataclass(slots=True)
class Standing:
    """A separate emulator: its base URL and, once it has stopped, its peak resident memory in bytes."""

    url: str
    peak: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of its own for everything that is measured: homes, files, compiled modules."""

    folder: Path

    def environment(self, **more: str) -> dict[str, str]:
        """The variables of every child: few, so that no setting of this machine speaks in.

        Compiled modules are kept in the folder. A warm-up fills it, as installing a package, or its first use, does.
        """
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        if path := os.environ.get("PYTHONPATH"):
            kept["PYTHONPATH"] = os.pathsep.join(str(Path(part).absolute()) for part in path.split(os.pathsep))
        return {**kept, "PYTHONPYCACHEPREFIX": str(self.folder / "compiled"), **more}

    def run(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        *,
        timeout: float | None = None,
        codes: Sequence[int] = (0,),
        until: Callable[[], bool] | None = None,
    ) -> Ended:
        """Run a process to its end, or interrupt it as Ctrl-C does, once ``until`` is true. Raises RuntimeError, with
        what it said, for an exit code that is not expected, and TimeoutError where it was killed after ``timeout``
        seconds."""
        with (self.folder / "stdout").open("w+b") as out, (self.folder / "stderr").open("w+b") as err:
            began = time.perf_counter()
            process = subprocess.Popen(words, env=environment, cwd=self.folder, stdout=out, stderr=err)
            killer = threading.Timer(timeout or 0.0, process.kill)
            if timeout is not None:
                killer.start()
            with contextlib.ExitStack() as watching:
                family = watching.enter_context(Peak(lambda: _shared_memory(process.pid)))
                if until is not None:
                    watching.enter_context(Peak(_interrupting(process, until)))
                usage = usage_of(process)
            killer.cancel()
            seconds = time.perf_counter() - began
            out.seek(0)
            err.seek(0)
            if process.returncode not in codes:
                if timeout is not None and seconds >= timeout:
                    raise TimeoutError(f"{words[-1]} took more than {timeout:,.0f} s")
                said = err.read().decode(errors="replace")
                raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}:\n{said}")
            cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _RSS_UNIT
            return Ended(seconds, cpu, max(peak, family.most), out.read().decode().strip())

    def script(self, name: str, *values: object, **variables: str) -> Ended:
        """Run one of the scripts of the benchmarks with this Python."""
        return self.run([*script(name), *map(str, values)], self.environment(**variables))

    @contextlib.contextmanager
    def subfolder(self, name: str) -> Iterator[Path]:
        """A folder inside this one, gone at the end."""
        path = self.folder / name
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path)

    @contextlib.contextmanager
    def emulator(self, *options: str) -> Iterator[Standing]:
        """An emulator in a process of its own, with its own data folder. Its responder may be one of our scripts."""
        with self.subfolder("emulator-data") as data, (self.folder / "emulator-stderr").open("w+b") as err:
            process = subprocess.Popen(
                [*program(), "emulator", "--data", str(data), *options],
                env=self.environment(),
                cwd=SCRIPTS,
                stdout=subprocess.PIPE,
                stderr=err,
            )
            assert process.stdout is not None
            standing = Standing(process.stdout.readline().decode().strip())
            try:
                if not standing.url:
                    err.seek(0)
                    raise RuntimeError(f"The emulator did not start:\n{err.read().decode(errors='replace')}")
                yield standing
            finally:
                process.terminate()
                standing.peak = peak_of(process)
                process.stdout.close()


class Peak:
    """The highest value of a number that is read again and again in a thread, as long as this is entered."""

    def __init__(self, read: Callable[[], int]) -> None:
        self.most, self._read, self._over = 0, read, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLED):
            with contextlib.suppress(OSError, ValueError):  # what goes while it is read
                self.most = max(self.most, self._read())


def _shared_memory(pid: int) -> int:
    """The memory of a process together with the processes that it started, in bytes; 0 if it started none, or where the
    system does not say. Pages that several of them share count once."""
    family = _family(pid)
    return sum(map(_memory, family)) if len(family) > 1 else 0


def _interrupting(process: subprocess.Popen[bytes], until: Callable[[], bool]) -> Callable[[], int]:
    """Sends SIGINT to a process once something is true: to be called again and again."""
    sent: list[bool] = []

    def look() -> int:
        if not sent and until():
            sent.append(True)
            process.send_signal(signal.SIGINT)
        return 0

    return look


def _family(pid: int) -> list[int]:
    children = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [pid, *(one for child in itertools.chain(*children) for one in _family(int(child)))]


def _memory(pid: int) -> int:
    with Path(f"/proc/{pid}/smaps_rollup").open() as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))


def peak_of(process: subprocess.Popen[bytes]) -> int:
    """Wait for a child and return its peak resident memory in bytes."""
    return usage_of(process).ru_maxrss * _RSS_UNIT


def usage_of(process: subprocess.Popen[bytes]) -> resource.struct_rusage:
    """Wait for a child and return what it used."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


def program() -> list[str]:
    """The words that start this tool: the console script next to this Python, or the module where there is none."""
    path = Path(sys.executable).with_name("gemini-batch")
    return [str(path)] if path.exists() else [sys.executable, "-m", "gemini_batch"]


def script(name: str) -> list[str]:
    """The words that start one of the scripts."""
    return [sys.executable, str(SCRIPTS / f"{name}.py")]


def alternating(works: Mapping[str, Callable[[], Ended]], rounds: int, *, warm_up: int = 0) -> dict[str, list[Ended]]:
    """Do each piece of work ``rounds`` times, in alternation, after ``warm_up`` times that do not count."""
    taken: dict[str, list[Ended]] = {name: [] for name in works}
    for number in range(warm_up + rounds):
        for name, work in works.items():
            ended = work()
            if number >= warm_up:
                taken[name].append(ended)
    return taken
