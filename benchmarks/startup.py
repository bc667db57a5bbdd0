"""How long a command takes that does little: what people and agents feel at every call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.measure import compare, program, sdk
from benchmarks.report import Compared

if TYPE_CHECKING:
    from benchmarks.measure import Place

#: No job starts while it is measured, so every look is a request to the service.
_NEVER = "1000000"
_REQUEST = {"key": "only", "request": {"contents": [{"parts": [{"text": "Say hello."}]}]}}


def help_page(place: Place, rounds: int) -> Compared:
    """``gemini-batch --help`` compared with a program over the SDK that shows its help."""
    ours, theirs = compare(
        place, [*program(), "--help"], [*sdk("sdk_help.py"), "--help"], place.environment(), rounds=rounds
    )
    return Compared(name="--help", seconds=ours, sdk_seconds=theirs, target=8.0)


def one_status(place: Place, rounds: int) -> Compared:
    """``gemini-batch status JOB`` over loopback compared with a program over the SDK that prints the state."""
    request = place.folder / "one.jsonl"
    request.write_text(json.dumps(_REQUEST) + "\n")
    with place.subfolder("home") as home, place.emulator("--queue-delay", _NEVER) as emulator:
        environment = place.environment(
            GEMINI_BATCH_HOME=str(home), GOOGLE_GEMINI_BASE_URL=emulator.url, GEMINI_API_KEY="benchmark"
        )
        job = place.run([*program(), "create", str(request)], environment).stdout
        ours, theirs = compare(
            place,
            [*program(), "status", job],
            [*sdk("sdk_status.py"), job],
            environment,
            rounds=rounds,
            prints="JOB_STATE_PENDING",
        )
    return Compared(name="status of one job", seconds=ours, sdk_seconds=theirs, target=2.5)
