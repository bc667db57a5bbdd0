"""Checks a file as a whole, before its first line is read: is it a request file?"""

from __future__ import annotations

import contextlib
import re
import shlex
import stat
from typing import TYPE_CHECKING, Literal

from gemini_batch import jsonl
from gemini_batch.errors import Next, UsageError
from gemini_batch.validation import table_files
from gemini_batch.validation.repairs import fixed, new_name

if TYPE_CHECKING:
    import os
    from pathlib import Path


#: So much of the beginning of a file tells what it is.
HEAD = 64 * 1024

_MAGIC = (
    (b"\x1f\x8b", "gzip", "gunzip -c {0} > {1}"),
    (
        b"PK\x03\x04",
        "a zip archive (or a spreadsheet)",
        "unzip it, or export the sheet and write one request for each row",
    ),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "zstd -dc {0} > {1}"),
    (b"BZh", "bzip2", "bunzip2 -c {0} > {1}"),
    (b"\xfd7zXZ\x00", "xz", "xz -dc {0} > {1}"),
    (b"%PDF", "a PDF", "upload it and refer to it in a request"),
    (b"ARROW1", "Arrow", "write one request for each row, as gemini-batch's examples/parquet.py does for Parquet"),
)

#: UTF-32 first: its mark begins with the mark of UTF-16.
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)

_ENDINGS = {
    ".xls": "a spreadsheet",
    ".ods": "a spreadsheet",
    ".feather": "a table",
    ".arrow": "a table",
    ".yaml": "YAML",
    ".yml": "YAML",
    ".xml": "XML",
    ".html": "HTML",
    ".py": "a program",
    ".ipynb": "a notebook",
    ".md": "a text document",
}

_EXPECTED = "Expected JSONL: a text file with one JSON object on each line."
_SHAPE = '{"key": "…", "request": {"contents": [{"parts": [{"text": "…"}]}]}}'
#: How a line of our results begins, and one of the service's own that is too long to be read whole.
_OUR_RESULT = re.compile(rb'\{"key":"(?:[^"\\]|\\.)*","verdict":"')
_RAW_RESULT = re.compile(rb'\{\s*(?:"key"\s*:\s*"(?:[^"\\]|\\.)*"\s*,\s*)?"response"\s*:\s*\{')
_FAILURE_FIELDS = {"key", "verdict", "reason", "line"}
_SPREAD = re.compile(rb'\{\s*\n\s*(?:"|\})')


def check_file(path: Path, *, limit: int | None = None, offline: bool = False, fixing: bool = False) -> None:
    """Refuse what cannot be read, or cannot be a request file. Arguments and errors as for :func:`check_head`."""
    size = _check_place(path)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as bad:
        raise UsageError(
            f"The file cannot be read: {bad.strerror or bad}.",
            file=path,
            next="Check its permissions.",
            code="unreadable",
        ) from None
    check_head(path, head, size, limit=limit, offline=offline, fixing=fixing)


def check_head(
    path: Path, head: bytes, size: int, *, limit: int | None = None, offline: bool = False, fixing: bool = False
) -> None:
    """Refuse what cannot be a request file, by its name, its size and its first :data:`HEAD` bytes.

    ``limit``: the maximum bytes of one job; None for no limit. ``offline``: whether the proposed command is to be.
    ``fixing``: what ``validate --fix`` corrects is not refused. A UTF-8 byte order mark and Windows line endings are
    accepted; the code that reads the lines removes them. Raises :class:`UsageError`. Single lines are not checked.
    """
    if size == 0:
        raise UsageError(
            "The file is empty.", file=path, next=f"Write one request on each line: {_SHAPE}", code="empty"
        )
    _check_table(path, head, size, offline=offline)
    _check_bytes(path, head)
    _check_shape(path, head.removeprefix(jsonl.UTF8_BOM), fixing=fixing)
    _check_direction(path, head.removeprefix(jsonl.UTF8_BOM), size, offline=offline, fixing=fixing)
    if path.suffix.lower() in _ENDINGS:
        raise UsageError(
            f"By its extension, `{path.suffix}`, the file is {_ENDINGS[path.suffix.lower()]}. {_EXPECTED}",
            file=path,
            next=f"Write one request for each row to a `.jsonl` file: {_SHAPE}",
            code="not_jsonl",
        )
    if limit is not None and size > limit:
        raise UsageError(
            f"The file is {_size(size)}; the limit for one job is {_size(limit)}.",
            file=path,
            next=Next(
                "run",
                str(path),
                *(["--offline"] if offline else []),
                why=_costing("splits it into several jobs", offline),
            ),
            code="too_large",
        )


def _check_place(path: Path) -> int:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            "The file does not exist.",
            file=path,
            next=f"Check the name{_working_folder(path)}.",
            code="file_not_found",
        ) from None
    except (OSError, ValueError) as bad:
        reason = getattr(bad, "strerror", None) or bad
        raise UsageError(
            f"The file cannot be read: {reason}.",
            file=path,
            next="Check the name and the permissions.",
            code="unreadable",
        ) from None
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(
            "This is a folder, not a file.", file=path, next="Name a request file in it.", code="not_a_regular_file"
        )
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(
            "This is not a regular file; a request file is read more than once.",
            file=path,
            next="Write the requests to a file first.",
            code="not_a_regular_file",
        )
    return status.st_size


def _check_bytes(path: Path, head: bytes) -> None:
    quoted, target = shlex.quote(str(path)), new_name(path)
    for magic, name, fix in _MAGIC:
        if head.startswith(magic):
            raise UsageError(
                f"The file is {name}. {_EXPECTED}",
                file=path,
                next=_sentence(fix.format(quoted, target)),
                code="not_jsonl",
            )
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if encoding is None and b"\x00" in head:
        # Text in a two-byte encoding without a byte order mark: every other byte of plain English is zero.
        sample = head[:200]
        if max(sample[::2].count(0), sample[1::2].count(0)) > len(sample) // 3:
            encoding = "utf-16-be" if sample[::2].count(0) > sample[1::2].count(0) else "utf-16-le"
        else:
            raise UsageError(
                f"The file contains NUL bytes: it is binary or damaged. {_EXPECTED}",
                file=path,
                next="Check how the file was created.",
                code="not_jsonl",
            )
    if encoding is not None:
        raise UsageError(
            f"The file is encoded in {encoding.upper()}; the service reads UTF-8.",
            file=path,
            next=f"Convert it: `iconv -f {encoding.upper()} -t UTF-8 {quoted} > {target}`.",
            code="not_utf8",
        )


def _check_table(path: Path, head: bytes, size: int, *, offline: bool) -> None:
    what = None
    whole = size <= HEAD
    if head.startswith(b"PAR1"):
        what = "The file is Parquet."
    elif head.startswith(b"SQLite format 3\x00"):
        what = "The file is an SQLite database."
    elif (suffix := path.suffix.lower()) in table_files.ENDINGS:
        what = f"By its extension, `{path.suffix}`, the file is {table_files.ENDINGS[suffix]}."
    elif b"\0" not in head and table_files.columns(head, whole=whole):
        what = "The file is a table: its lines are rows of cells, not JSON."
    if what is not None:
        raise table_files.refusal(path, what, _EXPECTED, head, whole=whole, offline=offline)


def _check_shape(path: Path, head: bytes, *, fixing: bool) -> None:
    start = head.lstrip()
    if not start:
        raise UsageError(
            "The file has only blank lines.", file=path, next=f"Write one request on each line: {_SHAPE}", code="empty"
        )
    if fixing:
        return
    if start.startswith(b"["):
        raise UsageError(f"The file is one JSON array. {_EXPECTED}", file=path, next=fixed(path), code="json_array")
    if _SPREAD.match(start):
        raise UsageError(
            f"The file has JSON objects that span several lines. {_EXPECTED}",
            file=path,
            next=fixed(path),
            code="json_spread",
        )


def _costing(what: str, offline: bool) -> str:
    return what if offline else f"{what}; this costs money"


def _check_direction(path: Path, head: bytes, size: int, *, offline: bool, fixing: bool) -> None:
    """Refuse a file of answers by its first line: one error for the file instead of one for each line."""
    start = head.lstrip()
    first, _, rest = start.partition(b"\n")
    whole = bool(rest) or size <= HEAD
    kind = _kind_of_answer(first) if whole else _kind_of_long_line(first)
    if kind is None or (kind == "failures" and fixing):
        return
    what = {
        "results": "The file contains results, not requests.",
        "raw": "The file contains the service's raw answers, not requests.",
        "failures": "The file lists failed requests, with each request in the field `line`. To edit and resend them, "
        f"extract them: `{fixed(path).typed()}`.",
    }[kind]
    raise UsageError(
        f"{what} To resend every request, use the original request file.",
        file=path,
        next=Next("retry", "RUN", why=_costing("resends only the requests that did not succeed", offline)),
        code="results_file",
    )


def _kind_of_answer(line: bytes) -> Literal["results", "raw", "failures"] | None:
    try:
        found = jsonl.decode(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or "request" in found:
        return None
    if found.keys() >= _FAILURE_FIELDS:
        return "failures"
    if "key" in found and "verdict" in found:
        return "results"
    answer = isinstance(found.get("response"), dict) and found["response"]
    return "raw" if answer or ("key" in found and isinstance(found.get("error"), dict)) else None


def _kind_of_long_line(beginning: bytes) -> Literal["results", "raw"] | None:
    if _OUR_RESULT.match(beginning):
        return "results"
    return "raw" if _RAW_RESULT.match(beginning) and b'"request"' not in beginning else None


def check_unchanged(before: os.stat_result, after: os.stat_result, path: Path) -> None:
    """Refuse what was read of a file that another program wrote meanwhile. Raises :class:`UsageError`."""
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise UsageError(
            "The file changed while it was read; nothing was sent.",
            file=path,
            code="file_changed",
            next="Wait until no other program writes it, then run the same command again.",
        )


def _working_folder(path: Path) -> str:
    """Where a relative name was searched for. The working folder of a shell may have been deleted."""
    with contextlib.suppress(OSError):
        return "" if path.is_absolute() else f"; the working folder is {path.cwd()}"
    return ""


def _sentence(text: str) -> str:
    return f"Try `{text}`." if " > " in text else f"{text[:1].upper()}{text[1:]}."


def _size(count: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= scale:
            return f"{count / scale:.2f}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{count} bytes"
