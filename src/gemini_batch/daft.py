"""Shards from a Daft DataFrame, and the answers joined to it: in this process or on Ray, by the same code.

Between the two stands :func:`gemini_batch.run_shards`, which works off the manifest of the shards. This module needs
``pip install 'gemini-batch[daft]'``, also on the machines of a Ray cluster, and a folder that all of them share.
"""

from __future__ import annotations

import secrets
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from gemini_batch.errors import Error, StateError, UsageError
from gemini_batch.intake.made_shards import answer_files, discard, lists_of_skipped, write_manifest
from gemini_batch.intake.shards import ROWS_PER_SHARD, ShardMaker, cannot_write, keyed_recipe, local_folder
from gemini_batch.tables.extra import needed
from gemini_batch.tables.making.builder import Builder
from gemini_batch.tables.making.prepare import keys_of
from gemini_batch.tables.making.recipe import Kind
from gemini_batch.tables.outputs.cells import Filler
from gemini_batch.tables.outputs.columns import answer_columns
from gemini_batch.tables.sources.snapshot import Given, take_snapshot

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    import daft

    from gemini_batch.intake.shards import ShardLine
    from gemini_batch.intake.table_options import TableOptions
    from gemini_batch.tables.outputs.columns import Column
    from gemini_batch.tables.outputs.kinds import Kind as Type

_INSTALL = "'gemini-batch[daft]'"
#: The column that rows and answers are joined by.
_KEY = "__gemini_batch_key"
_NO_REQUEST = "The shards have no request of this row."
_LOST = "A part of the rows did not become shards, and its error was lost with its machine."
_NO_ANSWER = "There is no answer for this row yet."


def request_shards(
    df: daft.DataFrame,
    folder: str | os.PathLike[str],
    *,
    rows_per_shard: int = ROWS_PER_SHARD,
    **options: Unpack[TableOptions],
) -> Path:
    """Make the requests of all rows of ``df``, in shards in ``folder``; returns the path of their manifest, for
    :func:`gemini_batch.run_shards`. Sends nothing.

    Each worker writes the shards of its rows, so on Ray, ``folder`` has to be shared by all machines, under the same
    path. ``rows_per_shard``: at most so many rows become a shard. ``options``: what is asked of each row, as for
    :func:`gemini_batch.run`; ``key`` is needed. A row becomes the same request line as in a table, and files that
    options name are read here, attachments where the row is.

    If the folder has a manifest of the same requests, that one stays, whatever the order in which the rows come; so
    what was sent is not paid for again. A manifest of other requests is not replaced.

    Raises UsageError (:class:`~gemini_batch.InvalidInput` with the rows from which no request can be made, or that have
    the same key), StateError. Then there is no manifest, and no part of a shard.
    """
    module = _daft()
    maker = ShardMaker.of(folder, rows_per_shard, options)
    folder = maker.folder
    builder = Builder(maker.recipe, tuple(df.column_names)).narrowed()
    maker = replace(maker, problems=tuple(builder.problems))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(error, folder) from error
    stop = folder / f".stop-{secrets.token_hex(4)}"
    chosen = df.select(*(module.col(name) for name in builder.columns)).into_batches(rows_per_shard)
    try:
        found = chosen.write_sink(_sink(module, maker, stop)).to_pydict()
    finally:
        stop.unlink(missing_ok=True)
    return Path(found["manifest"][0])


def _daft() -> Any:
    return needed("daft", "Work with Daft", _INSTALL)


def _sink(module: Any, maker: ShardMaker, stop: Path) -> Any:
    """What Daft gives the rows to, wherever they are. An error comes back as a value, so that it stays what it is; the
    file ``stop`` tells all others, and what they leave out comes back as None."""
    from daft.io.sink import WriteResult
    from daft.recordbatch import MicroPartition

    class Sink(module.io.DataSink):  # type: ignore[misc]
        def name(self) -> str:
            return "shards of requests"

        def schema(self) -> Any:
            return MicroPartition.from_pydict({"manifest": [""]}).schema()

        def write(self, micropartitions: Iterator[Any]) -> Iterator[Any]:
            for one in micropartitions:
                if stop.exists():
                    yield WriteResult(None, 0, 0)
                    return
                try:
                    for line in maker.shards([one.to_arrow()]):
                        yield WriteResult(line, line["bytes"], line["requests"])
                except Error as error:
                    stop.touch()
                    yield WriteResult(error, 0, 0)

        def finalize(self, write_results: list[Any]) -> Any:
            found = [one.result for one in write_results]
            errors = [one for one in found if isinstance(one, Error)]
            lines: list[ShardLine] = [one for one in found if one is not None and not isinstance(one, Error)]
            if len(lines) < len(found):
                discard(lines, maker.folder)
                raise min(errors, key=str, default=StateError(_LOST, file=maker.folder))
            return MicroPartition.from_pydict({"manifest": [str(write_manifest(lines, maker.folder))]})

    return Sink()


# Answers -------------------------------------------------------------------------------------------------------------


def join(
    df: daft.DataFrame,
    answers: str | os.PathLike[str],
    *,
    shards: str | os.PathLike[str],
    partial: bool = False,
    **options: Unpack[TableOptions],
) -> daft.DataFrame:
    """Every row of ``df`` once, with the columns that a table gets: the text, or a column for each property of the
    schema, or the embedding; ``verdict``; ``problem``. It is a plan: nothing is read before it is needed. The order of
    the rows is Daft's.

    ``answers``: the folder of :func:`gemini_batch.run_shards`. ``shards``: the manifest of the shards. ``options``: the
    same as for :func:`request_shards`; ``key`` is needed, and what has a say in the columns: ``schema``, ``kind``,
    ``dimensions``, ``prefix``. ``partial``: also if shards have no answers yet. A row without a request is ``skipped``,
    one without an answer ``missing``.

    Raises UsageError.
    """
    module = _daft()
    if not any(options.get(name) is not None for name in ("prompt", "prompt_file", "request_file")):
        options["prompt"] = "-"
    recipe, _ = keyed_recipe(options)
    schema = recipe.schema.original if recipe.schema is not None else None
    dimensions = recipe.settings.get("outputDimensionality")
    columns = answer_columns(
        schema,
        method="embed" if recipe.kind is Kind.EMBED else "generate",
        prefix=options.get("prefix"),
        taken=df.column_names,
        dimensions=dimensions if isinstance(dimensions, int) else None,
    )
    for name in recipe.key:
        if name not in df.column_names:
            raise UsageError(f"There is no column {name!r}.", field="key", code="no_column")
    found = _filled(module, module.read_parquet(answer_files(shards, answers, partial=partial)), columns)
    if listed := lists_of_skipped(local_folder(shards).absolute().parent):
        found = found.concat(_not_sent(module, listed, columns))
    return _joined(module, df, found, columns, recipe.key, partial=partial)


def _filled(module: Any, found: daft.DataFrame, columns: Sequence[Column]) -> daft.DataFrame:
    """The answers of all requests with the columns that a table gets, next to their keys."""
    col = module.col
    if not any(column.is_property or column.kind.size is not None for column in columns):
        chosen = [col(column.fact).cast(_type(module, column.kind)).alias(column.name) for column in columns]
        return found.select(col("key").alias(_KEY), *chosen)
    first = "embedding" if "embedding" in found.column_names else "text"
    types = {column.name: _type(module, column.kind) for column in columns}

    @module.func.batch(return_dtype=module.DataType.struct(types), unnest=True)  # type: ignore[untyped-decorator]
    def filled(answers: Any, verdicts: Any, problems: Any) -> Any:
        import pyarrow as pa

        fill, names = Filler(columns), list(types)
        rows = []
        for answer, verdict, problem in zip(
            answers.to_pylist(), verdicts.to_pylist(), problems.to_pylist(), strict=True
        ):
            facts = {first: answer, "verdict": verdict, "problem": problem}
            values = fill(facts, answer if first == "text" else None).values
            rows.append(dict(zip(names, values or (), strict=False)))
        fields = [(column.name, _arrow_type(pa, column.kind)) for column in columns]
        return module.Series.from_arrow(pa.array(rows, pa.struct(fields)))

    return found.select(col("key").alias(_KEY), filled(col(first), col("verdict"), col("problem")))


def _not_sent(module: Any, files: list[str], columns: Sequence[Column]) -> daft.DataFrame:
    """The rows of which no request was made, with the same columns."""
    text = module.DataType.string()
    found = module.read_json(files, infer_schema=False, schema={"key": text, "reason": text, "message": text})
    known = {"verdict": module.lit("skipped"), "problem": module.col("message")}
    chosen = [
        known.get(column.fact, module.lit(None)).cast(_type(module, column.kind)).alias(column.name)
        if not column.is_property
        else module.lit(None).cast(_type(module, column.kind)).alias(column.name)
        for column in columns
    ]
    return found.select(module.col("key").alias(_KEY), *chosen)


def _joined(
    module: Any,
    df: daft.DataFrame,
    found: daft.DataFrame,
    columns: Sequence[Column],
    key: Sequence[str],
    *,
    partial: bool,
) -> daft.DataFrame:
    """Each row with its answer, or with what is known of a row that has none."""
    names = {column.fact: module.col(column.name) for column in columns if not column.is_property}
    absent, verdict = names["verdict"].is_null(), names["verdict"]
    said = module.lit(_NO_ANSWER if partial else _NO_REQUEST)
    instead = module.lit("missing" if partial else "skipped")
    every = df.with_column(_KEY, _key(module, df, key)).join(found, on=_KEY, how="left").exclude(_KEY)
    told = {
        names["problem"].name(): module.functions.when(absent, said).otherwise(names["problem"]),
        verdict.name(): module.functions.when(absent, instead).otherwise(verdict),
    }
    return every.with_columns(told).select(*df.column_names, *(column.name for column in columns))


def _key(module: Any, df: daft.DataFrame, names: Sequence[str]) -> Any:
    """The key of a row as its request has it."""
    kind, column = df.schema()[names[0]].dtype, module.col(names[0])
    if len(names) == 1 and (kind.is_string() or kind.is_integer()):
        return column.cast(module.DataType.string())

    @module.func.batch(return_dtype=module.DataType.string())  # type: ignore[untyped-decorator]
    def keys(*values: Any) -> Any:
        import pyarrow as pa

        table = pa.table({name: value.to_arrow() for name, value in zip(names, values, strict=True)})
        if not table.num_rows:
            return pa.array([], pa.large_string())
        with tempfile.TemporaryDirectory(prefix="gemini-batch-keys-") as folder:
            scratch = Path(folder)
            found = keys_of(take_snapshot(Given(table), scratch), names, scratch)
            return pa.array(found, pa.large_string())

    return keys(*(module.col(name) for name in names))


def _type(module: Any, kind: Type) -> Any:
    """The type of a column in Daft."""
    import pyarrow as pa

    return module.DataType.from_arrow_type(_arrow_type(pa, kind))


def _arrow_type(arrow: Any, kind: Type) -> Any:
    """The type of a column in Arrow; JSON is text there."""
    if kind.item is not None:
        return arrow.list_(_arrow_type(arrow, kind.item), -1 if kind.size is None else kind.size)
    if kind.members:
        return arrow.struct([(name, _arrow_type(arrow, part)) for name, part in kind.members])
    scalars = {"BIGINT": arrow.int64, "DOUBLE": arrow.float64, "FLOAT": arrow.float32, "BOOLEAN": arrow.bool_}
    return scalars.get(kind.name, arrow.large_string)()
