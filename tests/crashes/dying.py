"""Commands in processes that die for good: ``python dying.py``, with a life as JSON on each line of standard input.

A life is ``{"folder": …, "words": […], "point": …, "environment": {…}, "began": …}``: a command, in a folder, that ends
at step ``point``; at its own end if that is null. ``began``: see ``Nature.live``. The answer is
``{"code": …, "steps": […]}``, with the steps until then. A step is a call of the service or a write to a database,
before it and after it, a statement of duckdb, or a change of a file. Unlike an exception, death leaves everything
behind: temporary files, locks and half of what was to be written.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gemini_batch
from crashes.quick import hurry
from crashes.reaping import CALLS, WRITES
from gemini_batch import cli
from gemini_batch.backend import GeminiService
from gemini_batch.tables.outputs import join
from gemini_batch.tables.sources import duck

if TYPE_CHECKING:
    from collections.abc import Iterator

DIED = 99
_CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}


class Life:
    """Counts the steps of this process, and ends it at one of them. ``pipe``: where its steps are written."""

    def __init__(self, folder: str, point: int | None, pipe: int) -> None:
        self._folder, self._point, self._pipe = folder, point, pipe
        self._count = 0
        self._latest = ""

    def step(self, name: str) -> None:
        self._latest = name
        os.write(self._pipe, f"{name}\n".encode())
        if self._count == self._point:
            os._exit(DIED)
        self._count += 1

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Python announces what it is about to do to a file."""
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in _CHANGES:
            path = arguments[0]
            if event == "os.mkdir" and os.path.isdir(path):  # noqa: PTH112 - it can be anything that names a file
                return
        else:
            return
        if isinstance(path, (str, os.PathLike)):
            place = os.path.abspath(path)  # noqa: PTH100 - links stay what they are
            if place.startswith(self._folder) and "/emulator/" not in place and not place.endswith(".said"):
                name = f"{event} {os.path.relpath(place, self._folder)}"
                if name != self._latest:  # a file that is opened for its owner only is announced twice
                    self.step(name)

    def around(self, owner: Any, name: str) -> None:
        """A step before a method, and one after it."""
        real = getattr(owner, name)

        def mortal(*args: Any, **kwargs: Any) -> Any:
            self.step(f"before {name}")
            found = real(*args, **kwargs)
            self.step(f"after {name}")
            return found

        setattr(owner, name, mortal)

    def around_call(self, owner: Any, name: str) -> None:
        """The same for a call of the service."""
        real = getattr(owner, name)

        async def mortal(*args: Any, **kwargs: Any) -> Any:
            self.step(f"before {name}")
            found = await real(*args, **kwargs)
            self.step(f"after {name}")
            return found

        setattr(owner, name, mortal)

    def around_engine(self, owner: Any, name: str) -> None:
        """The same for each statement of a connection to duckdb."""
        real = getattr(owner, name)

        @contextlib.contextmanager
        def mortal(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with real(*args, **kwargs) as db:
                yield _Engine(db, self)

        setattr(owner, name, mortal)


class _Engine:
    def __init__(self, db: Any, life: Life) -> None:
        self._db, self._life = db, life

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, sql: str, *args: Any) -> Any:
        self._life.step(f"before {sql.split(maxsplit=1)[0]}")
        found = self._db.execute(sql, *args)
        self._life.step(f"after {sql.split(maxsplit=1)[0]}")
        return found


def _live(life: Life, folder: Path, asked: dict[str, Any]) -> int:
    os.chdir(folder)
    os.environ.update({"GEMINI_BATCH_HOME": str(folder / "home"), "HOME": str(folder), **asked["environment"]})
    if asked["began"] is not None:
        hurry(asked["began"])
    for owner, name in WRITES:
        life.around(owner, name)
    begin = GeminiService.__init__

    def made(self: GeminiService, connection: Any) -> None:
        begin(self, connection)
        for name in CALLS:
            life.around_call(self, name)

    vars_of: Any = GeminiService
    vars_of.__init__ = made
    life.around_engine(join, "connected")
    life.around_engine(duck, "duckdb")
    with (folder / "out.said").open("w", encoding="utf-8") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    sys.addaudithook(life.hook)
    return cli.execute(asked["words"])


def _born(asked: dict[str, Any]) -> dict[str, Any]:
    folder = asked["folder"]
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(told)
            code = _live(Life(f"{folder}/", asked["point"], tell), Path(folder), asked)
        except BaseException:  # noqa: BLE001 - it is told, and this process has no caller
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)
    os.close(tell)
    with os.fdopen(told, encoding="utf-8", errors="replace") as file:
        steps = file.read().splitlines()
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), "steps": steps}


def _preload() -> None:
    """Import once what each life would import."""
    for name in ("duckdb", "jinja2.sandbox", "openpyxl"):
        importlib.import_module(name)
    for module in pkgutil.walk_packages(gemini_batch.__path__, "gemini_batch."):
        # The adapter for Airflow is for processes of Airflow.
        if not module.name.endswith(("__main__", ".airflow")):
            importlib.import_module(module.name)


if __name__ == "__main__":
    _preload()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_born(json.loads(line))) + "\n")
        sys.stdout.flush()
