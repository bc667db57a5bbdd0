"""6. A whole run, by this tool, by a script over the SDK, and by other clients that take a base URL."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.lines import Goal, Line, compared
from benchmarks.measure import SCRIPTS, alternating, program, script
from benchmarks.parts.requests import write_small

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.measure import Ended, Place
    from benchmarks.sizes import Sizes

_TESTS = Path(__file__).parents[2] / "tests"
_SDK = "SDK: file job, poll, stream, dict"
#: Other clients, each in an environment of its own: its script, and what it needs.
CLIENTS = {
    "pydantic-ai 2.68.0": ("other_pydantic_ai", ("pydantic-ai-slim[google]==2.68.0",)),
    "batchwork-ai 0.3.0": ("other_batchwork", ("batchwork-ai==0.3.0",)),
    "litellm 1.110.2": ("other_litellm", ("litellm==1.110.2",)),
}


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """All have the same file, and poll twice a second; the emulator answers as fast as it can."""
    rows = sizes.run_rows
    file = write_small(place.folder / "whole.jsonl", rows)
    name = f"whole run of {rows:,} requests"
    with place.emulator("--responder", "answers:small") as emulator:
        keys = iter(range(1_000_000))

        def given() -> dict[str, str]:
            """A project of its own for each run."""
            key = f"key-{next(keys)}"
            return place.environment(
                GOOGLE_GEMINI_BASE_URL=emulator.url, GOOGLE_BASE_URL=emulator.url, GEMINI_BATCH_POLL="0.5",
                GEMINI_API_KEY=key, GOOGLE_API_KEY=key, LITELLM_LOCAL_MODEL_COST_MAP="True",
            )  # fmt: skip

        taken = alternating(
            {
                "ours": lambda: _ours(place, file, rows, given()),
                "sdk": lambda: _theirs(place, script("sdk_run"), file, rows, given()),
            },
            sizes.few,
        )
        ours = taken["ours"]
        yield compared(name, ours, _SDK, taken["sdk"], work=rows, goal=Goal(ratio=1.0, memory_share=0.25))
        for client, (words, requirements) in CLIENTS.items():
            theirs: list[Ended] = []
            note = ""
            try:
                python = _environment(words, requirements)
                command = [str(python), str(SCRIPTS / f"{words}.py")]
                theirs.append(_theirs(place, command, file, rows, given(), timeout=sizes.other_seconds))
            except TimeoutError:
                note = f"it was stopped after {sizes.other_seconds} s"
            except RuntimeError as error:
                note = f"it failed: {str(error).splitlines()[-1][:200]}"
            yield compared(name, ours, client, theirs, work=rows, goal=Goal(ratio=5.0) if theirs else None, note=note)
    file.unlink()


def _ours(place: Place, file: Path, rows: int, given: dict[str, str]) -> Ended:
    with place.subfolder("run") as home:
        out = home / "results.jsonl"
        ended = place.run(
            [*program(), "run", str(file), "-o", str(out)], {**given, "GEMINI_BATCH_HOME": str(home / "state")}
        )
        with out.open("rb") as lines:
            found = sum(b'"verdict":"succeeded"' in line[:200] for line in lines)
    if found != rows:
        raise RuntimeError(f"{found:,} of {rows:,} requests were answered.")
    return ended


def _theirs(
    place: Place, words: list[str], file: Path, rows: int, given: dict[str, str], *, timeout: float | None = None
) -> Ended:
    """Every script takes a request file and the file to write, and prints how many requests have an answer."""
    with place.subfolder("other") as folder:
        out = folder / "results.jsonl"
        ended = place.run([*words, str(file), str(out)], {**given, "HOME": str(folder)}, timeout=timeout)
        with out.open("rb") as lines:
            found = sum(1 for _ in lines)
    if (int(ended.stdout.splitlines()[-1]), found) != (rows, rows):
        raise RuntimeError(f"{ended.stdout.splitlines()[-1]} of {rows:,} requests were answered; {found:,} lines.")
    return ended


def _environment(name: str, requirements: tuple[str, ...]) -> Path:
    """The Python of a client's own environment, made as ``make interop`` makes them."""
    sys.path.insert(0, str(_TESTS))
    try:
        from interop.homes import interpreter
    finally:
        sys.path.remove(str(_TESTS))
    try:
        return interpreter(name, *requirements)
    except AssertionError as error:
        raise RuntimeError(f"it could not be installed: {str(error).splitlines()[-1][:200]}") from error
