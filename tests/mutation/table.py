"""The breakages: which line is changed to what, and which tests have to fail then.

Each takes out one guard. A breakage is text, so it is held to the source by a quick test: each old text must stand in
its file exactly once.
"""

from __future__ import annotations

from mutation.emulator import BOUNDED, CALLERS, PRIVATE, REHEARSAL
from mutation.local import BAD_INPUT, LOCAL, SECRETS
from mutation.requests import REQUESTS
from mutation.runs import RUNS
from mutation.service import COLLECTING, CREATING
from mutation.state import MIGRATING

BREAKAGES = (
    BAD_INPUT
    + REQUESTS
    + LOCAL
    + SECRETS
    + CREATING
    + COLLECTING
    + RUNS
    + MIGRATING
    + CALLERS
    + PRIVATE
    + BOUNDED
    + REHEARSAL
)
