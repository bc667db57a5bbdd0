"""Where every way in begins: the console script, ``python -m gemini_batch``, and the scripts of the skill.

Only the standard library and :mod:`gemini_batch.errors` are imported before :func:`main` runs, so everything that can
fail later ends with a documented exit code: a dependency that is not there, a closed stream, a fault of ours.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from gemini_batch.errors import Interrupted, unforeseen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.errors import Error

#: stdout is opened for reading where it was closed: its number is taken, and a write to it fails as before.
_CLOSED = ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY))


def main(arguments: Sequence[str] | None = None, *, script: str | None = None) -> NoReturn:
    """Run the command line and leave the process with the documented exit code (docs/exit-codes.md).

    ``script``: the name of a script that stands for the first word, for the usage line.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        prepare_streams()
        from gemini_batch.cli import execute

        code = execute(words, script=script)
    except KeyboardInterrupt:
        code = _show(Interrupted("Interrupted."), words)
    except BaseException as error:  # noqa: BLE001 - 1 would say that results were written
        code = _show(unforeseen(error), words, cause=error)
    sys.exit(code)


def is_complete() -> bool:
    """Whether everything that the command line is made of can be imported."""
    try:
        import gemini_batch.cli  # noqa: F401 - with all that it depends on
    except (Exception, SystemExit):  # noqa: BLE001 - whatever it is, `main` says it
        return False
    return True


def prepare_streams() -> None:
    """Let no stream decide how a command ends, except stdout, which carries the answer.

    A closed stream gets its number back; otherwise, the next file to be opened would get it, and what is written to the
    stream would go there. What stderr does not take is dropped. A character that the encoding lacks becomes an escape.
    """
    for number, flags in _CLOSED:
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, flags)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - a stream, for good
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - likewise
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr = _unfailing(sys.stderr)


def _unfailing(stream: Any) -> io.TextIOWrapper:
    raw = getattr(getattr(stream, "buffer", None), "raw", None) or io.FileIO(2, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(_Unfailing(raw)),
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


class _Unfailing(io.RawIOBase):
    """Passes on what is written, and drops what cannot be: a full disk, a terminal or a reader that is gone."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw

    def write(self, data: Any) -> int:
        with contextlib.suppress(OSError, ValueError):
            written = self._raw.write(data)
            if written is not None:
                return written
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()


def _show(error: Error, words: Sequence[str], *, cause: BaseException | None = None) -> int:
    """The error in words or JSON, without any of the modules that may be the ones that fail."""
    if cause is not None and "--debug" in words:
        import traceback

        traceback.print_exception(cause)
    if "--json" in words:
        import json

        command = next((word for word in words if not word.startswith("-")), "")
        document = {"version": 1, "command": command, "error": error.as_json(), "exit_code": error.exit_code}
        with contextlib.suppress(OSError):
            sys.stdout.write(json.dumps(document) + "\n")
            sys.stdout.flush()
    else:
        sys.stderr.write(f"gemini-batch: {error}\n")
    return error.exit_code
