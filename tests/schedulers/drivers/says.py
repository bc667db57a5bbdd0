"""How a driver talks to its test: a line of stdin calls the program of the example once, a line of stdout is what came.

What the scheduler itself prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def answer(call: Callable[[float], dict[str, Any]]) -> None:
    """Call once for each line, which says for how many seconds a worker may be held; until stdin is closed."""
    for line in sys.stdin:
        print(json.dumps(call(float(line)), default=str), file=_answers, flush=True)
