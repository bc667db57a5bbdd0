"""How a command ends: errors in words or JSON with their exit codes, interruptions, a closed pipe."""

from __future__ import annotations

import contextlib
import errno
import inspect
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gemini_batch.errors import (
    Error,
    Interrupted,
    InvalidInput,
    Next,
    Problem,
    ServiceError,
    StateError,
    Terminated,
    UsageError,
    unforeseen,
)
from gemini_batch.jsonl import utf8_text

if TYPE_CHECKING:
    from collections.abc import Sequence

#: 128 + SIGPIPE, as a program that the system itself stopped would end.
CLOSED_PIPE = 141
SHOWN_PROBLEMS = 20
_SHOWN_LINES = 5
_COME_BACK = {
    "create": "Run the same command again: it continues where this one stopped, and nothing is sent twice.",
    "status": "The job continues. To continue waiting, run the same command.",
    "results": "Run the same command again: it continues where this one stopped.",
    "run": "Created jobs continue; answers are kept. Run the same command again: it continues where this one stopped.",
}


_SCRIPTS = {
    "create": "create_batch.py",
    "status": "check_status.py",
    "results": "get_results.py",
    "run": "run_batch.py",
}


def invoked(following: Next) -> str:
    """A next step as this user can type it, with its reason."""
    return following.with_reason(_typed(following))


def _typed(following: Next) -> str:
    return following.typed(_invocation(following.command))


def _invocation(command: str) -> str | None:
    from gemini_batch.cli import COMMANDS

    if command not in COMMANDS:
        return None
    program = Path(sys.argv[0]).absolute()
    if program.name in _SCRIPTS.values() and command in _SCRIPTS:
        runner = "uv run" if "UV_RUN_RECURSION_DEPTH" in os.environ else "python"
        return f"{runner} {_near(program.with_name(_SCRIPTS[command]))}"
    if program.name == "__main__.py" and program.parent.name == "gemini_batch":
        return f"python -m gemini_batch {command}"
    if shutil.which("gemini-batch"):
        return None
    beside = Path(sys.executable).with_name("gemini-batch")
    return f"{_near(beside)} {command}" if beside.exists() else None


def _near(path: Path) -> str:
    return shlex.quote(os.path.relpath(path))


def quiet_pipe() -> None:
    """The reader has gone: say nothing more, not even while the interpreter closes its files."""
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


def clean(text: str) -> str:
    """Text from outside, fit for a terminal: no control character reaches the screen as such."""
    return "".join(c if c in "\n\t" or (c.isprintable() or c == " ") else _escape(c) for c in text)


def _escape(character: str) -> str:
    escaped = character.encode("ascii", "backslashreplace").decode()
    return escaped if escaped != character else f"\\x{ord(character):02x}"


def show_error(error: BaseException, words: Sequence[str]) -> int:
    """Show what ended a command, as a paragraph or (``--json``) as the documented object; returns the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return UsageError.exit_code
    known = as_error(error, words)
    if known is None:
        if isinstance(error, click.exceptions.Exit):
            return error.exit_code
        raise error
    if "--debug" in words and error.__traceback__ is not None and not isinstance(error, KeyboardInterrupt):
        import traceback

        print(clean("".join(traceback.format_exception(error))), file=sys.stderr)  # noqa: T201 - asked for
    if known.reason_code == "stdout":
        quiet_pipe()  # neither the error nor what is still buffered can go there
    code = _code(known)
    if "--json" in words and known.reason_code != "stdout":
        write_json(_command(words), error={**known.as_json(), "next": known.next}, exit_code=code)
    else:
        if isinstance(known, InvalidInput):
            show_problems(known.problems, known.total + known.warnings, known.file)
        click.echo(f"gemini-batch: {clean(known.paragraph(invoked))}", err=True)
    return code


def _code(error: Error) -> int:
    """The exit code; only an error of the service needs to be looked up."""
    if not isinstance(error, ServiceError):
        return error.exit_code
    from gemini_batch.api.trouble import exit_code

    return exit_code(error)


def as_error(error: BaseException, words: Sequence[str]) -> Error | None:
    """Any exception as one of the documented errors; None for click's own way to say "done"."""
    command = _command(words)
    if isinstance(error, Error):
        return error
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Interrupted("Interrupted.", next=_come_back(command, words))
    if isinstance(error, click.exceptions.Exit):
        return None
    if isinstance(error, click.ClickException):
        message = error.format_message()
        return UsageError(
            message if message.endswith((".", "?")) else f"{message}.",
            code="bad_argument",
            next=Next(command, "--help") if command else Next("--help"),
        )
    if isinstance(error, OSError):
        name = error.filename if isinstance(error.filename, str) else None
        if name is None and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}:
            # Files of our own are explained, with their names, where they are written; this one has none.
            return StateError(
                f"stdout cannot be written: {error.strerror}.",
                code="stdout",
                next=f"What the command did is kept. Redirect stdout elsewhere and run {_same_command(words)} again.",
            )
        if error.errno == errno.ENOSPC:
            return StateError("The disk is full.", file=name, code="disk_full", next="Make room and run it again.")
        return StateError(f"The system refused: {error.strerror or error}.", file=name)
    return unforeseen(error)


def _same_command(words: Sequence[str]) -> str:
    """Which command to repeat: with ``--new``, it would send and pay for everything again."""
    return "the same command without --new" if "--new" in words else "the same command"


def terminated(words: Sequence[str]) -> Terminated:
    """The error that SIGTERM is."""
    return Terminated("Terminated.", next=_come_back(_command(words), words))


def _come_back(command: str, words: Sequence[str]) -> str | Next | None:
    """How to go on after an interruption."""
    if command == "retry":
        return Next("run", "RUN", why="the jobs continue; this continues the run, whose id replaces RUN")
    following = _COME_BACK.get(command)
    return following and following.replace("the same command", _same_command(words), 1)


def _command(words: Sequence[str]) -> str:
    from gemini_batch.cli import COMMANDS

    return next((word for word in words if word in COMMANDS), "")


def show_problems(problems: Sequence[Problem], total: int, file: str | None) -> None:
    """What is wrong with a request file, one finding a paragraph; the same finding in other lines is counted there."""
    alike: dict[tuple[str, str | None, str], list[Problem]] = {}
    for problem in problems:
        alike.setdefault((problem.severity, problem.field, problem.message), []).append(problem)
    left = total
    # A warning never takes the place of an error.
    for same in sorted(alike.values(), key=lambda same: same[0].severity != "error")[:SHOWN_PROBLEMS]:
        left -= len(same)
        sign = "Warning: " if same[0].severity == "warning" else ""
        click.echo(clean(sign + problem_line(same[0], file)), err=True)
        if len(same) > 1:
            more = ", ".join(_lines(one) for one in same[1 : 1 + _SHOWN_LINES])
            dots = ", …" if len(same) > 1 + _SHOWN_LINES else ""
            click.echo(f"    the same in {len(same) - 1:,} more: line {more}{dots}", err=True)
    if left:
        click.echo(f"… and {left:,} more problems (--json has all).", err=True)


def problem_line(problem: Problem, file: str | None) -> str:
    """``file:line:field: message (hint)``; of a corrected copy, the line of the original follows."""
    place = ":".join(str(p) for p in (file, problem.line, problem.field) if p is not None)
    hint = f" ({problem.next})" if problem.next else ""
    origin = "" if problem.original is None else f" [line {problem.original} of the original]"
    return f"{place}: {problem.message}{hint}{origin}"


def _lines(problem: Problem) -> str:
    return str(problem.line) if problem.original is None else f"{problem.line} [{problem.original}]"


def documented(content: object) -> Any:
    """What JSON shows of a value: a next step is the command to type; its reason stands next to it as ``next_why``."""
    if isinstance(content, Next):
        return documented(_typed(content))
    if isinstance(content, str):
        return utf8_text(content)
    if isinstance(content, (list, tuple)):
        return [documented(one) for one in content]
    if isinstance(content, dict):
        return {documented(name): documented(one) for name, one in content.items()}
    names = getattr(content, "__struct_fields__", None) or getattr(content, "__dataclass_fields__", None)
    if names is None:
        return content
    shown = {}
    for name in names:
        value = getattr(content, name)
        shown[name] = documented(value)
        if name == "next" and _may_be_command(type(content)):
            shown["next_why"] = (value.why or None) if isinstance(value, Next) else None
    return shown


def _may_be_command(kind: type) -> bool:
    """Whether the field ``next`` of a type can hold a command; in some it holds only sentences."""
    return any("Next" in str(inspect.get_annotations(base).get("next")) for base in kind.__mro__)


def write_json(command: str, **content: object) -> None:
    """One versioned JSON document on stdout."""
    write_line(command=command, **content)


def write_line(**content: object) -> None:
    """One versioned line of JSON on stdout."""
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode({"version": 1, **documented(content)}) + b"\n")
    sys.stdout.buffer.flush()
