"""Death at every step of a run of a table, with everything left behind that a dead process leaves behind.

Whatever the step, the same command again writes the same table, every answer is paid for once, and nothing is left that
an undisturbed run does not leave. Every so many points are tried, all of them with ``CRASH_POINTS=all``.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crashes.dying import DIED
from gemini_batch.emulator.responders.builtin import respond
from gemini_batch.emulator.service.core import Emulator
from gemini_batch.emulator.state.accounting import accounting
from tables.outputs.tables import READERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from crashes.nature import Nature

pytestmark = [
    pytest.mark.timeout(3600 if os.environ.get("CRASH_POINTS") == "all" else 300),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked from one process, which has its imports"),
]
#: Names that chance chooses: of runs, snapshots, files at the service.
_CHANCE = re.compile(r"run-[a-z0-9]{8}|(?<=tables/)[a-z0-9]{8}")
#: So much older than it is does everything look that a death has left: young leftovers may be another process's.
_AGE = 3600.0


@dataclass(frozen=True)
class World:
    """A table, and what is done with it. ``before``: commands that live, and what then happens to the table."""

    write: Callable[[Path], None]
    words: tuple[str, ...]
    output: str
    steps: frozenset[str]
    before: Callable[[Nature, Path, tuple[str, ...]], None] = lambda _nature, _folder, _words: None


ROWS = [
    ("1", "Good, bright"),
    ("2", ""),
    ("3", "broke\nsoon"),
    ("4", "the same"),
    ("5", "the same"),
    ("6", "two\u2028lines"),
    ("7", "last"),
]
SCHEMA = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}, "topics": {"type": "array"}}}


def write_csv(folder: Path, *, price: int = 1) -> None:
    lines = ["id,review,price", *('{},"{}",{}'.format(*row, price) for row in ROWS)]
    (folder / "in.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "review.json").write_text(json.dumps(SCHEMA), encoding="utf-8")


def write_parquet(folder: Path) -> None:
    """A picture that is sent within its request, a document that is uploaded for two rows, and a missing one."""
    (folder / "small.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"s" * 100)
    (folder / "large.pdf").write_bytes(b"%PDF-1.4\n" + b"l" * 300_000 + b"\n%%EOF\n")
    names = ["small.png", "large.pdf", None, "gone.png", "large.pdf"]
    pq.write_table(pa.table({"id": range(5), "file": names, "what": [[n] for n in range(5)]}), folder / "in.parquet")


def first_night(nature: Nature, folder: Path, words: tuple[str, ...]) -> None:
    """The first night's table; then a column changes that the prompt does not use, so the requests are the same."""
    assert nature.live(folder, words)[0] == 1
    write_csv(folder, price=2)


PAIRS = ("--max-requests-per-job", "3")
WORLDS = {
    "a schema, to CSV": World(
        write_csv,
        ("run", "in.csv", "-p", "Rate: {{ review }}", "--schema", "review.json", "-o", "out.csv", *PAIRS),
        "out.csv",
        frozenset({"after COPY", "before add_run", "after create", "before finish"}),
    ),
    "attachments, to Parquet": World(
        write_parquet,
        ("run", "in.parquet", "-p", "What is {{ id }}?", "--attach", "file", "-o", "out.parquet", *PAIRS),
        "out.parquet",
        frozenset({"after COPY", "after send_upload", "before create"}),
    ),
    "texts of their own, to a workbook": World(
        write_csv,
        ("run", "in.csv", "-p", "{{ review }}", "--key", "id", "-o", "out.xlsx", "--output-dir", "texts", *PAIRS),
        "out.xlsx",
        frozenset({"after COPY", "before add_run", "before update_job"}),
    ),
    "a changed table, to SQLite": World(
        write_csv,
        ("run", "in.csv", "-p", "{{ review }}", "-o", "out.db", *PAIRS),
        "out.db",
        frozenset({"after COPY"}),
        first_night,
    ),
}


def paid(folder: Path) -> dict[str, int]:
    with contextlib.closing(Emulator(folder / "home" / "offline" / "emulator", respond)) as emulator:
        found: dict[str, int] = accounting(emulator.store, keys=True)["keys"]
        return found


def files(folder: Path) -> list[str]:
    """What is left, but for what chance calls it; the parts of answers have numbers that deaths use up."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = (_CHANCE.sub("…", name) for name in found if "/emulator/" not in name)
    return sorted(re.sub(r"/raw/.*", "/raw", name) for name in names)


def age(folder: Path) -> None:
    """Make it an hour later for whatever judges the age of files."""
    then = time.time() - _AGE
    for path in folder.rglob("*"):
        if path.name.startswith(".") or any(part.startswith(".new-") for part in path.parts):
            os.utime(path, (then, then))


def table(folder: Path, world: World) -> list[dict[str, Any]]:
    return READERS[Path(world.output).suffix](folder / world.output)


def follow_the_doctor(nature: Nature, folder: Path) -> None:
    """Delete the only thing that the doctor can find: a run folder of which the ledger did not come to know."""
    code, _ = nature.live(folder, ("doctor", "--json"))
    document = json.loads((folder / "out.said").read_text())
    assert code == 0, document
    for finding in document["result"]["findings"]:
        assert "not in the ledger" in finding["message"], finding
        assert finding["next"].endswith("You can delete it.")
        shutil.rmtree(finding["about"])


@pytest.mark.parametrize("name", WORLDS)
def test_death_at_every_step(nature: Nature, tmp_path: Path, name: str) -> None:
    world = WORLDS[name]
    start, plain = tmp_path / "start", tmp_path / "plain"
    start.mkdir()
    world.write(start)
    world.before(nature, start, world.words)
    shutil.copytree(start, plain)
    code, steps = nature.live(plain, world.words)
    assert code == 1, (plain / "out.said").read_text()
    assert world.steps <= set(steps), "the test does not test it"
    expected, due, left = table(plain, world), paid(plain), files(plain)
    assert set(due.values()) == {1}
    assert [name.rpartition("/")[2] for name in left].count("table.parquet") == 1
    assert [row["verdict"] for row in expected].count("skipped") == 1

    deaths = 0
    every = 1 if os.environ.get("CRASH_POINTS") == "all" else max(1, len(steps) // 5)
    for point in range(0, len(steps), every):
        folder = tmp_path / f"at{point}"
        shutil.copytree(start, folder)
        code, died = nature.live(folder, world.words, point)
        where = (point, died[-1])
        assert code in {DIED, 1}, where
        deaths += code == DIED
        age(folder)

        code, _ = nature.live(folder, world.words)

        assert code == 1, (where, (folder / "out.said").read_text())
        assert table(folder, world) == expected, where
        assert paid(folder) == due, where
        follow_the_doctor(nature, folder)
        assert files(folder) == left, where
        shutil.rmtree(folder)
    # Processes at the service differ a little in their number of steps.
    assert deaths > len(range(0, len(steps), every)) * 0.8, "too few died: the test does not test it"
