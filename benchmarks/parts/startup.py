"""1. How long a small command takes: what people and agents feel at every call."""

from __future__ import annotations

import statistics
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.lines import Goal, Line, compared
from benchmarks.measure import alternating, program, script
from benchmarks.parts.requests import write_small

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.measure import Ended, Place, Standing
    from benchmarks.sizes import Sizes

#: No job starts while it is measured, so each poll is a call of the service.
_NEVER = ("--queue-delay", "2500000")
_WARM_UP = 2
_CALLS = 20
_JOBS_A_RUN = 50


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """``--help``, ``status`` of one job, ``list``, and many calls over one client."""
    yield _against_sdk(
        place,
        "`--help`",
        [*program(), "--help"],
        [*script("sdk_help"), "--help"],
        given={},
        sizes=sizes,
        goal=Goal(ratio=8.0),
    )
    with place.subfolder("home") as home, place.emulator(*_NEVER) as emulator:
        given = _given(place, emulator, str(home))
        file = write_small(place.folder / "one.jsonl", 1)
        job = place.run([*program(), "create", str(file)], given).stdout
        yield _against_sdk(
            place,
            "`status` of one job",
            [*program(), "status", job],
            [*script("sdk_status"), job],
            given=given,
            sizes=sizes,
            prints="JOB_STATE_PENDING",
            goal=Goal(ratio=3.0),
        )
        yield _kept_open(place, job, given, sizes)
    # Jobs of several runs, since one run has seldom a thousand; all have ended, since at most 100 are alive at a time.
    with place.subfolder("many") as home, place.emulator() as emulator:
        given = _given(place, emulator, str(home))
        for number in range(0, sizes.jobs, _JOBS_A_RUN):
            file = write_small(place.folder / f"jobs-{number}.jsonl", min(_JOBS_A_RUN, sizes.jobs - number))
            make = [*program(), "run", str(file), "--new", "--max-requests-per-job", "1", "--poll", "0.2", "--quiet"]
            place.run([*make, "-o", str(home / "results.jsonl")], given)
        yield _against_sdk(
            place, f"`list` of {sizes.jobs:,} jobs", [*program(), "list"], script("sdk_list"), given=given, sizes=sizes,
            lines=sizes.jobs, note="ours reads the ledger, the SDK asks the service",
        )  # fmt: skip


def _given(place: Place, emulator: Standing, home: str) -> dict[str, str]:
    return place.environment(GEMINI_BATCH_HOME=home, GOOGLE_GEMINI_BASE_URL=emulator.url, GEMINI_API_KEY="benchmark")


def _against_sdk(
    place: Place,
    name: str,
    ours: list[str],
    theirs: list[str],
    *,
    given: dict[str, str],
    sizes: Sizes,
    prints: str | None = None,
    lines: int = 0,
    goal: Goal | None = None,
    note: str = "",
) -> Line:
    def run(words: list[str]) -> Ended:
        ended = place.run(words, given or place.environment())
        if prints is not None and ended.stdout != prints:
            raise RuntimeError(f"{' '.join(words)} printed {ended.stdout!r} instead of {prints!r}.")
        if lines and not lines <= len(ended.stdout.splitlines()) <= lines + 1:  # a line with the names of the columns
            raise RuntimeError(f"{' '.join(words)} printed {len(ended.stdout.splitlines()):,} lines.")
        return ended

    works = {"ours": lambda: run(ours), "theirs": lambda: run(theirs)}
    taken = alternating(works, sizes.rounds, warm_up=_WARM_UP)
    return compared(name, taken["ours"], "SDK script", taken["theirs"], goal=goal, note=note)


def _kept_open(place: Place, job: str, given: dict[str, str], sizes: Sizes) -> Line:
    """``status`` many times over one open client, compared with a client for each call; the time within the process."""
    words = {how: [*script("status_calls"), how, job, str(_CALLS)] for how in ("one", "each")}
    taken = alternating({how: partial(place.run, words[how], given) for how in words}, sizes.rounds)
    one, each = (statistics.median(float(ended.stdout) for ended in taken[how]) for how in words)
    return Line(
        name=f"{_CALLS} `status` calls, one client",
        ours=one,
        peak=max(ended.peak for ended in taken["one"]),
        baseline="a client for each call",
        theirs=each,
        their_peak=max(ended.peak for ended in taken["each"]),
        rounds=sizes.rounds,
        goal=Goal(ratio=2.0),
    )
