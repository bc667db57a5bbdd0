"""The error tree, with the exit code of each branch.

::

    Error
    ├── UsageError [2]        what was typed, or what is in the input: arguments, files, lines, names, a missing key
    │   └── InvalidInput      a request file with problems; carries all of them
    ├── StateError [3]        this machine: state folder, ledger, disk, locks
    ├── ServiceError [4]      the service or the way to it
    │   ├── NetworkError      no answer at all; `sent` says whether the request can have reached the service
    │   └── ApiError          an answer that is an error: HTTP status, the service's own reason and message
    ├── JobError [5]          a job ended and has no answers to give
    ├── NotFinished [6]       asked for results of a job that is still alive, or a bounded wait has ended before it
    └── Interrupted [130]     Ctrl-C; Terminated [143] for SIGTERM

Every error says what happened, where (file, line, field) and what to do next. Bad lines of a request file are values
(:class:`Problem`) that flow to a report; exceptions are for what stops the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


_ENDS = (".", "!", "?", "…", ":", ";")


class Next:
    """What to do next: a command of this program with its arguments, and why. Where it costs money, ``why`` says so.

    ``str()`` is the command as a shell takes it, with the reason in parentheses; the command line shows it as this user
    can type it.
    """

    __slots__ = ("args", "command", "why")

    def __init__(self, command: str, *args: str, why: str = "") -> None:
        self.command = command
        self.args = args
        self.why = why

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Next) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"Next({str(self)!r})"

    def __str__(self) -> str:
        return self.with_reason(self.typed())

    def typed(self, program: str | None = None) -> str:
        """The command line, where ``program`` is what runs ``command``; ``gemini-batch COMMAND`` if it is not given."""
        import shlex

        return " ".join([program or f"gemini-batch {self.command}", *map(shlex.quote, self.args)])

    def with_reason(self, typed: str) -> str:
        """A command line followed by the reason in parentheses."""
        return f"{typed}  ({self.why})" if self.why else typed

    def writing_to(self, output: str, *style: str) -> Next:
        """The same command with another file after ``-o``, and the options ``style`` after that. A command that works
        requests off without ``-o`` gets both; any other one stays as it is."""
        args = list(self.args)
        if "-o" in args:
            at = args.index("-o") + 1
            args[at : at + 1] = [output, *style]
        elif self.command in {"run", "retry"}:
            args += ["-o", output, *style]
        return Next(self.command, *args, why=self.why)


def _sentences(first: str, second: str) -> str:
    """Two sentences as one text; the words of a service or a library often lack their full stop."""
    return f"{first}{'' if first.endswith(_ENDS) else '.'} {second}"


class Error(Exception):
    """Anything this package raises on purpose. ``str()`` is one plain paragraph for a person."""

    exit_code: ClassVar[int] = 4
    code: ClassVar[str] = "error"

    def __init__(
        self,
        message: str,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        field: str | None = None,
        next: str | Next | None = None,  # noqa: A002 - the name of the field in the documented JSON
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = None if file is None else str(file)
        self.line = line
        self.field = field
        self.next = next
        self.reason_code = code or self.code

    @property
    def place(self) -> str:
        """``file:line:field``, as far as it is known; empty where nothing is."""
        return ":".join(str(part) for part in (self.file, self.line, self.field) if part is not None)

    def __str__(self) -> str:
        return self.paragraph()

    def paragraph(self, shown: Callable[[Next], str] = str) -> str:
        """Place, message and what to do next; ``shown`` writes a command as the reader can type it."""
        head = f"{self.place}: {self.message}" if self.place else self.message
        if not self.next:
            return head
        return _sentences(head, f"Next: {shown(self.next)}" if isinstance(self.next, Next) else self.next)

    def then(self, sentence: str) -> str:
        """The message, and a sentence that follows it."""
        return _sentences(self.message, sentence)

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are made again from their positional arguments; these take others. Process pools need it.
        return _again, (type(self), self.args, dict(self.__dict__))

    def as_json(self) -> dict[str, object]:
        """The documented error object: ``code, message, file, line, field, next, next_why``, absent ones as null."""
        command = self.next if isinstance(self.next, Next) else None
        return {
            "code": self.reason_code,
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "field": self.field,
            "next": self.next if command is None else command.typed(),
            "next_why": (command.why or None) if command else None,
        }


def _again(kind: type[Error], args: tuple[object, ...], fields: dict[str, object]) -> Error:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class UsageError(Error):
    """An argument or the input cannot be used; nothing was sent."""

    exit_code = 2
    code = "usage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding about a request file. ``line`` counts from 1; ``field`` is a dotted path inside the line."""

    message: str
    """What is wrong."""
    line: int | None = None
    """Line of the file, from 1."""
    field: str | None = None
    """Path of the field inside the line, separated by dots."""
    next: str | None = None
    """How to fix it."""
    severity: Literal["error", "warning"] = "error"
    """An `error` stops the file; a `warning` does not."""
    original: int | None = None
    """In a corrected copy: the line of the original, from 1, from which the line was made; otherwise null."""

    def as_json(self) -> dict[str, object]:
        """The same facts, for ``--json``."""
        return {
            "severity": self.severity,
            "line": self.line,
            "original": self.original,
            "field": self.field,
            "message": self.message,
            "next": self.next,
        }


class InvalidInput(UsageError):
    """A request file was refused before anything was sent; carries every problem found in it, warnings included.

    ``total``: the number of errors. ``warnings``: the number of warnings. ``corrected``: the command that writes a
    corrected copy. ``unit``: what the problems are in.
    """

    code = "invalid_input"

    def __init__(
        self,
        file: Path | str,
        problems: Sequence[Problem],
        *,
        total: int | None = None,
        warnings: int = 0,
        corrected: str | None = None,
        unit: Literal["line", "row"] = "line",
    ) -> None:
        count = total if total is not None else len(problems)
        plural = "" if count == 1 else "s"
        super().__init__(
            f"{count} problem{plural} found; nothing was sent.",
            file=file,
            next=f"Fix the {unit}{plural}{' or the options' if unit == 'row' else ''} and run the same command again"
            + (f", or write a corrected copy: {corrected}" if corrected else "."),
        )
        self.problems = tuple(problems)
        self.total = count
        self.warnings = warnings

    def __str__(self) -> str:
        first = next((one for one in self.problems if one.severity == "error"), None)
        if first is None:
            return self.paragraph()
        line = "" if first.line is None else f"Line {first.line}: "
        head = _sentences(f"{self.place}: {self.message}", f"{line}{first.message}")
        return _sentences(_sentences(head, first.next) if first.next else head, str(self.next))

    def as_json(self) -> dict[str, object]:
        """The error object with all ``problems``, the ``total`` of errors and the number of ``warnings``."""
        return {
            **super().as_json(),
            "total": self.total,
            "warnings": self.warnings,
            "problems": [p.as_json() for p in self.problems],
        }


class StateError(Error):
    """A problem on this machine: the state folder, the ledger, the disk, or a lock."""

    exit_code = 3
    code = "local_state"


def unforeseen(error: BaseException) -> StateError:
    """An exception that nothing expects, as an error with exit code 3: a broken installation, or a fault of ours."""
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, ImportError):
        return StateError(
            f"This installation of gemini-batch is incomplete or damaged ({what}).",
            code="broken_installation",
            next="Install gemini-batch again, with its dependencies; in a clone, run make setup.",
        )
    return StateError(
        f"Something unexpected happened ({what}). This is a fault in gemini-batch; nothing that was recorded is lost.",
        code="internal",
        next="Run the same command again; add --debug and report what it prints if it happens once more.",
    )


class ServiceError(Error):
    """The service, or the network on the way to it, failed."""

    exit_code = 4
    code = "service"


class NetworkError(ServiceError):
    """No usable answer came. ``sent`` is False only where the request certainly never left this machine."""

    code = "network"

    def __init__(self, message: str, *, sent: bool, next: str | Next | None = None) -> None:  # noqa: A002 - see Error
        super().__init__(message, next=next)
        self.sent = sent


class ApiError(ServiceError):
    """The service answered with an error.

    ``status`` is the HTTP status, ``reason`` the service's own word for it (``RESOURCE_EXHAUSTED``), ``retry_after``
    the seconds that the service asked for, if it did.
    """

    code = "api_error"

    def __init__(
        self,
        message: str,
        *,
        status: int,
        reason: str = "",
        retry_after: float | None = None,
        details: Sequence[Mapping[str, object]] = (),
        next: str | Next | None = None,  # noqa: A002 - see Error
        code: str | None = None,
    ) -> None:
        super().__init__(message, next=next, code=code or (reason.lower() or None))
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
        self.details = tuple(details)


class JobError(Error):
    """A job ended and has no answers to give. ``job`` is its name, ``state`` the last state seen."""

    exit_code = 5
    code = "job_ended_without_results"

    def __init__(
        self,
        message: str,
        *,
        job: str,
        state: str,
        code: str | None = None,
        next: str | Next | None = None,  # noqa: A002 - see Error
    ) -> None:
        super().__init__(message, next=next, code=code)
        self.job = job
        self.state = state


class NotFinished(Error):
    """Results were asked for while the job is alive, or a bounded wait has ended before it (``timeout``).

    ``job`` is the name of the job or the id of the run; empty where there is none yet. ``state`` is the last one seen.
    """

    exit_code = 6
    code = "not_finished"

    def __init__(
        self,
        message: str,
        *,
        job: str,
        state: str,
        code: str | None = None,
        next: str | Next | None = None,  # noqa: A002 - see Error
    ) -> None:
        super().__init__(message, next=next, code=code)
        self.job = job
        self.state = state


class Interrupted(Error):
    """The user ended the wait; the job continues."""

    exit_code = 130
    code = "interrupted"


class Terminated(Interrupted):
    """The same by SIGTERM."""

    exit_code = 143
    code = "terminated"


class RowError(Exception):
    """One row without an answer, for responders of the emulator: a gRPC code and a message, which may be empty.

    Not an :class:`Error`: it never leaves the emulator, which writes it into the row's line of the output. ``field`` is
    the name that it has there; the service writes ``error``.
    """

    def __init__(
        self, code: int, message: str = "", *, details: Sequence[Mapping[str, Any]] = (), field: str = "error"
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = tuple(details)
        self.field = field

    def body(self) -> dict[str, Any]:
        """A ``google.rpc.Status``."""
        status: dict[str, Any] = {"code": self.code}
        if self.message:
            status["message"] = self.message
        if self.details:
            status["details"] = list(self.details)
        return status
