r"""Reads lines from bytes, and writes files that are complete whenever they are visible.

Lines are split only at the byte ``\n``: a JSON string may contain unescaped U+2028, U+2029 or U+0085, and text-mode
line splitting would cut it in two. No function here reads a whole file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import secrets
import stat
import threading
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator
    from pathlib import Path

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
UTF8_BOM = b"\xef\xbb\xbf"
#: A longer line is reported instead of read into memory. The longest lines observed in practice (base64 images) are
#: about 20 MB.
MAX_LINE = 256 * 1024 * 1024
#: Bytes of lines that are hashed and written together.
_TOGETHER = 256 * 1024
#: Bytes of a longer line that are in memory at a time while it is skipped.
_SKIPPED = 1024 * 1024


class Line(NamedTuple):
    r"""One line: its offset in bytes, its number (from 1), and its bytes without the final ``\n``."""

    offset: int
    number: int
    data: bytes


class LineTooLong(ValueError):
    """A line is longer than the reader's limit; ``number`` and ``offset`` say which one."""

    def __init__(self, number: int, offset: int, limit: int) -> None:
        super().__init__(f"line {number} (at byte {offset}) is longer than {limit} bytes")
        self.number = number
        self.offset = offset


class LongLine(NamedTuple):
    r"""A line beyond the limit, which was skipped: its offset, its number, and its length without the final ``\n``."""

    offset: int
    number: int
    length: int


def read_lines(source: IO[bytes], *, offset: int = 0, number: int = 1, limit: int = MAX_LINE) -> Iterator[Line]:
    r"""Yield the lines of a binary stream, including blank ones; the last ``\n`` may be missing.

    ``offset`` and ``number`` describe the stream's current position. Raises :class:`LineTooLong`.
    """
    while data := source.readline(limit + 1):
        ended = data.endswith(b"\n")
        if not ended and len(data) > limit:
            raise LineTooLong(number, offset, limit)
        yield Line(offset, number, data[:-1] if ended else data)
        offset += len(data)
        number += 1


class LineWriter:
    """Writes lines to a binary stream, many of them together, and hashes them.

    ``hash`` is the SHA-256 of what :meth:`flush` has handed over.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lines: list[bytes] = []
        self._size = 0
        self.hash = hashlib.sha256()

    def write_all(self, lines: bytes) -> None:
        """Write lines, each with its line ending."""
        self.flush()
        self._hand_over(lines)

    def write(self, line: bytes) -> None:
        """Write one line, given without its line ending."""
        self._lines.append(line)
        self._size += len(line)
        if self._size >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Hand over the lines that are held back."""
        if self._lines:
            self._lines.append(b"")
            content = b"\n".join(self._lines)
            self._lines, self._size = [], 0
            self._hand_over(content)

    def _hand_over(self, content: bytes) -> None:
        self.hash.update(content)
        self._file.write(content)


def read_all_lines(source: IO[bytes], *, limit: int = MAX_LINE) -> Iterator[Line | LongLine]:
    """The same from the beginning, but a line beyond the limit costs only itself: it is skipped."""
    offset, number = 0, 1
    while True:
        try:
            yield from read_lines(source, offset=offset, number=number, limit=limit)
            return
        except LineTooLong as long:
            length, ended = limit + 1, False
            while not ended and (more := source.readline(_SKIPPED)):
                ended = more.endswith(b"\n")
                length += len(more) - ended
            yield LongLine(long.offset, long.number, length)
            offset, number = long.offset + length + ended, long.number + 1


class NotJson(ValueError):
    """A line is not a single JSON value; ``column`` (from 1, in characters) is the position of the error, if known."""

    def __init__(self, message: str, column: int | None = None) -> None:
        super().__init__(message)
        self.column = column


def _no_constant(name: str) -> Any:
    raise NotJson(f"{name} is not JSON")


def decode(data: bytes) -> Any:
    """Decode one JSON value strictly: UTF-8, no NaN or Infinity, no lone surrogates.

    Raises :class:`NotJson` with a clear message and the column. The fast decoder's own messages mislead in some cases,
    so an invalid line is read again slowly to find the actual error.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _explain(data, error) from None


def _explain(data: bytes, error: Exception) -> NotJson:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as bad:
        column = len(data[: bad.start].decode("utf-8", "replace")) + 1
        return NotJson(f"not UTF-8 text at byte {bad.start + 1} of the line", column)
    if text.startswith("\ufeff"):
        return NotJson("there is a byte order mark (BOM) before the JSON; save the file as UTF-8 without one", 1)
    try:
        # The size of a number does not matter here; Python refuses to read very long ones.
        value = json.loads(text, parse_constant=_no_constant, parse_int=len)
    except NotJson as bad:
        return bad
    except json.JSONDecodeError as bad:
        return _explain_syntax(text, bad)
    except RecursionError:
        return NotJson("nested too deeply")
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return NotJson("half of a surrogate pair (a \\ud800-\\udfff escape without its partner)")
    except RecursionError:
        return NotJson("nested too deeply")
    return NotJson(str(error))


def _explain_syntax(text: str, bad: json.JSONDecodeError) -> NotJson:
    if bad.msg == "Extra data":
        return NotJson("there is more text after the first JSON value; write one JSON object on each line", bad.colno)
    # Some versions of Python point to the comma, others to the bracket after it.
    before = text[: bad.pos + 1].rstrip().rstrip("]}").rstrip()
    after = text[len(before) :].lstrip()
    if before.endswith(",") and after[:1] in {"]", "}"}:
        return NotJson("there is an extra comma before the closing bracket", len(text) - len(after) + 1)
    return NotJson(f"{bad.msg[:1].lower()}{bad.msg[1:]}", bad.colno)


T = TypeVar("T")
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_building = threading.RLock()


def decoder(build: Callable[[], T]) -> T:
    """Build something that makes msgspec inspect a type, in one thread at a time.

    msgspec inspects a type at its first use; if two threads do so at once, the interpreter crashes (observed with
    0.22).
    """
    with _building:
        return build()


def decode_as(data: bytes | msgspec.Raw, kind: type[T]) -> T:
    """Decode one JSON value as ``kind``; safe in any thread. Raises msgspec's errors."""
    known = _decoders.get(kind)
    if known is None:
        known = _decoders[kind] = decoder(lambda: msgspec.json.Decoder(kind))
    found: T = known.decode(data)
    return found


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _readable(digits: str) -> int | None:
    return int(digits) if len(digits) < 4000 else None  # Python refuses to read longer ones


def loads(data: bytes) -> Any:
    """Decode JSON tolerantly: NaN, Infinity and numbers beyond the range of a double become null.

    Raises ``ValueError`` or ``RecursionError``.
    """
    return json.loads(data, parse_constant=lambda _: None, parse_float=_finite, parse_int=_readable)


def dumps(value: object) -> bytes:
    """Encode what :func:`loads` returned as strict JSON; half surrogate pairs become U+FFFD."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _LONE_SURROGATE.sub("\ufffd", text).encode()


def repair(data: bytes) -> bytes | None:
    """The same JSON, strict: half surrogate pairs become U+FFFD, NaN and Infinity null. None if it is not JSON."""
    try:
        return dumps(loads(data))
    except (ValueError, RecursionError):
        return None


def encode(value: object) -> bytes:
    """Encode one compact JSON value as UTF-8 bytes, without a line ending."""
    return msgspec.json.encode(value)


def utf8_text(text: str) -> str:
    """The same text, as UTF-8 can hold it: bytes of a file name that are not text become escapes (``\\udcff``)."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` survive a power cut, if the platform supports that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network and FUSE file systems do not support it
            raise
    finally:
        os.close(handle)


def private_folder(path: Path) -> None:
    """Create a folder, with those above it that are missing, for its owner only; existing folders keep their mode.

    Raises ``OSError`` from the file system.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
    except FileNotFoundError:
        private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def read_at(file: IO[bytes], offset: int, length: int) -> bytes:
    """So many bytes of a file from ``offset`` on. Raises ``OSError``."""
    file.seek(offset)
    return file.read(length)


def private_open(path: Path, mode: Literal["ab", "wb", "xb"]) -> IO[bytes]:
    """Open a file for writing; one that does not exist is created for its owner only. Raises ``OSError``."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


#: A part file counts as left behind only if it is older than ours by this many seconds and no process has locked it.
_STALE = 60.0
_PART = re.compile(r"\.(.+)\.[0-9a-f]{8}\.part", re.DOTALL)


def _lock(file: IO[bytes]) -> bool:
    """Lock a part file while it is written; the lock ends with the process. Returns whether it is ours now."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def sweep(folder: Path, names: Container[str], *, now: float) -> None:
    """Remove the parts of files that killed processes left in a folder.

    ``names``: those of the files, as :func:`short_name` gives them. ``now``: the time by the folder's own clock.
    """
    with contextlib.suppress(OSError):  # a folder can permit writing without listing
        for other in folder.iterdir():
            if (part := _PART.fullmatch(other.name)) is None or part[1] not in names:
                continue
            with contextlib.suppress(OSError), other.open("rb+") as file:
                if other.stat().st_mtime < now - _STALE and _lock(file):
                    other.unlink()


def open_part(path: Path, *, private: bool = False) -> IO[bytes]:
    """A new file next to ``path`` for what will become it, locked until it is closed. Its ``name`` is its path."""
    part = path.with_name(f".{short_name(path.name)}.{secrets.token_hex(4)}.part")
    file = private_open(part, "xb") if private else part.open("xb")
    _lock(file)
    return file


def short_name(name: str) -> str:
    """As much of the name of a file as the names of its parts have."""
    return name[:100]


def path_of_part(path: Path, part: IO[bytes]) -> Path:
    """The path of a part of ``path``."""
    return path.with_name(os.path.basename(part.name))  # noqa: PTH119 - names may hold bytes that are not text


@contextlib.contextmanager
def part_of(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """A new file next to ``path`` for what will become it, or is needed to make it; it is removed at the end.

    Its ``name`` is its path. Parts that killed processes left next to the same path are removed. ``private``: only the
    owner may read it. Raises ``OSError`` from the file system.
    """
    file = open_part(path, private=private)
    try:
        with file:
            sweep(path.parent, {short_name(path.name)}, now=os.fstat(file.fileno()).st_mtime)
            yield file
    finally:
        path_of_part(path, file).unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_write(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """Write a file next to ``path``, sync it, then rename it to ``path``; on any error, nothing is left or replaced.

    The new file keeps the permissions of the one it replaces, so private answers stay private. ``private``: only the
    owner may read it. Raises ``OSError`` from the file system.
    """
    with part_of(path, private=private) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
        put_in_place(path, file, private=private)
    sync_folder(path.parent)


def put_in_place(path: Path, part: IO[bytes], *, private: bool = False) -> None:
    """Let a part, which is complete and synced, become ``path``. Raises ``OSError`` from the file system."""
    part.close()
    written = path_of_part(path, part)
    if not private:
        with contextlib.suppress(FileNotFoundError):
            written.chmod(stat.S_IMODE(path.stat().st_mode))
    written.replace(path)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex. Raises ``OSError``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def count_lines(path: Path) -> int:
    """How many lines of a file have their line ending; 0 if there is no file. Raises OSError."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(64 * 1024), b""))
