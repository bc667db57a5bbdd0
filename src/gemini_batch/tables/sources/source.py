"""What an input names: a file, several files, a table in a database, a folder, a query."""

from __future__ import annotations

import difflib
import fnmatch
import glob
import re
import shlex
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: How a name of several files is recognised.
_WILD = frozenset("*?[")
_HEAD = 4096
#: What stands for null in the name of a folder.
_NULL = "__HIVE_DEFAULT_PARTITION__"
#: Folders of a partitioned table have names such as ``year=2026``.
_PARTITION = "*=*"


class Kind(StrEnum):
    """What holds the rows."""

    CSV = "CSV"
    JSON = "JSON"
    PARQUET = "Parquet"
    EXCEL = "Excel"
    SQLITE = "SQLite"
    SQL = "SQL"
    FILES = "files"


_ENDINGS = {
    ".csv": Kind.CSV,
    ".tsv": Kind.CSV,
    ".tab": Kind.CSV,
    ".json": Kind.JSON,
    ".jsonl": Kind.JSON,
    ".ndjson": Kind.JSON,
    ".parquet": Kind.PARQUET,
    ".pq": Kind.PARQUET,
    ".xlsx": Kind.EXCEL,
    ".xlsm": Kind.EXCEL,
    ".db": Kind.SQLITE,
    ".sqlite": Kind.SQLITE,
    ".sqlite3": Kind.SQLITE,
}
#: Endings of packed text files that are read as they are.
_PACKED = frozenset({".gz"})
_READ = "CSV, TSV, Parquet, JSON, JSONL, Excel (.xlsx) and SQLite files, and folders"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the rows of a table come from.

    ``name``: as the user wrote it, for messages. ``paths``: the files, in order. ``part``: the table of a database or
    the sheet of a workbook, if one is named; the query for ``SQL``. ``folder``: what paths in its cells are relative
    to.
    """

    kind: Kind
    name: str
    paths: tuple[Path, ...]
    folder: Path
    part: str | None = None

    @property
    def path(self) -> Path:
        """The only file, or the first one."""
        return self.paths[0]

    @property
    def is_partitioned(self) -> bool:
        """Whether folders such as ``year=2026`` add columns: not to a file that is named itself."""
        return self.paths != (Path(self.name),) and any("=" in part for path in self.paths for part in path.parts)

    def holds(self, path: Path, real: Callable[[Path], Path]) -> bool:
        """Whether a file or folder at ``path``, which need not exist, is or would be a part of what it names.

        ``real``: where a path leads to.
        """
        place = real(path)
        if self.kind is Kind.SQL:
            named = [Path(name) for _, name in _QUOTED.findall(self.part or "")]
            return any(real(name) == place or _is_pattern_of(name, place, real) for name in named)
        if any(real(one) == place for one in self.paths):
            return True
        if Path(self.name).is_dir():
            return place.is_relative_to(real(Path(self.name)))
        return _is_pattern_of(Path(self.name), place, real)


def partition_of(path: Path) -> dict[str, str | None]:
    """The columns that folders such as ``year=2026`` add to the rows of a file, with their values, as text."""
    named = (part.partition("=") for part in path.parts[:-1] if "=" in part)
    return {unquote(name): None if value == _NULL else unquote(value) for name, _, value in named}


#: What a query can name as a file.
_QUOTED = re.compile(r"""(['"])([^'"\0]+)\1""")


def _is_pattern_of(name: Path, place: Path, real: Callable[[Path], Path]) -> bool:
    """Whether a name is a pattern that a place matches."""
    if not _WILD & set(str(name)) or name.exists():
        return False
    plain = next(at for at, part in enumerate(name.parts) if _WILD & set(part))
    return _matches(place.parts, real(Path(*name.parts[:plain])).joinpath(*name.parts[plain:]).parts)


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a path matches a pattern, part by part; ``**`` stands for any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[at:], pattern[1:]) for at in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def part_of(path: Path, wanted: str | None, names: Sequence[str]) -> str:
    """How a sheet or table of a file is named, for a shell: the one whose name is nearest to ``wanted``."""
    sought = (wanted or "").casefold()
    near = max(names, key=lambda name: difflib.SequenceMatcher(None, sought, name.casefold()).ratio())
    return shlex.quote(f"{path}::{near}")


def query(text: str) -> Source:
    """The rows of a query; relative names in it are looked up in the working folder."""
    return Source(Kind.SQL, "--sql", (), Path(), text)


def find_source(what: str) -> Source:
    """What ``what`` names. Raises UsageError for what does not exist or holds no table."""
    name, part = what, None
    if "::" in what and not Path(what).exists():
        name, _, part = what.rpartition("::")
    path = Path(name)
    if path.is_dir():
        return _folder(path, what)
    if not path.exists() and _WILD & set(name):
        return _several(sorted(Path(found) for found in glob.glob(name, recursive=True)), what)  # noqa: PTH207 - an absolute pattern, too
    kind = kind_of(path)
    if part is not None and kind not in {Kind.EXCEL, Kind.SQLITE}:
        raise UsageError(
            f"`{name}` has no tables to choose from by `::`; it is a {kind.value} file.",
            file=path,
            code="not_a_table",
            next="Leave out what follows the file name.",
        )
    return Source(kind, what, (path,), path.parent, part)


def kind_of(path: Path) -> Kind:
    """The kind of one file, by its ending, else by its first bytes. Raises UsageError."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(
                "This is not a regular file.", file=path, code="not_a_regular_file", next="Write the rows to a file."
            )
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        raise UsageError(
            "The file does not exist.", file=path, code="file_not_found", next="Check the name and the working folder."
        ) from None
    except OSError as error:
        raise UsageError(
            f"The file cannot be read: {error.strerror}.", file=path, code="unreadable", next="Check its permissions."
        ) from error
    if not head:
        raise UsageError("The file is empty.", file=path, code="empty", next="Give a file that contains rows.")
    by_content = _by_content(head)
    by_name = _by_name(path)
    if by_content is not None and by_name is not by_content:
        return by_content
    if by_name is None:
        by_name = _text_kind(head, path)
    if by_name in {Kind.PARQUET, Kind.EXCEL, Kind.SQLITE} and by_content is None:
        raise UsageError(
            f"By its ending this is {_article(by_name)} file, and its content is not.",
            file=path,
            code="not_a_table",
            next="Check how the file was made.",
        )
    return by_name


def _article(kind: Kind) -> str:
    return f"{'an' if kind.value[0] in 'EAIOUS' else 'a'} {kind.value}"


def _by_name(path: Path) -> Kind | None:
    stem = path.with_suffix("") if _is_packed(path) else path
    return _ENDINGS.get(stem.suffix.lower())


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() in _PACKED


def _by_content(head: bytes) -> Kind | None:
    if head.startswith(b"PAR1"):
        return Kind.PARQUET
    if head.startswith(b"SQLite format 3\x00"):
        return Kind.SQLITE
    if head.startswith(b"PK\x03\x04") and (b"[Content_Types].xml" in head or b"xl/" in head or b"_rels/" in head):
        return Kind.EXCEL
    return None


def _text_kind(head: bytes, path: Path) -> Kind:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"{", b"[")):
        return Kind.JSON
    first = start.partition(b"\n")[0]
    if b"\x00" not in head and any(mark in first for mark in (b",", b";", b"\t")):
        return Kind.CSV
    raise UsageError(
        f"It is not clear how to read this as a table. gemini-batch reads {_READ}.",
        file=path,
        code="not_a_table",
        next="Give the file an ending that says what it is.",
    )


def _several(paths: list[Path], what: str) -> Source:
    files = [path for path in paths if path.is_file()]
    if not files:
        raise UsageError(f"No file matches {what}.", code="file_not_found", next="Check the pattern.")
    kinds = {kind_of(path) for path in files}
    packed = {_is_packed(path) for path in files}
    if len(kinds) > 1 or len(packed) > 1 or not kinds <= {Kind.CSV, Kind.JSON, Kind.PARQUET}:
        found = ", ".join(sorted(kind.value for kind in kinds))
        raise UsageError(
            f"{what} matches files that cannot be read as one table ({found}).",
            code="not_a_table",
            next="Narrow the pattern to CSV, JSON or Parquet files of one kind.",
        )
    base = Path(what[: min(what.index(mark) for mark in _WILD if mark in what)])
    return Source(kinds.pop(), what, tuple(files), base if base.is_dir() else base.parent)


def _folder(path: Path, what: str) -> Source:
    """A folder of Parquet files, or one with ``name=value`` folders, is one table; any other is a folder of files."""
    if any(child.is_dir() for child in path.glob(_PARTITION)):
        files = [child for child in sorted(path.rglob("*")) if child.is_file() and not _is_hidden(child, path)]
    else:
        files = [child for child in sorted(path.iterdir()) if not child.name.startswith((".", "_"))]
        if not files or any(_by_name(child) is not Kind.PARQUET or not child.is_file() for child in files):
            return Source(Kind.FILES, what, (path,), path)
    kinds = {_by_name(child) for child in files}
    if len(kinds) != 1 or not kinds <= {Kind.CSV, Kind.JSON, Kind.PARQUET}:
        raise UsageError(
            "The files in this partitioned folder are not of one kind that can be read (CSV, JSON or Parquet).",
            file=path,
            code="not_a_table",
            next="Use a pattern that names only the files of the table.",
        )
    kind = kinds.pop()
    assert kind is not None
    return Source(kind, what, tuple(files), path)


def _is_hidden(path: Path, below: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.relative_to(below).parts)
