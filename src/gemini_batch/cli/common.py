"""What every command shares: its options, and running a coroutine so that Ctrl-C and SIGTERM end it in order."""

from __future__ import annotations

import functools
import re
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gemini_batch.cli.outcome import terminated

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gemini_batch.settings import Settings

T = TypeVar("T")


def local_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a command that asks nobody: ``--offline`` is taken, and not shown, since it changes nothing."""
    return _options(function, shows_offline=False)


def shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--offline --json --quiet --debug``."""
    return _options(function, shows_offline=True)


def _options(function: Callable[..., Any], *, shows_offline: bool) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option(
                "--offline",
                is_flag=True,
                default=None,
                hidden=not shows_offline,
                help="Use the local emulator: no key, no network, no cost.",
            ),
            click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, errors too."),
            click.option("--quiet", "-q", is_flag=True, help="Say nothing on stderr but errors."),
            click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        )
    ):
        function = option(function)

    @functools.wraps(function)
    def wrapped(*args: Any, debug: bool, **kwargs: Any) -> Any:
        del debug  # read where errors are shown
        return function(*args, **kwargs)

    return wrapped


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


def timeout_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--timeout``."""
    return click.option(
        "--timeout",
        type=duration,
        metavar="TIME",
        help="Stop waiting after this time (90s, 9m, 1h30m) and end with 6; nothing is cancelled.",
    )(function)


#: Names by which a shell's user means this process's own stdout.
_STDOUT = frozenset({"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})


def is_stdout(output: str | None) -> bool:
    """Whether ``-o`` names stdout, however it is spelt."""
    return output in _STDOUT


def settings(offline: bool | None, *, poll: float | None = None) -> Settings:
    """The settings of this process with the command's flags before them."""
    from gemini_batch import settings as module

    return module.load(offline=offline, poll=poll)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end. Ctrl-C raises KeyboardInterrupt, SIGTERM Terminated, both after an orderly stop."""
    import asyncio
    import signal

    stopped = False

    async def guarded() -> T:
        nonlocal stopped
        task = asyncio.current_task()
        assert task is not None

        def stop() -> None:
            nonlocal stopped
            stopped = True
            task.cancel()

        if sys.platform != "win32":
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        return await work

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        if stopped:
            raise terminated(sys.argv[1:]) from None
        raise
