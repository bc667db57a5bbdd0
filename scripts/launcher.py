"""Starts one command of gemini-batch for the scripts in this folder, from any working folder and Python.

Looks for the package in this Python, in the clone that this folder is part of, in the environment in which this folder
is installed, and for the command ``gemini-batch`` on the PATH. If it is nowhere, one line says what to type. Any Python
3 can read this file as far as that line.
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
        _again_in_another_python()
    if start is None:
        start = _package_in_the_clone()
    if start is None:
        _by_its_name(command)
        _say_what_to_type(command)
        sys.exit(3)
    start.main([command, *sys.argv[1:]], script=os.path.basename(sys.argv[0]))


def _package() -> "ModuleType | None":
    try:
        from gemini_batch import start
    except Exception:  # noqa: BLE001 - not installed, or for a later Python
        sys.modules.pop("gemini_batch", None)  # a folder of that name is not the package
        return None
    return start


def _package_in_the_clone() -> "ModuleType | None":
    """The package from the source, where this Python has what it needs, as under ``uv run``."""
    clone = _clone()
    if clone is None:
        return None
    sys.path.insert(0, os.path.join(clone, "src"))
    start = _package()
    return start if start is not None and start.is_complete() else None


def _again_in_another_python():  # type: () -> None
    """Start this script anew with the Python that has the package; return if there is none, or if it is this one."""
    environment = _environment()
    if environment is None or os.path.realpath(sys.prefix) == os.path.realpath(environment):
        return
    python = os.path.join(environment, "Scripts" if os.name == "nt" else "bin", "python")
    if os.access(python, os.X_OK):
        with contextlib.suppress(OSError):  # one that cannot be started is of no more use than none
            os.execv(python, [python, os.path.abspath(sys.argv[0]), *sys.argv[1:]])


def _by_its_name(command):  # type: (str) -> None
    """Become the command ``gemini-batch``; return if the PATH has none."""
    from shutil import which

    program = which("gemini-batch")
    if program is not None:
        with contextlib.suppress(OSError):
            os.execv(program, [program, command, *sys.argv[1:]])


def _say_what_to_type(command):  # type: (str) -> None
    clone = _clone()
    if clone is not None:
        hint = "make -C '%s' setup   (or: uv run '%s' ...)" % (clone, os.path.abspath(sys.argv[0]))
    else:
        hint = "%s -m pip install PATH-OF-THE-GEMINI-BATCH-CLONE" % os.path.basename(sys.executable or "python")
    line = "%s: the gemini-batch library is not installed. Type: %s\n" % (command, hint)
    with contextlib.suppress(OSError):  # the exit code says it as well
        os.write(2, line.encode("utf-8", "backslashreplace"))


def _clone():  # type: () -> str | None
    """The clone whose ``scripts`` or ``skills/gemini-batch/scripts`` this folder is."""
    for path in (os.path.abspath(__file__), os.path.realpath(__file__)):
        folder = os.path.dirname(path)
        for up in ("..", os.path.join("..", "..", "..")):
            clone = os.path.normpath(os.path.join(folder, up))
            if os.path.isfile(os.path.join(clone, "src", "gemini_batch", "__init__.py")):
                return clone
    return None


def _environment():  # type: () -> str | None
    """The clone's ``.venv``, or the environment that this folder, behind any link, is installed in."""
    clone = _clone()
    if clone is not None:
        return os.path.join(clone, ".venv")
    folder = os.path.dirname(os.path.realpath(__file__))
    while folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
        if os.path.isfile(os.path.join(folder, "pyvenv.cfg")):
            return folder
    return None
