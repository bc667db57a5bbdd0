"""A table as it was: all rows of a source, in order, with their types, in one Parquet file of our own.

What comes after reads only the snapshot, so a source that changes or goes away hurts nothing.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, assert_never

from gemini_batch.errors import UsageError
from gemini_batch.jsonl import private_open
from gemini_batch.stopping import check
from gemini_batch.tables.sources import duck
from gemini_batch.tables.sources.csv_text import bad_csv, check_names, detect, not_encoded, opened, records
from gemini_batch.tables.sources.database import read_table
from gemini_batch.tables.sources.folder import read_folder
from gemini_batch.tables.sources.source import Kind, Source, partition_of
from gemini_batch.tables.sources.spool import spool
from gemini_batch.tables.sources.workbook import read_sheet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from gemini_batch.tables.sources.csv_text import Dialect

#: The longest cell of a CSV file that duckdb reads; Python reads files with longer ones.
_LONGEST_LINE = 8 * 1024 * 1024
#: The longest object in a JSON file.
_LONGEST_OBJECT = 256 * 1024 * 1024
#: Types whose values become text.
_TEXTS = frozenset({"UHUGEINT", "BIGNUM", "BIT", "INTERVAL"})
_SPOOL = "rows.jsonl"
_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rows of a table in a Parquet file. ``columns``: names with duckdb's types; ``notes``: what was detected."""

    path: Path
    columns: dict[str, str]
    rows: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """Rows from a program: mappings or objects with fields, or anything that exports an Arrow stream."""

    rows: Any


def take_snapshot(
    source: Source | Given,
    scratch: Path,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
) -> Snapshot:
    """Write the rows of ``source`` to ``table.parquet`` in ``scratch``, a private folder for everything temporary.

    ``encoding`` and ``delimiter`` say how CSV files are read; by default, both are detected. Raises UsageError for what
    is no table, StateError for a full disk.
    """
    path = scratch / "table.parquet"
    name = source.name if isinstance(source, Source) else "the rows"
    with duck.duckdb(scratch) as db:
        hint = "Check the input, or read it in another format."
        if isinstance(source, Source) and source.kind is Kind.SQL:
            hint = "Correct the query. Relative file names are looked up in the working folder."
        with duck.explained("The table cannot be read", file=None if name == "--sql" else name, next=hint):
            relation, notes = _relation(db, source, scratch, encoding=encoding, delimiter=delimiter)
            try:
                rows = _copy(db, relation, path, name)
            except duck.failure():
                if not isinstance(source, Source) or source.kind is not Kind.CSV:
                    raise
                # duckdb takes neither mixed line endings nor very long cells, and it does not always name the row of an
                # error: Python reads the files, and refuses what is to be refused.
                relation, notes = _csv(source, scratch, encoding=encoding, delimiter=delimiter, by_python=True)
                rows = _copy(db, relation, path, name)
            columns = _describe(db, duck.own_parquet(path))
    for part in scratch.glob(f"*{_SPOOL}"):
        part.unlink()
    if not rows:
        raise UsageError("The table has no rows.", file=name, code="empty", next="Give a table that has rows.")
    return Snapshot(path, columns, rows, tuple(notes))


def _copy(db: Any, relation: str, path: Path, name: str) -> int:
    """Write a relation to the snapshot; returns the number of rows."""
    columns = _describe(db, relation)
    check_names(list(columns), name)
    kept = ", ".join(_kept(column, kind) for column, kind in columns.items())
    db.execute(f"COPY (SELECT {kept} FROM {relation}) TO {duck.text(str(path))} (FORMAT parquet, COMPRESSION zstd)")
    rows: int = db.fetchone()[0]
    return rows


def _describe(db: Any, relation: str) -> dict[str, str]:
    return {row[0]: row[1] for row in db.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}


def _kept(column: str, kind: str) -> str:
    """A column as Parquet keeps it unchanged: it has no integers beyond 64 bits, and few read its durations."""
    quoted = duck.name(column)
    kept = "DECIMAL(38,0)" if kind == "HUGEINT" else "VARCHAR" if kind in _TEXTS else None
    return quoted if kept is None else f"CAST({quoted} AS {kept}) AS {quoted}"


def _relation(
    db: Any, source: Source | Given, scratch: Path, *, encoding: str | None, delimiter: str | None
) -> tuple[str, list[str]]:
    """The rows of a source, as SQL names them, and what was detected."""
    if isinstance(source, Given):
        return _given(db, source.rows, scratch), []
    files = duck.paths(source.paths)
    match source.kind:
        case Kind.SQL:
            assert source.part is not None
            return _query(db, source.part), []
        case Kind.PARQUET:
            return f"read_parquet({files}, union_by_name = true, {_hive(source)})", []
        case Kind.JSON:
            return _json(db, source, files, scratch), []
        case Kind.CSV:
            return _csv(source, scratch, encoding=encoding, delimiter=delimiter)
        case Kind.EXCEL:
            return _spooled(read_sheet(source.path, source.part), scratch, source.name), []
        case Kind.SQLITE:
            return _spooled(read_table(source.path, source.part), scratch, source.name), []
        case Kind.FILES:
            return _spooled(read_folder(source.path), scratch, source.name), []
        case _:
            assert_never(source.kind)


def _hive(source: Source) -> str:
    return f"hive_partitioning = {str(source.is_partitioned).lower()}"


def _query(db: Any, sql: str) -> str:
    """The rows of one query, as a view. Raises UsageError for anything else: a statement could write, or attach."""
    hint = "Write one SELECT; relative file names are looked up in the working folder."
    with duck.explained("The query cannot be read", file=None, next=hint):
        statements = db.extract_statements(sql)
    if [statement.type.name for statement in statements] != ["SELECT"]:
        raise UsageError(
            "--sql is not one query: it only selects rows, and changes nothing.",
            field="--sql",
            code="bad_argument",
            next=hint,
        )
    with duck.explained("The table cannot be read", file=None, next=f"Correct the query. {hint}"):
        db.execute(f"CREATE TEMP VIEW selected AS {statements[0].query}")
    return "selected"


def _given(db: Any, rows: Any, scratch: Path) -> str:
    if type(rows).__module__.split(".")[0] == "pandas":
        db.register("given", rows.reset_index() if any(name is not None for name in rows.index.names) else rows)
        return "given"
    if hasattr(rows, "__arrow_c_stream__"):
        db.register("given", rows)
        return "given"
    if isinstance(rows, (str, bytes, Mapping)) or not hasattr(rows, "__iter__"):
        raise UsageError(
            f"{type(rows).__name__} is not a table.",
            code="not_a_table",
            next="Give a file name, a data frame, or an iterable of dicts, dataclasses or pydantic objects.",
        )
    return _spooled(rows, scratch, "the rows")


def _spooled(rows: Iterable[object], scratch: Path, name: str) -> str:
    """Rows of Python values: written to a file as JSON lines, from which duckdb reads them with their types."""
    path = scratch / _SPOOL
    with private_open(path, "wb") as file:
        columns = spool(rows, file, name)
    if not columns:
        raise UsageError("The table has no rows.", file=name, code="empty", next="Give a table that has rows.")
    return _typed(path, columns)


def _typed(path: Path, columns: dict[str, str]) -> str:
    spec = ", ".join(f"{duck.text(name)}: 'JSON'" for name in columns)
    casts = ", ".join(_cast(name, kind) for name, kind in columns.items())
    return (
        f"(SELECT {casts} FROM read_json({duck.reading(path)}, format = 'newline_delimited', "
        f"records = true, hive_partitioning = false, columns = {{{spec}}}, maximum_object_size = {_LONGEST_OBJECT}))"
    )


def _cast(name: str, kind: str) -> str:
    quoted = duck.name(name)
    match kind:
        case "JSON":
            return quoted
        case "VARCHAR":
            return f"({quoted} ->> '$') AS {quoted}"
        case "BLOB":
            return f"unhex({quoted} ->> '$') AS {quoted}"
        case _:
            return f"CAST(({quoted} ->> '$') AS {kind}) AS {quoted}"


# JSON ----------------------------------------------------------------------------------------------------------------


def _json(db: Any, source: Source, files: str, scratch: Path) -> str:
    """Objects, one a row. Values are taken as they are written; a column has a type if all of its values have it."""
    reader = (
        f"read_json({files}, maximum_depth = 1, sample_size = -1, union_by_name = true, {_hive(source)}, "
        f"maximum_object_size = {_LONGEST_OBJECT})"
    )
    raw = scratch / "json.parquet"
    hint = "A table in JSON is an array of objects, or one object on each line."
    # Threads read several files at once, each with room for two of the longest objects.
    threads = duck.one_thread(db) if len(source.paths) > 1 else contextlib.nullcontext()
    with threads, duck.explained("The JSON cannot be read as a table", file=source.name, next=hint):
        columns = _describe(db, reader)
        if list(columns) == ["json"] and not _has_objects(db, reader):
            raise UsageError(
                "The JSON values are not objects with fields.", file=source.name, code="not_a_table", next=hint
            )
        check_names(list(columns), source.name)
        # A column that comes from the name of a folder has another type.
        asked = ", ".join(
            f"{duck.name(name) if kind == 'JSON' else f'to_json({duck.name(name)})'} AS {duck.name(name)}"
            for name, kind in columns.items()
        )
        db.execute(f"COPY (SELECT {asked} FROM {reader}) TO {duck.text(str(raw))} (FORMAT parquet)")
        stored = duck.own_parquet(raw)
        facts = db.execute(f"SELECT {', '.join(map(_facts, columns))} FROM {stored}").fetchone()
    casts = ", ".join(_cast(name, _json_type(*facts[at])) for at, name in enumerate(columns))
    return f"(SELECT {casts} FROM {stored})"


def _has_objects(db: Any, reader: str) -> bool:
    """Whether ``json`` is a field of objects, or there is no value; duckdb gives other values a column of this name."""
    if not db.execute(f"SELECT 1 FROM {reader} LIMIT 1").fetchone():
        return True
    try:
        _describe(db, reader.removesuffix(")") + ", records = true)")
    except duck.failure():
        return False
    return True


def _facts(name: str) -> str:
    """The JSON types of a column's values, the longest integer, and whether all numbers are what doubles are."""
    value = duck.name(name)
    written = f"({value} ->> '$')"
    fraction = f"regexp_matches({written}, '[.eE]')"
    double = f"try_cast({written} AS DOUBLE)"
    there = f"FILTER ({written} IS NOT NULL)"
    return (
        f"(coalesce(array_sort(array_agg(DISTINCT json_type({value})) FILTER (json_type({value}) <> 'NULL')), []), "
        f"coalesce(bool_and(try_cast({written} AS BIGINT) IS NOT NULL AND NOT {fraction}) {there}, true), "
        f"coalesce(bool_and({written} IN ('NaN', 'Infinity', '-Infinity') OR "
        f"(isfinite({double}) AND ({fraction} OR abs({double}) <= 9007199254740992))) {there}, true))"
    )


def _json_type(kinds: list[str], integers: bool, doubles: bool) -> str:
    match kinds:
        case []:
            return "VARCHAR"
        case ["VARCHAR"]:
            return "VARCHAR"
        case ["BOOLEAN"]:
            return "BOOLEAN"
        case _ if set(kinds) <= {"BIGINT", "UBIGINT", "DOUBLE"}:
            return "BIGINT" if integers else "DOUBLE" if doubles else "JSON"
        case _:
            return "JSON"


# CSV -----------------------------------------------------------------------------------------------------------------


def _csv(
    source: Source, scratch: Path, *, encoding: str | None, delimiter: str | None, by_python: bool = False
) -> tuple[str, list[str]]:
    """CSV files with the same columns; all cells are text, and an empty one is null.

    ``by_python``: Python reads them, not duckdb. Packed files are always read so.
    """
    parts, notes = [], list[str]()
    first: tuple[str, ...] | None = None
    is_partitioned, added = source.is_partitioned, list[str]()
    for number, path in enumerate(source.paths):
        dialect = detect(path, encoding=encoding, delimiter=delimiter)
        folders = partition_of(path) if is_partitioned else {}
        notes += [note for note in dialect.notes if note not in notes]
        if first is None:
            first, added = dialect.columns, list(folders)
            check_names([*first, *added], source.name)
        elif set(dialect.columns) != set(first) or set(folders) != set(added):
            raise UsageError(
                f"The file has other columns than {source.paths[0].name}.",
                file=path,
                code="not_a_table",
                next="Files that are read together need the same header, and the same folders such as year=2026.",
            )
        wanted = ", ".join(
            [*map(duck.name, first), *(f"{_text(folders[name])} AS {duck.name(name)}" for name in added)]
        )
        spooled = scratch / f"{number}-{_SPOOL}"
        if by_python or dialect.odd or path.suffix.lower() == ".gz":
            with opened(path) as raw, private_open(spooled, "wb") as file:
                spool(_records(raw, path, dialect), file, source.name)
            relation = _typed(spooled, dict.fromkeys(dialect.columns, "VARCHAR"))
        else:
            plain = dialect.encoding in {"utf-8", "utf-8-sig"}
            relation = _csv_relation(path if plain else _as_utf8(path, spooled, dialect.encoding), dialect)
        parts.append(f"SELECT {wanted} FROM {relation}")
    return f"({' UNION ALL '.join(parts)})", notes


def _text(value: str | None) -> str:
    return "CAST(NULL AS VARCHAR)" if value is None else duck.text(value)


def _csv_relation(path: Path, dialect: Dialect) -> str:
    spec = ", ".join(f"{duck.text(name)}: 'VARCHAR'" for name in dialect.columns)
    return (
        f"read_csv({duck.reading(path)}, auto_detect = false, header = true, columns = {{{spec}}}, "
        f"delim = {duck.text(dialect.delimiter)}, quote = '\"', escape = '\"', strict_mode = true, "
        f"max_line_size = {_LONGEST_LINE})"
    )


def _records(raw: IO[bytes], path: Path, dialect: Dialect) -> Iterator[dict[str, object]]:
    width = len(dialect.columns)
    rows = records(raw, dialect.encoding, dialect.delimiter)
    number = 0
    try:
        next(rows)
        for number, row in enumerate(rows, 1):
            if len(row) < width or any(row[width:]):  # duckdb, too, ignores empty cells at the end
                cells = f"{len(row)} cell{'' if len(row) == 1 else 's'}"
                raise bad_csv(path, f"row {number} has {cells}, and the header has {width}")
            yield {name: cell or None for name, cell in zip(dialect.columns, row[:width], strict=True)}
    except csv.Error as error:
        raise bad_csv(path, f"row {number + 1}: {error}") from error
    except UnicodeDecodeError as error:
        raise not_encoded(path, dialect.encoding, error) from None


def _as_utf8(path: Path, target: Path, encoding: str) -> Path:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with opened(path) as raw, private_open(target, "wb") as file:
            while piece := raw.read(_PIECE):
                check()
                file.write(decoder.decode(piece).encode())
            file.write(decoder.decode(b"", final=True).encode())
    except UnicodeDecodeError as error:
        raise not_encoded(path, encoding, error) from None
    return target
