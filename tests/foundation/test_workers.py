"""Worker processes find what this process would find, in order; whatever happens to them, nothing is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import pytest

from gemini_batch import workers
from gemini_batch.workers import WORTH, _Worker, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere, there are no workers")

#: Tasks are expressions: what a worker does to itself must not happen here.
_EXIT = f"__import__('os').getpid() == {os.getpid()} or __import__('os')._exit(3)"


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("tasks", [0, 1, 2, 50])
def test_the_order_is_that_of_the_tasks(count: int, tasks: int) -> None:
    assert list(in_order(partial(pow, 2), range(tasks), workers=count)) == [2**n for n in range(tasks)]


def test_large_tasks_and_answers() -> None:
    """More than a pipe holds, both ways."""
    tasks = [bytes([n]) * 300_000 for n in range(12)]
    assert list(in_order(bytes.upper, tasks, workers=2)) == [task.upper() for task in tasks]


def test_a_task_that_is_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write to a pipe that is full ends early when a stopped process continues."""
    begin = _Worker.__init__

    class Pieces:
        def __init__(self, file: IO[bytes]) -> None:
            self.write = lambda data: file.write(data[:1000])
            self.close = file.close

    def begins(self: _Worker, *given: Any) -> None:
        begin(self, *given)
        self._ask = cast("IO[bytes]", Pieces(self._ask))

    monkeypatch.setattr(_Worker, "__init__", begins)
    tasks = [bytes([number]) * 50_000 for number in range(20)]
    with closing(in_order(bytes.upper, tasks, workers=1)) as found:
        assert list(found) == [task.upper() for task in tasks]


def test_workers_help_and_are_gone_at_the_end() -> None:
    with closing(in_order(eval, ["__import__('os').getpid()"] * 40, workers=2)) as found:
        pids = set(found)
    assert len(pids - {os.getpid()}) == 2
    assert not any(is_running(pid) for pid in pids - {os.getpid()})


def test_they_are_gone_when_nobody_asks_any_more() -> None:
    found = in_order(eval, ["__import__('os').getpid()"] * 40, workers=1)
    pid = next(found)
    assert pid != os.getpid()
    found.close()
    assert not is_running(pid)


def test_two_at_once_share_them() -> None:
    """Whoever comes second has what the first one leaves; when that ends, all are free again."""
    tasks = ["__import__('os').getpid()"] * 40
    with closing(in_order(eval, tasks, workers=1)) as first:
        next(first)
        assert set(in_order(eval, tasks, workers=1)) == {os.getpid()}
        assert len(set(in_order(eval, tasks, workers=2)) - {os.getpid()}) == 1
    assert set(in_order(eval, tasks, workers=1)) - {os.getpid()}


def test_what_a_worker_cannot_do_is_done_here() -> None:
    tasks = [f"1 if __import__('os').getpid() == {os.getpid()} else {bad}" for bad in ("1 / 0", "lambda: 0")] * 5
    assert list(in_order(eval, tasks, workers=2)) == [1] * 10


def test_an_error_is_raised_here_at_its_place() -> None:
    found = in_order(partial(divmod, 10), [5, 2, 0, 1], workers=1)
    assert [next(found), next(found)] == [(2, 0), (5, 0)]
    with pytest.raises(ZeroDivisionError):
        next(found)


@pytest.mark.parametrize("at", [0, 1, 7, 19])
def test_workers_that_die(at: int) -> None:
    tasks = [str(n) for n in range(20)]
    tasks[at] = f"({_EXIT}) and {at}"
    assert list(in_order(eval, tasks, workers=2)) == list(range(20))


def test_a_worker_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert list(in_order(abs, [-1, -2], workers=2)) == [1, 2]


def test_a_worker_that_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert list(in_order(abs, [-1, -2], workers=2)) == [1, 2]


def test_files_are_those_of_this_process(tmp_path: Path) -> None:
    """A file that is replaced meanwhile is not read in its place."""
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    with path.open("rb") as file:
        path.unlink()
        path.write_bytes(b"ghijkl")
        read = partial(os.pread, file.fileno(), 2)
        assert list(in_order(read, [0, 2, 4], workers=1, files=[file.fileno()])) == [b"ab", b"cd", b"ef"]


def test_tasks_are_read_only_a_little_ahead() -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for n in range(1000):
            taken.append(n)
            yield n

    with closing(in_order(abs, tasks(), workers=2)) as found:
        for n in range(100):
            assert next(found) == n
            assert len(taken) <= n + 10


def test_modules_of_the_current_folder_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pickle.py").write_text("raise RuntimeError")
    monkeypatch.chdir(tmp_path)
    pids = set(in_order(eval, ["__import__('os').getpid()"] * 10, workers=1))
    assert len(pids - {os.getpid()}) == 1


def test_what_a_start_prints_is_no_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('Welcome to this machine.')")
    monkeypatch.syspath_prepend(str(tmp_path))
    pids = set(in_order(eval, ["print(1) or __import__('os').getpid()"] * 10, workers=1))
    assert len(pids - {os.getpid()}) == 1


def test_no_descriptor_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    for program in (sys.executable, "/nowhere/python"):
        monkeypatch.setattr(sys, "executable", program)
        assert list(in_order(abs, [-1, -2], workers=2)) == [1, 2]
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_workers_end_when_this_process_is_killed(tmp_path: Path) -> None:
    """Each process of both holds a pipe open; it ends when none is left."""
    (tmp_path / "program.py").write_text(
        "import sys, time\n"
        "from gemini_batch.workers import in_order\n"
        "found = in_order(eval, ['__import__(\"os\").getpid()'] * 9, workers=1, files=[int(sys.argv[1])])\n"
        "print(next(found), flush=True)\n"
        "time.sleep(600)\n"
    )
    ours, theirs = os.pipe()
    words = [sys.executable, str(tmp_path / "program.py"), str(theirs)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, pass_fds=(theirs,)) as process:
        os.close(theirs)
        assert process.stdout is not None
        assert int(process.stdout.readline()) != process.pid
        process.kill()
    assert os.read(ours, 1) == b""
    os.close(ours)


@pytest.mark.parametrize(
    ("cores", "quota", "size", "count"),
    [
        (1, None, WORTH, 0),
        (2, None, WORTH, 1),
        (2, None, WORTH - 1, 0),
        (64, None, WORTH, 3),
        (64, "max 100000", WORTH, 3),
        (64, "200000 100000", WORTH, 1),
        (64, "50000 100000", WORTH, 0),
        (2, "800000 100000", WORTH, 1),
    ],
)
def test_how_many_are_of_use(
    cores: int, quota: str | None, size: int, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(workers, "_QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert workers.worth(size) == count


@pytest.mark.parametrize("program", ["", "/usr/bin/uwsgi", "/opt/app/our-tool"])
def test_no_other_program_is_started(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(workers, "_QUOTA", tmp_path / "none")
    assert workers.worth(WORTH) == 2
    monkeypatch.setattr(sys, "executable", program)
    assert workers.worth(WORTH) == 0
