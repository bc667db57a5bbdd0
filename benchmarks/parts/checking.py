"""2. Checking a request file and entering it as a run, without the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.lines import MEGABYTE, Goal, compared
from benchmarks.measure import SCRIPTS, alternating
from benchmarks.parts.requests import write_pile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.lines import Line
    from benchmarks.measure import Ended, Place
    from benchmarks.sizes import Sizes

#: "Within 2.5 times of hashing plus writing the copy."
FLOOR = Goal(ratio=1 / 2.5, memory=100 * MEGABYTE)
#: Up to this size, in megabytes, the SDK's types are measured, too; they take minutes for more.
_TYPES_UP_TO = 200


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Three sizes, the largest once."""
    for part, rounds in ((200, sizes.few), (10, sizes.few), (1, 1)):
        megabytes = sizes.check_mb / part
        file = place.folder / "check.jsonl"
        rows = write_pile(file, megabytes)
        taken = alternating(_works(place, str(file), rows, types=megabytes <= _TYPES_UP_TO), rounds)
        ours = taken.pop("ours")
        for name, goal in (("sha256sum and a copy", FLOOR), ("json.loads a line", None), ("SDK types a line", None)):
            if name in taken:
                yield compared(
                    f"check and enter {megabytes:g} MB", ours, name, taken[name],
                    work=file.stat().st_size / MEGABYTE, work_unit="MB", goal=goal,
                )  # fmt: skip
        file.unlink()


def _works(place: Place, file: str, rows: int, *, types: bool) -> dict[str, Callable[[], Ended]]:
    def enter() -> Ended:
        with place.subfolder("entered") as home:
            ended = place.script("memory_steps", "enter", home, "run-entered", file, "with")
            copy = home / "offline" / "runs" / "run-entered" / "requests.jsonl"
            if copy.stat().st_size == 0:
                raise RuntimeError("The run has no requests.")
        return ended

    def copied() -> Ended:
        with place.subfolder("copied") as folder:
            words = ["sh", str(SCRIPTS / "hash_and_copy.sh"), file, str(folder / "copy.jsonl")]
            return place.run(words, place.environment())

    def read(how: str) -> Ended:
        ended = place.script("read_requests", how, file)
        if int(ended.stdout) != rows:
            raise RuntimeError(f"{how} read {ended.stdout} of {rows:,} lines.")
        return ended

    works = {"ours": enter, "sha256sum and a copy": copied, "json.loads a line": lambda: read("json")}
    return {**works, "SDK types a line": lambda: read("types")} if types else works
