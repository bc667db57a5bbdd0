"""The libraries of the extra ``tables``, imported when they are needed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from gemini_batch.errors import UsageError


def needed(name: str, what: str, install: str = "'gemini-batch[tables]'") -> Any:
    """The module of that name. Raises UsageError with the line that installs it; ``what`` is what needs it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        raise UsageError(
            f"{what} needs the library {name.partition('.')[0]}, which is not installed.",
            code="missing_extra",
            next=f"Run pip install {install}.",
        ) from error


def is_installed(name: str) -> bool:
    """Whether a library is there; it is not imported."""
    return importlib.util.find_spec(name) is not None
