"""From rows to shards: what an engine calls in each of its partitions.

A file is named by the hash of its content, so a part that an engine does twice is one file, and nothing that an
earlier manifest names is ever replaced by something else.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import msgspec

from gemini_batch.errors import InvalidInput, UsageError
from gemini_batch.intake.table_options import TableOptions, table_input
from gemini_batch.intake.tabular import INLINE_MOST, check_recipe
from gemini_batch.jsonl import atomic_write
from gemini_batch.objects.address import is_address
from gemini_batch.store.shard_manifest import METHODS
from gemini_batch.store.sqlite import state_error
from gemini_batch.tables.extra import needed
from gemini_batch.tables.making.attachments import Attachments
from gemini_batch.tables.making.builder import Builder
from gemini_batch.tables.making.prepare import make_requests
from gemini_batch.tables.making.recipe import Recipe, make_recipe
from gemini_batch.tables.note import SkippedRow
from gemini_batch.tables.sources.snapshot import Given, take_snapshot
from gemini_batch.validation.conform import Terms

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from gemini_batch.errors import StateError
    from gemini_batch.intake.table_options import ArrowStream

#: 50,000 requests are one job.
ROWS_PER_SHARD = 50_000
_WORDS = {method: word for word, method in METHODS.items()}
#: Options that only a file or a run of a table has use for.
_NO_USE = ("sql", "encoding", "delimiter", "key_duplicates")
#: Lines are distinct, so sums of so many bytes are the same only if the lines are.
SUM_BYTES = 16
_PIECE = 1024 * 1024
OTHER_KEY = 'Use another column, or several of them: key=["day", "id"].'
_ROWS = "the rows of a shard"


class ShardLine(TypedDict):
    """A file that was written: a shard; or, with no requests, a list of rows of which no request was made."""

    uri: str
    """Its name in the folder."""
    requests: int
    """Number of requests."""
    bytes: int
    """Its size."""
    sha256: str
    """Hash of its content."""
    method: str
    """What the requests ask for: `generateContent` or `embedContent`."""
    skipped: int
    """Number of rows that it lists, with reason and message; 0 for a shard."""
    longest: int
    """Length of its longest line, in bytes."""
    sum: str
    """Sum of the hashes of its lines, whatever their order, in hexadecimal digits."""


def shards_of(
    rows: Iterable[ArrowStream | Mapping[str, Any]],
    folder: str | os.PathLike[str],
    *,
    rows_per_shard: int = ROWS_PER_SHARD,
    **options: Unpack[TableOptions],
) -> Iterator[ShardLine]:
    """Write the requests of ``rows`` to files in ``folder``, of at most ``rows_per_shard`` rows each; yields a line for
    each file as soon as it is complete. Sends nothing.

    ``rows``: Arrow batches or tables, or mappings; they are taken as they come, and one shard at a time is held on
    disk. ``options``: what is asked of each row, as for :func:`gemini_batch.run`; ``key`` is needed. A row becomes the
    same request line as in a table. Give all lines to :func:`write_manifest`.

    Raises UsageError (:class:`~gemini_batch.InvalidInput` with the rows from which no request can be made, or that have
    the same key); StateError if the folder cannot be written. Then no part of a file is left.
    """
    return ShardMaker.of(folder, rows_per_shard, options).shards(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardMaker:
    """Makes shards in any process: everything that options name was read when it was made.

    ``base``: the folder to which paths of attachments are relative. ``problems``: as in
    :class:`~gemini_batch.tables.making.builder.Builder`.
    """

    folder: Path
    rows_per_shard: int
    recipe: Recipe
    base: Path
    roots: tuple[Path, ...]
    problems: tuple[str, ...] | None = None

    @classmethod
    def of(cls, folder: str | os.PathLike[str], rows_per_shard: int, options: TableOptions) -> ShardMaker:
        """Read what the options name. Raises UsageError."""
        recipe, roots = keyed_recipe(options)
        if rows_per_shard < 1:
            raise UsageError("A shard has at least one row.", field="rows_per_shard", code="bad_argument")
        folder = local_folder(folder).absolute()
        return cls(folder=folder, rows_per_shard=rows_per_shard, recipe=recipe, base=Path.cwd(), roots=roots)

    def shards(self, rows: Iterable[Any]) -> Iterator[ShardLine]:
        """As :func:`shards_of`."""
        failed: list[Exception] = []
        for given in _portions(rows, self.rows_per_shard, failed):
            try:
                with tempfile.TemporaryDirectory(prefix="gemini-batch-shard-") as scratch:
                    yield from self._written(given, Path(scratch))
            except (UsageError, OSError) as error:
                if failed and error is not failed[0]:  # the reader of Arrow streams says it in words of its own
                    raise failed[0] from error
                if failed or isinstance(error, UsageError):
                    raise
                raise cannot_write(error, Path(tempfile.gettempdir()), "folder for temporary files") from error

    def _written(self, given: Given, scratch: Path) -> Iterator[ShardLine]:
        attachments = Attachments(self.base, self.roots, INLINE_MOST, uploads=False)
        try:
            snapshot = take_snapshot(given, scratch)
            builder = Builder(self.recipe, tuple(snapshot.columns), attach=attachments.part, problems=self.problems)
            made = make_requests(snapshot, builder, scratch, name=_ROWS, may_be_empty=True)
            if made.count:
                check_recipe(made.path, Terms())
        except InvalidInput as error:
            error.message = error.message.replace("nothing was sent", "this shard was not written")
            error.problems = tuple(
                replace(one, next=OTHER_KEY) if one.field == "--key" else one for one in error.problems
            )
            raise
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(error, self.folder) from error
        if made.count:
            yield self._put(made.path, "shard", requests=made.count, skipped=0)
        if made.reasons:
            listed = scratch / "listed.jsonl"
            rows = msgspec.json.Decoder(SkippedRow)
            with made.skipped.open("rb") as lines, listed.open("wb") as file:
                for row in map(rows.decode, lines):
                    told = {"key": row.key, "reason": row.reason, "message": row.message}
                    file.write(msgspec.json.encode(told) + b"\n")
            yield self._put(listed, "skipped", requests=0, skipped=sum(made.reasons.values()))

    def _put(self, made: Path, what: Literal["shard", "skipped"], *, requests: int, skipped: int) -> ShardLine:
        """Copy a file to the folder, under the name of its content. Raises StateError, OSError."""
        digest, longest, total = hashlib.sha256(), 0, 0
        with made.open("rb") as source:
            for line in source:
                digest.update(line)
                longest = max(longest, len(line))
                total += int.from_bytes(hashlib.sha256(line).digest()[:SUM_BYTES])
        sha256 = digest.hexdigest()
        path = self.folder / f"{what}-{sha256[:20]}.jsonl"
        try:
            with made.open("rb") as source, atomic_write(path) as file:
                shutil.copyfileobj(source, file, _PIECE)
        except OSError as error:
            raise cannot_write(error, self.folder) from error
        return ShardLine(
            uri=path.name,
            requests=requests,
            bytes=made.stat().st_size,
            sha256=sha256,
            method=_WORDS[self.recipe.method],
            skipped=skipped,
            longest=longest,
            sum=summed([total]),
        )


def local_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder that shards or their answers are in. Raises UsageError for the address of a bucket."""
    if is_address(folder):
        raise UsageError(
            "Rows become shards in a folder, and their answers are joined from one. This is the address of an object.",
            file=str(folder),
            code="bad_address",
            next="Name a folder. Its shards and their manifest can be copied to a bucket then, for `run --shards`.",
        )
    return Path(folder)


def cannot_write(error: OSError, folder: Path, what: str = "folder for the shards") -> StateError:
    """What an error of the file system means for one who made the shards: the state folder has no part in it."""
    found = state_error(error, folder, what)
    if found.reason_code != "disk_full":
        where = "Name a folder" if folder != Path(tempfile.gettempdir()) else "Set TMPDIR to a folder"
        found.next = f"{where} that you can write to."
    return found


def summed(totals: Iterable[int]) -> str:
    """The sum of sums, as a line states it."""
    return (sum(totals) % (1 << 8 * SUM_BYTES)).to_bytes(SUM_BYTES).hex()


def keyed_recipe(options: TableOptions) -> tuple[Recipe, tuple[Path, ...]]:
    """What is asked of each row of many shards, and the folders of attachments. Raises UsageError."""
    for name in _NO_USE:
        if options.get(name) is not None:
            raise UsageError(
                f"`{name}` has no use for rows that become shards.",
                field=name,
                code="bad_argument",
                next="Leave it out.",
            )
    table = table_input((), options)
    assert table is not None
    recipe = make_recipe(table.asked)
    if not recipe.key:
        raise UsageError(
            "Without a key, no one could tell which answer belongs to which row.",
            field="key",
            code="no_key",
            next='Name the columns that identify a row: key="id", or key=["day", "id"].',
        )
    return recipe, tuple(root.absolute() for root in table.attach_roots)


# Rows ----------------------------------------------------------------------------------------------------------------


def _portions(rows: Iterable[Any], most: int, failed: list[Exception]) -> Iterator[Given]:
    """The rows in portions of at most ``most``; each is to be read before the next one is asked for. ``failed`` gets
    what the source of a stream raises."""
    items = _watched(rows, failed)
    for first in items:
        if isinstance(first, Mapping) or not _is_arrow(first):
            every = chain([first], items)
            for one in every:
                yield Given(chain([one], islice(every, most - 1)))
        else:
            yield from _arrow_portions(chain([first], items), most, failed)


def _watched(rows: Iterable[Any], failed: list[Exception]) -> Iterator[Any]:
    try:
        yield from rows
    except Exception as error:
        failed.append(error)
        raise


def _is_arrow(value: object) -> bool:
    return hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__")


def _arrow_portions(tables: Iterator[Any], most: int, failed: list[Exception]) -> Iterator[Given]:
    """The same for Arrow batches and tables: as streams, so that no portion is ever in memory as a whole."""
    arrow = needed("pyarrow", "Making shards of Arrow batches", "'gemini-batch[tables]' pyarrow")
    batches = _batches(arrow, tables)
    #: The next batch, or what is left of it; empty at the end.
    coming = deque(islice(batches, 1))

    def portion() -> Iterator[Any]:
        room = most
        while room and coming:
            batch = coming.popleft()
            try:
                coming.extend([batch.slice(room)] if batch.num_rows > room else islice(batches, 1))
            except Exception as error:
                failed.append(error)
                raise
            piece = batch.slice(0, room)
            room -= piece.num_rows
            yield piece

    while coming:
        yield Given(arrow.RecordBatchReader.from_batches(coming[0].schema, portion()))


def _batches(arrow: Any, tables: Iterator[Any]) -> Iterator[Any]:
    """Record batches with rows, all of one schema. Raises UsageError."""
    schema = None
    for table in tables:
        if not _is_arrow(table):
            raise UsageError("Rows are all Arrow batches, or all mappings.", code="not_a_table")
        whole = hasattr(table, "__arrow_c_stream__")
        found = arrow.RecordBatchReader.from_stream(table) if whole else [arrow.record_batch(table)]
        for batch in found:
            if schema is not None and batch.schema != schema:
                raise UsageError(
                    "The batches have different columns or types.",
                    code="not_a_table",
                    next="Give each column the same type in all batches.",
                )
            schema = batch.schema
            if batch.num_rows:
                yield batch
