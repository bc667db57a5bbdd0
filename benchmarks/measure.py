"""Whole processes, measured: wall time and peak memory, in an environment that is the same for every one of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import resource
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).parent
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
_WARM_UP = 2
#: The unit of ``ru_maxrss``: kilobytes, but bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended with 0: its wall time and processor time in seconds, its peak resident memory in bytes, and
    its stdout."""

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

    def run(self, words: Sequence[str], environment: Mapping[str, str]) -> Ended:
        """Run a process to its end. Raises RuntimeError, with what it said, for any exit code but 0."""
        with (self.folder / "stdout").open("w+b") as out, (self.folder / "stderr").open("w+b") as err:
            began = time.perf_counter()
            process = subprocess.Popen(words, env=environment, cwd=self.folder, stdout=out, stderr=err)
            usage = _usage_of(process)
            seconds = time.perf_counter() - began
            out.seek(0)
            err.seek(0)
            if process.returncode:
                said = err.read().decode(errors="replace")
                raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}:\n{said}")
            cpu = usage.ru_utime + usage.ru_stime
            return Ended(seconds, cpu, usage.ru_maxrss * _RSS_UNIT, out.read().decode().strip())

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
        """An emulator in a process of its own, with its own data folder."""
        with self.subfolder("emulator-data") as data, (self.folder / "emulator-stderr").open("w+b") as err:
            process = subprocess.Popen(
                [*program(), "emulator", "--data", str(data), *options],
                env=self.environment(),
                cwd=self.folder,
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


def peak_of(process: subprocess.Popen[bytes]) -> int:
    """Wait for a child and return its peak resident memory in bytes."""
    return _usage_of(process).ru_maxrss * _RSS_UNIT


def _usage_of(process: subprocess.Popen[bytes]) -> resource.struct_rusage:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


def program() -> list[str]:
    """The words that start this tool: the console script next to this Python, or the module where there is none."""
    script = Path(sys.executable).with_name("gemini-batch")
    return [str(script)] if script.exists() else [sys.executable, "-m", "gemini_batch"]


def sdk(script: str) -> list[str]:
    """The words that start one of the small programs over the official SDK."""
    return [sys.executable, str(HERE / script)]


def compare(
    place: Place,
    ours: Sequence[str],
    theirs: Sequence[str],
    environment: Mapping[str, str],
    *,
    rounds: int,
    prints: str = "",
) -> tuple[float, float]:
    """Run both ``rounds`` times in alternation, after two runs of each that do not count; the medians in seconds.

    Raises RuntimeError where one of them prints something else than ``prints``, if that is given.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(_WARM_UP + rounds):
        for words, taken in zip((ours, theirs), times, strict=True):
            ended = place.run(words, environment)
            if prints and ended.stdout != prints:
                raise RuntimeError(f"{' '.join(words)} printed {ended.stdout!r} instead of {prints!r}.")
            if number >= _WARM_UP:
                taken.append(ended.seconds)
    return statistics.median(times[0]), statistics.median(times[1])
