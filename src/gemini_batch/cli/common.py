"""What every command shares: how options become one call of the library, and its answer JSON or lines for people.

A command is a function that shows an answer; :func:`verb` does the rest. Each option is written once: its name is that
of the verb's argument.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import math
import os
import re
import signal
import sys
import threading
from functools import reduce
from typing import TYPE_CHECKING, Any

import click

from gemini_batch.cli import COMMANDS, CONTEXT
from gemini_batch.cli.outcome import documented, terminated, write_json, write_line
from gemini_batch.cli.screen import JsonEvents, Screen
from gemini_batch.errors import StateError
from gemini_batch.settings import LONGEST_PAUSE
from gemini_batch.stopping import hurry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemini_batch.client import GeminiBatch

    Parameter = Callable[[Callable[..., Any]], Callable[..., Any]]


class Number(click.FloatRange):
    """A number in a range; ``nan`` and ``inf`` are in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Fails in click's way."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


# The options of several commands.
JOB_NAME = click.argument("job_name", metavar="JOB_NAME")
INPUT_FILE = click.argument("input_file", metavar="INPUT_FILE", type=click.Path())
INPUT = click.argument("input_file", metavar="[INPUT]", required=False)
POLL = click.option(
    "--poll",
    type=Number(0, LONGEST_PAUSE),
    metavar="SECONDS",
    help="Poll at a fixed interval instead of backing off.",
)

_DURATION = re.compile(r"(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s?)?", re.IGNORECASE)
#: Longer than any job lives; what is above it is a slip.
_LONGEST = 30 * 86_400.0


def parse_duration(text: str) -> float | None:
    """``90``, ``90s``, ``9m``, ``2h``, ``1h30m`` as seconds; None for anything else, and for nothing."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds = found.groups()
    if seconds and (hours or minutes) and not text.strip().lower().endswith("s"):
        return None  # "1h30": minutes or seconds?
    return int(hours or 0) * 3600.0 + int(minutes or 0) * 60.0 + float(seconds or 0)


def duration(text: str) -> float:
    """An option's duration, in seconds. Fails in click's way."""
    seconds = parse_duration(text)
    if seconds is None:
        raise click.BadParameter(f"{text!r} is not a duration. Write 90s, 9m, 2h, 1h30m, or seconds as a number.")
    if not 0 < seconds <= _LONGEST:
        raise click.BadParameter(f"{text!r} is not a time to wait. It must be more than 0 and at most 30 days.")
    return seconds


TIMEOUT = click.option(
    "--timeout",
    type=duration,
    metavar="TIME",
    help="Stop waiting after this time (90s, 9m, 1h30m) and exit with 6; nothing is cancelled.",
)

MODEL_CHECK = click.option(
    "--model-check",
    type=click.Choice(["on", "off"]),
    default="on",
    callback=lambda _context, _option, word: word == "on",
    help="off: send to any model; what speaks against it is only a warning.",
)

#: Which of the requests are to be sent.
SELECTION = (
    click.option(
        "--limit",
        type=click.IntRange(min=1),
        metavar="N",
        help="A trial: send only the first N requests, those sent before included. Without it, the rest is sent.",
    ),
    click.option(
        "--sample", type=click.IntRange(min=1), metavar="N", help="A trial: send only N requests, chosen at random."
    ),
    click.option(
        "--sample-seed",
        type=int,
        default=0,
        metavar="S",
        help="Another random choice (default 0). A larger sample with the same S contains the smaller one.",
    ),
)

#: How results become a table.
TABLE_STYLE = (
    click.option("--details", is_flag=True, help="Add tokens, cost, finish reason, model and attempt of each row."),
    click.option(
        "--spreadsheet", is_flag=True, help="Write CSV that spreadsheets open safely: marked as UTF-8, no formulas."
    ),
)
#: The same, and texts in files of their own.
STYLE = (
    *TABLE_STYLE,
    click.option(
        "--output-dir", metavar="DIR", help="Write each text to a file of its own in DIR, named by its --key."
    ),
    click.option("--markdown", is_flag=True, help="With --output-dir, let the files end in .md instead of .txt."),
)

#: What the run may cost.
BUDGET = (
    click.option(
        "--max-usd",
        metavar="USD",
        help="The most that the run may cost, in USD, with all attempts. No job is created that could exceed it.",
    ),
    click.option(
        "--max-usd-basis",
        type=click.Choice(["expected", "worst"]),
        help="The cost that is compared with the limit before anything is sent (default expected).",
    ),
    click.option(
        "--max-usd-unknown",
        type=click.Choice(["refuse", "allow"]),
        help="Whether to send requests whose cost nothing bounds, under a limit (default refuse).",
    ),
)

DEDUPE = click.option(
    "--dedupe", is_flag=True, help="Send identical requests once, and give the answer to each of their keys."
)

LENIENT = click.option(
    "--lenient",
    is_flag=True,
    help="Refuse only what the service certainly refuses; unknown fields and unusual values become warnings.",
)

_VERTEX = (
    ("--backend", click.Choice(["gemini", "vertex"]), "Google's service: the Gemini API (default), or Vertex AI."),
    ("--project", None, "With Vertex AI, the project that pays (default GOOGLE_CLOUD_PROJECT)."),
    ("--location", None, "With Vertex AI, where it works: europe-west4, or global (default GOOGLE_CLOUD_LOCATION)."),
    (
        "--bucket",
        None,
        "With Vertex AI, where files go: gs://bucket or gs://bucket/folder (default GEMINI_BATCH_BUCKET).",
    ),
)


def _place(*, hidden: bool) -> tuple[Parameter, ...]:
    """The backend and what it needs. Each also has a variable, so most commands do not show these options."""
    return tuple(
        click.option(name, type=kind, metavar=None if kind else name[2:].upper(), help=text, hidden=hidden)
        for name, kind, text in _VERTEX
    )


_ASKING = (
    click.option("--offline", is_flag=True, default=None, help="Use the local emulator: no key, no network, no cost."),
)
#: For a command that contacts no service: ``--offline`` is accepted, but not shown; only the next step depends on it.
_LOCAL = (click.option("--offline", is_flag=True, default=None, hidden=True),)
_ALL = (
    click.option("--json", "as_json", is_flag=True, help="Print the result, or the error, as JSON on stdout."),
    click.option("--quiet", "-q", is_flag=True, help="Print only errors on stderr."),
    # Read where errors are shown.
    click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."),
)


#: Commands that send requests.
_SENDS = frozenset({"run", "create"})


def command(name: str, *parameters: Parameter, asks: bool = True) -> Callable[[Callable[..., Any]], click.Command]:
    """A function as the command of that name, with the options that all commands have after its own.

    ``asks``: whether the command asks the service anything.
    """

    def make(function: Callable[..., Any]) -> click.Command:
        asking = (*_place(hidden=name not in _SENDS), *_ASKING)
        every = (*parameters, *(asking if asks else _LOCAL), *_ALL)
        with_options = reduce(lambda made, parameter: parameter(made), reversed(every), function)
        return click.command(name, short_help=COMMANDS[name][1], context_settings=CONTEXT)(with_options)

    return make


def _always(**_: object) -> bool:
    return True


def verb(
    name: str,
    *parameters: Parameter,
    method: str | None = None,
    call: Callable[..., Any] | None = None,
    document: Callable[..., dict[str, object]] | None = None,
    each: str | None = None,
    ends: Callable[..., int] | None = None,
    asks: bool = True,
    uses_stdout: Callable[..., bool] = _always,
    streams: bool = False,
) -> Callable[[Callable[..., str | None]], click.Command]:
    """A command that calls one verb of the library and shows what it gave back.

    The decorated function shows that to people: ``show(found, screen, **options)``, and returns the last line for
    stdout, if there is one. Its docstring is the help. ``method`` is the library's verb where its name differs;
    ``call(batch, **options)`` stands for it where the command does more than call it. ``document`` gives the members of
    the JSON document instead of the answer as ``result``, ``ends`` the exit code where it is not always 0, both from
    the same arguments as ``show`` without the screen. ``uses_stdout``: whether the answer goes to stdout at all, from
    the options. ``streams``: with ``--json``, events are JSON lines before it. ``each``: with ``--json``, the answer is
    iterated over, and its parts are JSON lines before the document, as events of that name.
    """

    def make(show: Callable[..., str | None]) -> click.Command:
        def run(*, as_json: bool, quiet: bool, **options: Any) -> int:
            from gemini_batch.client import GeminiBatch
            from gemini_batch.settings import load_settings

            settings = None
            if asks:
                place = {option: options.pop(option, None) for option in ("backend", "project", "location", "bucket")}
                settings = load_settings(offline=options["offline"], poll=options.pop("poll", None), **place)
            with JsonEvents() if as_json and streams else Screen(quiet=quiet or as_json) as screen:
                if uses_stdout(as_json=as_json, **options):
                    check_stdout()
                offline = options["offline"]
                with terminable(), GeminiBatch(settings, offline=offline, on_event=screen.emit) as batch:
                    if call is None:
                        found = call_method(batch, method or name, **options)
                    else:
                        found = call(batch, as_json=as_json, **options)
                code = ends(found, **options) if ends else 0
                if as_json:
                    for part in found if each else ():
                        write_line(event=each, **documented(part))
                    body = document(found, **options) if document else {"result": found}
                    write_json(name, **body, **({"exit_code": code} if ends else {}))
                    return code
                answer = show(found, screen, **options)
            if answer is not None:
                click.echo(answer)
            return code

        run.__doc__ = show.__doc__
        return command(name, *parameters, asks=asks)(run)

    return make


def call_method(batch: GeminiBatch, name: str, /, **options: Any) -> Any:
    """Call the library's verb with those of the options that are its arguments."""
    if any(name.startswith("max_usd") and value is not None for name, value in options.items()):
        from gemini_batch.money.limits import MaxUsd

        options["max_usd"] = MaxUsd(options["max_usd"], options["max_usd_basis"], options["max_usd_unknown"])
    method = getattr(batch, name)
    parameters = inspect.signature(method).parameters
    arguments = set(parameters)
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        from gemini_batch.intake.table_options import TableOptions

        arguments |= TableOptions.__annotations__.keys()
    return method(**{option: value for option, value in options.items() if option in arguments})


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends what is done here as Ctrl-C does: in order, with a word about how to come back."""

    def stop(*_: object) -> None:
        hurry()
        raise terminated(sys.argv[1:])

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


#: Names by which a shell's user means this process's own stdout.
_STDOUT = frozenset({"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})


def is_stdout(output: str | None) -> bool:
    """Whether ``-o`` names stdout, however it is spelt."""
    return output in _STDOUT


def check_stdout() -> None:
    """Before anything is done or paid: refuse to work for an answer that nobody can read. Raises StateError.

    Writing nothing shows what can be known now: a stream that is closed or not open for writing, and a full device.
    """
    try:
        os.write(sys.stdout.fileno(), b"")
    except io.UnsupportedOperation:
        return  # stdout of a test or a notebook
    except OSError as error:
        raise StateError(
            f"stdout cannot be written: {error.strerror}. Nothing was done.",
            code="stdout",
            next="Redirect stdout to a file or to another command, then run the same command again.",
        ) from None
