"""Starts one command of gemini-batch for the scripts in this folder, from any working folder and Python.

Looks for the package in this Python, then in the clone's own ``.venv``. If neither has it, one line says what to type.
Any Python 3 can read this file as far as that line.
"""

import contextlib
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def run(command):  # type: (str) -> None
    """Run ``gemini-batch COMMAND`` with this process's arguments."""
    start = _package()
    if start is None or not start.is_complete():
        _again_in_the_clone()
    if start is None:
        _say_what_to_type(command)
        sys.exit(3)
    start.main([command, *sys.argv[1:]], script=os.path.basename(sys.argv[0]))


def _package() -> "ModuleType | None":
    try:
        from gemini_batch import start
    except Exception:  # noqa: BLE001 - not installed, or for a later Python
        return None
    return start


def _again_in_the_clone():  # type: () -> None
    """Start this script anew with the clone's own Python; return if there is none, or if it is this one."""
    root = _root()
    python = os.path.join(root, ".venv", "Scripts" if os.name == "nt" else "bin", "python")
    already_there = os.path.abspath(sys.prefix) == os.path.join(root, ".venv")
    if not already_there and os.access(python, os.X_OK):
        with contextlib.suppress(OSError):  # one that cannot be started is of no more use than none
            os.execv(python, [python, os.path.abspath(sys.argv[0]), *sys.argv[1:]])


def _say_what_to_type(command):  # type: (str) -> None
    root = _root()
    if os.path.exists(os.path.join(root, "Makefile")):
        script = os.path.abspath(sys.argv[0])
        hint = "make -C '%s' setup   (or: uv run '%s' ...)" % (root, script)
    else:
        hint = "%s -m pip install PATH-OF-THE-GEMINI-BATCH-CLONE" % os.path.basename(sys.executable or "python")
    line = "%s: the gemini-batch library is not installed. Type: %s\n" % (command, hint)
    with contextlib.suppress(OSError):  # the exit code says it as well
        os.write(2, line.encode("utf-8", "backslashreplace"))


def _root():  # type: () -> str
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
