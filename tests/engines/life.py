"""A life of rows in Daft, in a process of its own: rows, shards, answers, table; and what is refused.

``python life.py RUNNER FOLDER``; it writes what it found to ``FOLDER/found.json``. Daft sometimes crashes when the
interpreter ends, after all that, so that file counts, and not the exit code.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import daft

import gemini_batch
from gemini_batch.daft import join, request_shards

if TYPE_CHECKING:
    from collections.abc import Callable

runner, place = sys.argv[1], Path(sys.argv[2])
#: How the test asks the same of the table.
asked: dict[str, Any] = json.loads((place / "asked.json").read_text())
vectors: dict[str, Any] = json.loads((place / "vectors.json").read_text())


def refused(call: Callable[[], object]) -> list[str]:
    """The type, code and text of an error."""
    try:
        call()
    except gemini_batch.Error as error:
        return [type(error).__name__, error.reason_code, str(error)]
    return []


def files(folder: str) -> list[str]:
    """What a folder holds, and nothing if it is not there."""
    return sorted(path.name for path in (place / folder).iterdir()) if (place / folder).exists() else []


def table(frame: Any) -> dict[str, Any]:
    """The rows in order, and the types of the columns."""
    rows = frame.sort("id").to_pylist()
    return {
        "rows": json.loads(json.dumps(rows, default=str)),
        "types": {one.name: str(one.dtype) for one in frame.schema()},
    }


def main() -> None:
    """The whole life."""
    found: dict[str, Any] = {}
    rows = daft.read_parquet(str(place / "rows" / "*.parquet"))
    with gemini_batch.GeminiBatch(offline=True) as client:
        manifest = request_shards(rows, place / "shards", rows_per_shard=30, **asked)
        found["manifest"] = manifest.read_text()
        again = request_shards(rows.repartition(4), place / "shards", rows_per_shard=20, **asked)
        found["again"] = [again.read_text(), files("shards")]
        # In one process, a sorted frame is cut at the same places wherever it is; Ray samples the places.
        sorted_rows = [rows.sort("id"), rows.repartition(5).sort("id")]
        for number, frame in enumerate(sorted_rows):
            sorted_rows[number] = request_shards(frame, place / f"sorted-{number}", rows_per_shard=30, **asked)
        found["sorted"] = sorted_rows[0].read_text() == sorted_rows[1].read_text()
        found["early"] = refused(lambda: join(rows, place / "answers", shards=manifest, **asked))
        answers = place / "answers"
        found["verdicts"] = client.run_shards(manifest, output=answers).verdicts
        runs = (answers / "manifest.jsonl").read_text()
        client.run_shards(again, output=answers)
        found["recognised"] = (answers / "manifest.jsonl").read_text() == runs
        found["table"] = table(join(rows, answers, shards=manifest, **asked))

        # One shard of them is answered in another folder.
        some, line = place / "some", runs.splitlines()[0]
        some.mkdir()
        (some / "manifest.jsonl").write_text(line + "\n")
        for one in json.loads(line)["answers"]:
            (some / one["file"]).write_bytes((answers / one["file"]).read_bytes())
        found["some"] = refused(lambda: join(rows, some, shards=manifest, **asked))
        found["partial"] = table(join(rows, some, shards=manifest, partial=True, **asked))
        found["requests"] = json.loads(line)["requests"]
        for path in some.glob("*.parquet"):
            path.unlink()
        found["gone"] = refused(lambda: join(rows, some, shards=manifest, partial=True, **asked))

        embedded = request_shards(rows, place / "embedded", **vectors)
        client.run_shards(embedded, output=place / "vectors")
        found["vectors"] = table(join(rows, place / "vectors", shards=embedded, **vectors))

    ids = [f"r{number:03}" for number in range(100)]
    text = {"review": ["words"] * 100}
    plain: dict[str, Any] = {"prompt": "{{ review }}", "key": "id", "rows_per_shard": 20}
    for name, keys in (("twice", [*ids[:-1], ids[-2]]), ("apart", [*ids[:-1], ids[0]]), ("null", [*ids[:-1], None])):
        frame = daft.from_pydict({"id": keys, **text})
        found[name] = [refused(partial(request_shards, frame, place / name, **plain)), files(name)]
    frame = daft.from_pydict({"id": ids, **text})
    found["column"] = refused(lambda: request_shards(frame, place / "column", prompt="{{ revue }}", key="id"))
    found["collision"] = refused(
        lambda: join(frame.with_column("verdict", daft.lit(1)), answers, shards=manifest, key="id")
    )

    @daft.func  # type: ignore[untyped-decorator]
    def breaks(key: str) -> str:
        if key == "r077":
            raise ValueError("a column that cannot be made")
        return key

    try:
        request_shards(frame.with_column("review", breaks(frame["id"])), place / "broken", **plain)
    except Exception as error:  # noqa: BLE001 - Daft's own, or Ray's
        found["broken"] = str(error)
    found["left"] = files("broken")
    (place / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    if runner == "ray":
        daft.set_runner_ray()
    main()
