"""The same pure function for many tasks, on all cores: worker processes do some of them, this process the others.

A worker has no state of its own: it ends with this process, and what it fails to do is done here, where an error is
raised as if there were no workers. They are programs of their own, not forks or ``multiprocessing``: a fork copies
threads' locks, and ``multiprocessing`` runs the user's main module again.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

Task = TypeVar("Task")
Found = TypeVar("Found")

#: More workers would wait for this process, which puts what they find in order.
_MOST = 3
#: Fewer bytes are often done before a worker has started.
WORTH = 4 * 1024 * 1024
#: So many tasks a worker is given ahead, and so many are done here ahead of those that workers still do.
_AHEAD, _OURS_AHEAD = 3, 4
#: So many bytes a pipe to or from a worker holds, if the system allows it: whoever writes need not wait.
_PIPE = 1024 * 1024
#: The processor time of a container, in each period.
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_END = object()
_START = "from gemini_batch.workers import serve; serve({})"


def worth(size: int) -> int:
    """How many workers are of use for so many bytes on this machine."""
    # In a server or a program with Python inside, the executable is that program.
    is_python = Path(sys.executable or "").name.startswith(("python", "pypy"))
    if size < WORTH or os.name != "posix" or not is_python:
        return 0
    return max(0, min(_cores() - 1, _MOST))


def _cores() -> int:
    """How many cores this process may use: a container has them all, but only a part of their time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
        return min(cores, int(quota) // int(period))
    except (OSError, ValueError):  # no container, or one without a limit: "max"
        return cores


def in_order(
    work: Callable[[Task], Found], tasks: Iterable[Task], *, workers: int, files: Sequence[int] = ()
) -> Generator[Found]:
    """``work`` of each task, in the order of the tasks, of which some are read ahead.

    ``workers``: how many processes help, with those that help elsewhere in this process at the moment. ``work`` and the
    tasks can be pickled. ``files``: descriptors that ``work`` uses, which have the same numbers in the workers; their
    positions are shared, so they are read by ``os.pread``.
    Raises what ``work`` raises.
    """
    with contextlib.ExitStack() as stack:
        started = (_Worker.started(work, files) for _ in range(stack.enter_context(_helpers.taken(workers))))
        helping = [stack.enter_context(contextlib.closing(worker)) for worker in started if worker is not None]
        source, given = iter(tasks), deque[tuple[Task, _Worker | None, Any]]()
        while True:
            for one in helping:
                while one.has_room and (task := next(source, _END)) is not _END:
                    given.append((task, one if one.give(task) else None, _END))  # type: ignore[arg-type]
            first = given[0][1] if given else None
            if not given or (first is not None and not first.is_ready and _ours(given) < _OURS_AHEAD):
                if (task := next(source, _END)) is not _END:
                    given.append((task, None, work(task)))  # type: ignore[arg-type]
                    continue
                if not given:
                    return
            task, worker, found = given.popleft()
            if worker is not None:
                found = worker.found()
            yield work(task) if found is _END else found


class _Helpers:
    """How many processes help now: more than there are cores for would only take memory."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.RLock()  # an abandoned generator may be collected in between

    @contextlib.contextmanager
    def taken(self, most: int) -> Iterator[int]:
        """So many more that there are at most ``most``."""
        with self._lock:
            taken = max(0, most - self._count)
            self._count += taken
        try:
            yield taken
        finally:
            with self._lock:
                self._count -= taken


_helpers = _Helpers()


def _ours(given: Iterable[tuple[Any, _Worker | None, Any]]) -> int:
    return sum(worker is None for _, worker, _ in given)


class _Worker:
    """A process that does tasks one after another; once it is gone, it finds nothing."""

    def __init__(self, process: subprocess.Popen[bytes], told: IO[bytes]) -> None:
        assert process.stdin is not None
        self._process, self._ask, self._told = process, process.stdin, told
        self._given, self._gone = 0, False
        _widen(process.stdin, told)
        self._ready = select.poll()
        self._ready.register(self._told, select.POLLIN)

    @classmethod
    def started(cls, work: Callable[[Any], Any], files: Sequence[int]) -> _Worker | None:
        """A worker that will do ``work``; None if the system gives no process."""
        # Modules are found where this process finds them; -P: not in the current folder, too.
        places = os.pathsep.join(place for place in sys.path if place)
        told, tells = os.pipe()  # of its own: anything may be printed while Python starts
        try:
            process = subprocess.Popen(  # noqa: S603 - this interpreter, and words of ours
                [sys.executable, "-P", "-c", _START.format(tells)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                pass_fds=(*files, tells),
                env={**os.environ, "PYTHONPATH": places},
            )
        except OSError:
            os.close(told)
            return None
        finally:
            os.close(tells)
        worker = cls(process, os.fdopen(told, "rb"))
        worker.give(work)
        worker._given = 0
        return worker

    @property
    def has_room(self) -> bool:
        """Whether it takes another task now."""
        return not self._gone and self._given < _AHEAD

    def give(self, task: object) -> bool:
        """Let it do a task, unless it is gone."""
        try:
            left = memoryview(pickle.dumps(task))
            while left:  # a signal may end the writing of a part
                left = left[self._ask.write(left) :]
        except OSError:
            self._gone = True
        self._given += not self._gone
        return not self._gone

    @property
    def is_ready(self) -> bool:
        """Whether what it found next is there, or never will be."""
        return self._gone or bool(self._ready.poll(0))

    def found(self) -> Any:
        """What it found for the task that it was given first; ``_END`` if it found nothing."""
        self._given -= 1
        try:
            # From the stream itself: large values are copied once.
            found = () if self._gone else pickle.load(self._told)  # noqa: S301 - our own process wrote it
        except Exception:  # noqa: BLE001 - it ended, perhaps in the middle of a reply
            self._gone, found = True, ()
        return found[0] if found else _END

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._ask.close()
        self._told.close()
        self._process.wait()


def _widen(*pipes: IO[bytes]) -> None:
    with contextlib.suppress(ImportError, AttributeError, OSError):  # Linux has it, and may have used up its share
        import fcntl

        for pipe in pipes:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)


def serve(tells: int) -> None:
    """Be a worker: read the work and its tasks from stdin, write what is found to ``tells``, until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the other one decides
    replies: queue.Queue[tuple[Any, ...]] = queue.Queue(maxsize=_AHEAD)
    threading.Thread(target=_reply, args=(tells, replies), daemon=True).start()
    with contextlib.suppress(EOFError):
        work = pickle.load(sys.stdin.buffer)  # noqa: S301 - the process that started this one wrote it
        while True:
            task = pickle.load(sys.stdin.buffer)  # noqa: S301
            try:
                replies.put((work(task),))
            except Exception:  # noqa: BLE001 - it is raised again where the task is done again
                replies.put(())


def _reply(tells: int, replies: queue.Queue[tuple[Any, ...]]) -> None:
    """Write replies while the next task is done."""
    try:
        with os.fdopen(tells, "wb") as file:
            while True:
                pickle.dump(replies.get(), file)
                file.flush()
    except Exception:  # noqa: BLE001 - the reader is gone, or this cannot be pickled and is done there instead
        os._exit(0)
