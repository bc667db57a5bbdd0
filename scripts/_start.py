"""Starts one command of gemini-batch for the scripts in this folder, from any working folder and Python.

Looks for the package in this Python, then in the clone's own ``.venv``. If neither has it, one line says what to type.
Any Python 3 can read this file as far as that line.
"""

import os
import sys


def run(command):  # type: (str) -> None
    """Run ``gemini-batch COMMAND`` with this process's arguments."""
    try:
        from gemini_batch.cli import main
    except (ImportError, SyntaxError):
        _again_in_the_clone(command)
    else:
        main([command, *sys.argv[1:]], script=os.path.basename(sys.argv[0]))


def _again_in_the_clone(command):  # type: (str) -> None
    script = os.path.abspath(sys.argv[0])
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    python = os.path.join(root, ".venv", "Scripts" if os.name == "nt" else "bin", "python")
    already_there = os.path.abspath(sys.prefix) == os.path.join(root, ".venv")
    if not already_there and os.access(python, os.X_OK):
        os.execv(python, [python, script, *sys.argv[1:]])
    if os.path.exists(os.path.join(root, "Makefile")):
        hint = "make -C '%s' setup   (or: uv run '%s' ...)" % (root, script)
    else:
        hint = "%s -m pip install PATH-OF-THE-GEMINI-BATCH-CLONE" % os.path.basename(sys.executable or "python")
    sys.stderr.write("%s: the gemini-batch library is not installed. Type: %s\n" % (command, hint))
    sys.exit(3)
