"""What an engine that makes shards of rows needs besides: their manifest, written at last by the program that started
it, and the files with their answers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from gemini_batch.backend import OFFLINE
from gemini_batch.errors import Next, UsageError
from gemini_batch.intake.shards import OTHER_KEY, ShardLine, cannot_write, local_folder, summed
from gemini_batch.jsonl import atomic_write, decode, decode_as, read_lines
from gemini_batch.report.shards import folder as answers_folder
from gemini_batch.store.shard_manifest import read_manifest
from gemini_batch.tables.outputs.engine import MEMORY, connected, reading

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gemini_batch.report.shards.answers import ShardAnswers

#: The manifest of the shards, and the list of files with rows of which no request was made.
MANIFEST, SKIPPED = "manifest.jsonl", "skipped.jsonl"
#: The reader of JSON lines holds some of the longest at once.
_LINES_HELD = 12
_SHOWN = 5
_PIECE = 1024 * 1024


def write_manifest(lines: Iterable[Mapping[str, Any]], folder: str | os.PathLike[str]) -> Path:
    """Write the manifest of the shards that :func:`shards_of` wrote to ``folder``, for :func:`gemini_batch.run_shards`;
    returns its path.

    ``lines``: those of all partitions, in any order. The manifest is written at last and complete, so if it is there,
    everything that it names is. If the folder has a manifest of the same requests, in whatever order they were cut into
    shards, that one stays, and the new files are removed: so nothing is paid for twice.

    Raises UsageError if a file is not in the folder, if two rows have the same key, if there is no request, or if the
    folder has a manifest of other requests; the new files are removed then, too. Raises StateError.
    """
    place = local_folder(folder)
    found = sorted((_line(line) for line in lines), key=lambda line: line["uri"])
    shards, skipped = ([line for line in found if bool(line["requests"]) is there] for there in (True, False))
    manifest, index = place / MANIFEST, place / SKIPPED
    earlier = _earlier(manifest)
    try:
        _check_there(place, found)
        _check_requests(place, shards, skipped)
        _check_keys(place, found)
        if earlier is not None:
            _check_same(manifest, earlier, shards)
    except UsageError:
        discard(found, place)
        raise
    try:
        if skipped:
            with atomic_write(index) as file:
                file.writelines(msgspec.json.encode(_kept(line, "skipped")) + b"\n" for line in skipped)
        else:
            index.unlink(missing_ok=True)
        if earlier is not None:
            discard(found, place)
            return manifest
        with atomic_write(manifest) as file:
            file.writelines(msgspec.json.encode(_kept(line, "requests")) + b"\n" for line in shards)
    except OSError as error:
        raise cannot_write(error, place) from error
    return manifest


def answer_files(
    shards: str | os.PathLike[str], answers: str | os.PathLike[str], *, partial: bool = False
) -> list[str]:
    """The Parquet files with the answers of shards, one result for each request: those of the last run, if others have
    answered the same shards with another model, or offline.

    ``shards``: the manifest of the shards. ``answers``: the folder of :func:`gemini_batch.run_shards`.
    ``partial``: also if shards have no answers yet. Raises UsageError.
    """
    manifest, folder = read_manifest(local_folder(shards)), local_folder(answers).absolute()
    path = folder / answers_folder.MANIFEST
    try:
        lines = answers_folder.answers_in(path)
    except (OSError, ValueError) as error:
        raise UsageError(
            "There is no manifest of answers that can be read.",
            file=path,
            code="bad_manifest",
            next=Next("run", "--shards", str(manifest.path), "-o", str(answers), why="writes it"),
        ) from error
    known, model = _of_last_run(lines, {shard.sha256 for shard in manifest.shards})
    absent = [shard for shard in manifest.shards if shard.sha256 not in known]
    if absent and not (partial and len(absent) < len(manifest.shards)):
        how_many, of = f"{len(absent):,} of {len(manifest.shards):,} shards", f" of {model}" if model else ""
        raise UsageError(
            f"{how_many} have no answers{of} here; the first is {absent[0].uri}.",
            file=path,
            code="shards_unanswered",
            next=Next(
                *("run", "--shards", str(manifest.path), "-o", str(answers)),
                why="goes on with them; partial=True takes what there is",
            ),
        )
    return [_table(folder, known[shard.sha256]) for shard in manifest.shards if shard.sha256 in known]


def _of_last_run(lines: Sequence[ShardAnswers], wanted: Collection[str]) -> tuple[dict[str, ShardAnswers], str]:
    """The answers of shards that one run gave, by the hash of the shard; and what its first model is called.

    What the last command finished stands first; lines of other runs follow: of other models, or of offline work. Lines
    of earlier versions do not say.
    """
    known: dict[str, ShardAnswers] = {}
    asked: dict[str, tuple[str | None, str | None]] = {}
    for line in lines:
        if line.sha256 not in wanted:
            continue
        terms = line.model, line.backend
        if line.method is None or asked.setdefault(line.method, terms) == terms:
            known.setdefault(line.sha256, line)
    model, backend = next(iter(asked.values()), (None, None))
    return known, f"{model or ''}{' (offline)' if backend == OFFLINE else ''}"


def _table(folder: Path, line: ShardAnswers) -> str:
    """The Parquet file with the answers of a shard. Raises UsageError."""
    for one in line.answers:
        if one.file.endswith(".parquet"):
            path = folder / Path(one.file).name
            if path.is_file() and path.stat().st_size == one.bytes:
                return str(path)
            raise UsageError(
                "This file is not there as the manifest of answers names it.", file=path, code="file_not_found"
            )
    raise UsageError(
        f"The answers of {line.uri} are there as result lines only.",
        file=folder / answers_folder.MANIFEST,
        code="missing_extra",
        next="Where you run the shards, install 'gemini-batch[tables]', which also writes Parquet.",
    )


def lists_of_skipped(folder: Path) -> list[str]:
    """The files that list the rows of which no request was made, next to a manifest of shards. Raises UsageError."""
    index = folder / SKIPPED
    try:
        with index.open("rb") as file:
            return [str(folder / Path(decode(line.data)["uri"]).name) for line in read_lines(file)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError("The list of skipped rows cannot be read.", file=index, code="bad_manifest") from error


def _line(line: Mapping[str, Any]) -> ShardLine:
    try:
        return msgspec.convert(dict(line), ShardLine)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"This is not a line of `shards_of`: {error}.",
            code="bad_manifest",
            next="Give the lines as `shards_of` yields them.",
        ) from error


def _kept(line: ShardLine, number: Literal["requests", "skipped"]) -> dict[str, Any]:
    """The fields of a line that are written down."""
    fields = {"uri": line["uri"], number: line[number], "bytes": line["bytes"], "sha256": line["sha256"]}
    return fields | ({"method": line["method"], "sum": line["sum"]} if number == "requests" else {})


class _Earlier(msgspec.Struct):
    """What a line of an earlier manifest says of its shard."""

    sha256: str
    requests: int
    sum: str = ""


def _earlier(manifest: Path) -> list[_Earlier] | None:
    """The shards that a manifest in this place names. Raises UsageError for another file."""
    if not manifest.exists():
        return None
    try:
        read_manifest(manifest)
        with manifest.open("rb") as file:
            return [decode_as(line.data, _Earlier) for line in read_lines(file) if line.data.strip()]
    except (UsageError, OSError, ValueError) as error:
        raise UsageError(
            "This file is not a manifest of shards, and one would replace it.",
            file=manifest,
            code="bad_output",
            next="Choose another folder for the shards.",
        ) from error


def discard(lines: Iterable[ShardLine], folder: Path) -> None:
    """Remove shards that no manifest will name; those that a manifest in this folder names stay."""
    named = {line.sha256 for line in _earlier(folder / MANIFEST) or ()}
    for line in lines:
        if line["requests"] and line["sha256"] not in named:
            (folder / line["uri"]).unlink(missing_ok=True)


def _check_same(manifest: Path, earlier: Sequence[_Earlier], shards: Sequence[ShardLine]) -> None:
    """Refuse to take the place of a manifest of other requests: what was sent of them would be forgotten."""
    before = [int(line.sum or "0", 16) for line in earlier], sum(line.requests for line in earlier)
    now = [int(line["sum"], 16) for line in shards], sum(line["requests"] for line in shards)
    if (summed(before[0]), before[1]) != (summed(now[0]), now[1]):
        raise UsageError(
            "This folder has the shards of other rows, or of another prompt. What was sent for them would be paid for "
            "again.",
            file=manifest,
            code="other_shards",
            next="Choose another folder; or remove this manifest, if that is what you want.",
        )


def _check_there(folder: Path, lines: Sequence[ShardLine]) -> None:
    for line in lines:
        path = folder / line["uri"]
        if path.parent != folder or not path.is_file() or path.stat().st_size != line["bytes"]:
            raise UsageError(
                f"The shard {line['uri']} is not in this folder, as it was written.",
                file=folder,
                code="shard_differs",
                next="Name a folder that all machines share, under the same path.",
            )


def _check_requests(folder: Path, shards: Sequence[ShardLine], skipped: Sequence[ShardLine]) -> None:
    if not shards:
        rows = sum(line["skipped"] for line in skipped)
        raise UsageError(
            f"No row can be sent. {f'{rows:,} rows are skipped.' if rows else 'There are no rows.'}",
            file=folder,
            code="nothing_to_send",
            next=f"{skipped[0]['uri']} says why." if skipped else None,
        )


def _check_keys(folder: Path, lines: Sequence[ShardLine]) -> None:
    """Refuse a key that several rows have, in whatever shards they are."""
    files = ", ".join(reading(folder / line["uri"]) for line in lines)
    longest = max(line["longest"] for line in lines)
    with (
        tempfile.TemporaryDirectory(prefix="gemini-batch-keys-") as scratch,
        connected(Path(scratch) / "spilled", memory=max(MEMORY, _LINES_HELD * longest)) as db,
    ):
        twice = db.execute(
            f"SELECT key, count(*) AS number FROM read_json([{files}], format = 'newline_delimited', "  # noqa: S608 - duckdb takes no names as parameters; they are quoted
            f"maximum_object_size = {max(_PIECE, 2 * longest)}, columns = {{key: 'VARCHAR'}}) "
            f"GROUP BY key HAVING number > 1 ORDER BY key LIMIT {_SHOWN + 1}"
        ).fetchall()
    if twice:
        shown = ", ".join(f"{key!r} ({number:,} times)" for key, number in twice[:_SHOWN])
        raise UsageError(
            f"Several rows have the same key: {shown}{', …' if len(twice) > _SHOWN else ''}.",
            file=folder,
            field="key",
            code="invalid_input",
            next=OTHER_KEY,
        )
