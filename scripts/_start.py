"""Starts one command of gemini-batch for the scripts in this folder, from any working folder and Python.

Looks for the package in this Python, then in the clone's own ``.venv``. If neither has it, one line says what to type.
Any Python 3 can read this file as far as that line.
"""

import os
import sys


def run(command):  # type: (str) -> None
    """Run ``gemini-batch COMMAND`` with this process's arguments."""
    main = None
    try:
        from gemini_batch.start import main

        import gemini_batch.cli  # noqa: F401 - with what it depends on
    except (Exception, SystemExit):  # noqa: BLE001 - not installed, or in part, or not for this Python: look elsewhere
        _again_in_the_clone()
    if main is None:
        _say_what_to_type(command)
        sys.exit(3)
    main([command, *sys.argv[1:]], script=os.path.basename(sys.argv[0]))


def _again_in_the_clone():  # type: () -> None
    """Start this script anew with the clone's own Python; return if there is none, or if it is this one."""
    root = _root()
    python = os.path.join(root, ".venv", "Scripts" if os.name == "nt" else "bin", "python")
    already_there = os.path.abspath(sys.prefix) == os.path.join(root, ".venv")
    if not already_there and os.access(python, os.X_OK):
        try:
            os.execv(python, [python, os.path.abspath(sys.argv[0]), *sys.argv[1:]])
        except OSError:
            pass  # it cannot be started, so it is of no more use than none


def _say_what_to_type(command):  # type: (str) -> None
    root = _root()
    if os.path.exists(os.path.join(root, "Makefile")):
        script = os.path.abspath(sys.argv[0])
        hint = "make -C '%s' setup   (or: uv run '%s' ...)" % (root, script)
    else:
        hint = "%s -m pip install PATH-OF-THE-GEMINI-BATCH-CLONE" % os.path.basename(sys.executable or "python")
    line = "%s: the gemini-batch library is not installed. Type: %s\n" % (command, hint)
    try:
        os.write(2, line.encode("utf-8", "backslashreplace"))
    except OSError:
        pass  # the exit code says it as well


def _root():  # type: () -> str
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
