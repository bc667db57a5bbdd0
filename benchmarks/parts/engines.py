"""16. Rows that another engine shapes: shards, a run of them, and a join, by Daft in one process and on Ray."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.lines import Line, compared
from benchmarks.measure import SCRIPTS, Ended, program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.measure import Place
    from benchmarks.sizes import Sizes

_TESTS = Path(__file__).parents[2] / "tests"
_PROMPT = "Classify this review of {{ sku }}:\n{{ review }}"
_TABLE = "run of the same table"
_WHERE = {"native": "in one process", "ray": "on Ray"}
#: Daft's crash at the end of Python, after everything is written.
_CODES = (0, -11)


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """The emulator says what it was asked, so each row is compared with its answer. Raises RuntimeError where one has
    another answer than its own."""
    rows, table = sizes.table_rows, place.folder / "rows.parquet"
    place.script("table_steps", "table", table, rows)
    _warm_up(place)
    with place.emulator("--responder", "answers:echo") as emulator:
        output = place.folder / "out.parquet"
        words = ["run", str(table), "--prompt", _PROMPT, "--key", "id", "-o", str(output), "-q"]
        base = place.run([*program(), *words], _environment(place, "table", emulator.url))
        _each_once(str(output), rows)
        for runner, where in _WHERE.items():
            with place.subfolder(runner) as folder:
                steps = _life(place, folder, table, runner, emulator.url)
                _each_once(f"{folder}/table/*.parquet", rows)
            made, worked, joined = steps
            name = f"{rows:,} rows by Daft {where}"
            whole = Ended(
                sum(one.seconds for one in steps), sum(one.cpu for one in steps), max(one.peak for one in steps), ""
            )
            yield compared(f"{name}: shards, run, join", [whole], _TABLE, [base], work=rows)
            yield compared(f"{name}: shards", [made], work=rows)
            yield compared(f"{name}: run of the shards", [worked], work=rows)
            yield compared(f"{name}: join", [joined], work=rows)


def _warm_up(place: Place) -> None:
    """The first use of a package compiles it."""
    few = place.folder / "few.parquet"
    place.script("table_steps", "table", few, 10)
    for runner in _WHERE:
        with place.subfolder("few") as folder:
            words = [str(_python()), str(SCRIPTS / "engine_steps.py"), "shards", runner, str(few), str(folder)]
            place.run(words, place.environment(RAY_USAGE_STATS_ENABLED="0"), codes=_CODES)


def _life(place: Place, folder: Path, table: Path, runner: str, url: str) -> list[Ended]:
    words = [str(_python()), str(SCRIPTS / "engine_steps.py")]
    given = _environment(place, runner, url)
    shards = ["run", "--shards", str(folder / "shards" / "manifest.jsonl"), "-o", str(folder / "answers"), "-q"]
    return [
        place.run([*words, "shards", runner, str(table), str(folder)], given, codes=_CODES),
        place.run([*program(), *shards], given),
        place.run([*words, "join", runner, str(table), str(folder)], given, codes=_CODES),
    ]


def _environment(place: Place, name: str, url: str) -> dict[str, str]:
    """A home and a project of its own for each life."""
    home = str(place.folder / f"home-{name}")
    return place.environment(
        GEMINI_BATCH_HOME=home, GOOGLE_GEMINI_BASE_URL=url, GEMINI_API_KEY=name, GEMINI_BATCH_POLL="0.5",
        RAY_USAGE_STATS_ENABLED="0",
    )  # fmt: skip


def _python() -> Path:
    """Raises RuntimeError if Daft and Ray cannot be installed."""
    sys.path.insert(0, str(_TESTS))
    try:
        from engines.homes import daft_python
    finally:
        sys.path.remove(str(_TESTS))
    try:
        return daft_python()
    except AssertionError as error:
        raise RuntimeError(str(error)) from error


def _each_once(files: str, rows: int) -> None:
    """Raises RuntimeError if not every row is there once, with its own answer."""
    import duckdb

    found = (
        duckdb.connect()
        .execute(
            "SELECT count(*), count(DISTINCT id), count_if(verdict = 'succeeded' AND "
            "text = 'Classify this review of ' || sku || ':' || chr(10) || review) "
            f"FROM read_parquet('{files}', hive_partitioning = false)"
        )
        .fetchone()
    )
    if found != (rows, rows, rows):
        raise RuntimeError(f"Rows, distinct rows, rows with their own answer: {found}; each has to be {rows:,}.")
