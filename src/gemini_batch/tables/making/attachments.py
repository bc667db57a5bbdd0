"""Attachments: a cell that names a file or a URL becomes a part of the row's request.

What always holds: no file outside the table's folder and the allowed ones is opened, whatever a cell or a link says; a
URL is passed on and never fetched; what the service would not take is a problem of the row, found before anything is
sent. A small file is written into the request. A larger one is named by its content hash; the engine uploads it before
the job is created (:mod:`gemini_batch.engine.uploads.attachments`).
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import msgspec

from gemini_batch import catalog
from gemini_batch.safe_text import printable
from gemini_batch.stopping import check
from gemini_batch.tables.making import mime
from gemini_batch.tables.making.builder import Skipped
from gemini_batch.tables.making.local_files import NotAFileError, mark_of, opened, status_of
from gemini_batch.validation.file_uri import mistake_of, placeholder

if TYPE_CHECKING:
    from collections.abc import Iterable

#: A file of at most this many bytes is written into the request by default: as base64 it adds a third to its size, and
#: it needs no upload and does not expire. Every row that uses it holds a copy.
INLINE_MAX = 256 * 1024

_PIECE = 1024 * 1024
#: Bytes of small contents that are kept for further rows, and the number of other outcomes that are kept.
_KEPT_BYTES, _KEPT = 64 * 1024 * 1024, 65_536
_SHOWN = 200
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|(?:data|file|gs|attachment):", re.IGNORECASE)
_FILE_NAME = re.compile(r"files/[a-z0-9-]{1,40}")
#: Nothing but the ending says what a URL holds, because it is not fetched.
_ENDINGS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "avif": "image/avif",
    "pdf": "application/pdf",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "m4a": "audio/mp4",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "mpeg": "video/mpeg",
    "txt": "text/plain",
    "csv": "text/csv",
    "html": "text/html",
    "md": "text/markdown",
}

Part = dict[str, Any]

_encode = msgspec.json.Encoder().encode


class Inline(msgspec.Struct, frozen=True):
    """A small file, for the request itself. ``data``: base64."""

    mime: str
    data: str
    sha256: str

    def part(self) -> Part:
        """The part of a request that holds it."""
        return {"inlineData": {"mimeType": self.mime, "data": self.data}}


class Stored(msgspec.Struct, frozen=True):
    """A larger file, which is uploaded before the job is created. ``size`` in bytes; ``path`` has no links in it."""

    sha256: str
    mime: str
    size: int
    path: str

    def part(self) -> Part:
        """The part of a request that names it by its content; the URI takes that place in the job's input."""
        return {"fileData": {"mimeType": self.mime, "fileUri": placeholder(self.sha256)}}


class Remote(msgspec.Struct, frozen=True):
    """A file elsewhere, by a URI that the service reads. ``mime``: None if its ending does not tell."""

    uri: str
    mime: str | None

    def part(self) -> Part:
        """The part of a request that names it."""
        return {"fileData": {**({"mimeType": self.mime} if self.mime else {}), "fileUri": self.uri}}


class RowProblem(msgspec.Struct, frozen=True):
    """Why a row cannot be sent. ``reason`` is one of a fixed set, ``message`` a sentence or two.

    ``reason``: ``ATTACHMENT_`` and ``OUTSIDE``, ``MISSING``, ``UNREADABLE``, ``NOT_A_FILE``, ``EMPTY``, ``TOO_LARGE``,
    ``UNSUPPORTED_TYPE`` or ``BAD_URI``.
    """

    reason: str
    message: str


Attachment = Inline | Stored | Remote | RowProblem


class _Known(NamedTuple):
    """The state of a file when it was read."""

    path: str
    size: int
    changed: int


class Attachments:
    """Resolves the cells of one preparation; each file is read once, as long as it does not change.

    ``folder``: that of the table, for relative paths. ``roots``: other folders whose files may be sent. ``inline_max``:
    the largest file, in bytes, that is written into a request. ``uploads``: whether larger ones can be uploaded; else
    they are problems of their rows. Memory is bounded, whatever the number of files.
    """

    def __init__(
        self, folder: Path, roots: Iterable[Path] = (), inline_max: int = INLINE_MAX, *, uploads: bool = True
    ) -> None:
        self._folder = Path(os.path.realpath(folder))
        self._roots = (self._folder, *(Path(os.path.realpath(root)) for root in roots))
        self._inline_max, self._uploads = inline_max, uploads
        self._known: dict[_Known, Inline | Stored | RowProblem] = {}
        self._inline_bytes = 0
        #: The files to upload that any row has named so far, by content hash.
        self.stored: dict[str, Stored] = {}

    def part(self, cell: str) -> bytes | Skipped | None:
        """The part of a request for a cell, as JSON, or why its row cannot be sent; None for a blank cell."""
        found = self.resolve(cell)
        if isinstance(found, RowProblem):
            return Skipped(found.reason, found.message)
        return None if found is None else _encode(found.part())

    def resolve(self, cell: str | None) -> Attachment | None:
        """What a cell attaches; None for a null or blank one. Never raises for what a cell says."""
        if cell is None or not cell.strip():
            return None
        if _URL.match(cell.strip()):
            return _remote(cell.strip())
        try:
            found = self._in_folder(cell)
        except (FileNotFoundError, ValueError):  # a NUL, or half of a surrogate pair, is in no path
            if _FILE_NAME.fullmatch(cell.strip()):
                return _remote(cell.strip())
            home = "; `~` is not replaced by your home folder" if cell.lstrip().startswith("~") else ""
            found = RowProblem("ATTACHMENT_MISSING", f"The attachment {_shown(cell)} does not exist{home}.")
        except NotAFileError as error:
            found = RowProblem("ATTACHMENT_NOT_A_FILE", f"The attachment {_shown(cell)} is {error}, not a file.")
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            found = RowProblem("ATTACHMENT_UNREADABLE", f"The attachment {_shown(cell)} cannot be read: {why}.")
        if isinstance(found, Stored):
            self.stored.setdefault(found.sha256, found)
        return found

    def _in_folder(self, cell: str) -> Inline | Stored | RowProblem:
        path = Path(os.path.realpath(self._folder / cell))
        if not any(path.is_relative_to(root) for root in self._roots):
            return RowProblem(
                "ATTACHMENT_OUTSIDE",
                f"The attachment {_shown(cell)} is outside the table's folder, so it was not read. --attach-root "
                "allows another folder.",
            )
        return self._local(path, cell)

    def _local(self, path: Path, cell: str) -> Inline | Stored | RowProblem:
        status = status_of(path)
        known = _Known(str(path), status.st_size, status.st_mtime_ns)
        found = self._known.pop(known, None)
        if found is None:
            found = _read(path, status.st_size, _shown(cell), self._inline_max)
            if isinstance(found, Stored) and not self._uploads:
                found = _too_large(_shown(cell), found.size, self._inline_max, "a file in a request file")
            self._inline_bytes += _weight(found)
        self._known[known] = found  # the newest are at the end
        while len(self._known) > _KEPT or (self._inline_bytes > _KEPT_BYTES and len(self._known) > 1):
            self._inline_bytes -= _weight(self._known.pop(next(iter(self._known))))
        return found


def _weight(found: Inline | Stored | RowProblem) -> int:
    return len(found.data) if isinstance(found, Inline) else 0


def _read(path: Path, size: int, shown: str, inline_max: int) -> Inline | Stored | RowProblem:
    """Read a regular file once: its type, its hash and, if it is small, its bytes. Raises ``OSError``."""
    if size == 0:
        return RowProblem("ATTACHMENT_EMPTY", f"The attachment {shown} is empty.")
    limits = catalog.load().limits
    if size > limits.input_file_bytes.value:
        return _too_large(shown, size, limits.input_file_bytes.value, "a file")
    with opened(path) as file:
        before = mark_of(file)
        content = _Content(file, keep=before[0] <= inline_max)
        if content.mime == "application/pdf" and before[0] > limits.pdf_bytes.value:
            return _too_large(shown, before[0], limits.pdf_bytes.value, "a PDF")
        digest = content.read()
        if mark_of(file) != before or content.size != before[0]:
            return RowProblem("ATTACHMENT_UNREADABLE", f"The attachment {shown} was changed while it was read.")
    if content.mime is None:
        return RowProblem(
            "ATTACHMENT_UNSUPPORTED_TYPE",
            f"The attachment {shown} is {content.unread}, which models do not read. Convert it to PNG, JPEG, WebP, "
            "PDF, UTF-8 text, or a common format of recordings or videos.",
        )
    if content.kept is not None:
        return Inline(content.mime, base64.b64encode(content.kept).decode(), digest)
    return Stored(digest, content.mime, content.size, str(path))


class _Content:
    """The content of a file that is being read."""

    def __init__(self, file: IO[bytes], *, keep: bool) -> None:
        self._file, self._keep = file, keep
        self._head = file.read(mime.HEAD)
        self.mime = mime.media_type(self._head)
        self.kept: bytes | None = None
        self.size = 0

    @cached_property
    def unread(self) -> str:
        """What the content is if models do not read it."""
        return "an SVG picture" if mime.is_svg(self._head) else mime.unread(self._head)

    def read(self) -> str:
        """Read all of it; returns its SHA-256 in hex, and recognises text."""
        digest, text = hashlib.sha256(), mime.TextCheck()
        pieces: list[bytes] = []
        text.is_text = self.mime is None
        piece = self._head
        while piece:
            check()
            digest.update(piece)
            text.feed(piece)
            self.size += len(piece)
            if self._keep:
                pieces.append(piece)
            piece = self._file.read(_PIECE)
        if text.finish() and not mime.is_svg(self._head):
            self.mime = "text/plain"
        if self._keep:
            self.kept = b"".join(pieces)
        return digest.hexdigest()


def _too_large(shown: str, size: int, most: int, what: str) -> RowProblem:
    return RowProblem(
        "ATTACHMENT_TOO_LARGE",
        f"The attachment {shown} has {size:,} bytes; the service takes at most {most:,} of {what}.",
    )


def _remote(uri: str) -> Remote | RowProblem:
    if mistake := mistake_of(uri):
        why, what_to_do = (text.replace("`fileUri`", f"The attachment {_shown(uri)}") for text in mistake)
        return RowProblem("ATTACHMENT_BAD_URI", f"{why} {what_to_do}")
    path = re.split(r"[?#]", uri, maxsplit=1)[0]
    return Remote(uri, _ENDINGS.get(path.rpartition(".")[2].lower()))


def _shown(cell: str) -> str:
    """A cell as a message shows it: on one line, and not all of a long one. What follows `?` may be a signature."""
    text = printable(cell.partition("?")[0] if _URL.match(cell.strip()) else cell)
    return f"`{text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}`"


def write_manifest(target: IO[bytes], files: Iterable[Stored]) -> None:
    """Write what has to be uploaded for a run: one line of JSON a file."""
    target.writelines(_encode(file) + b"\n" for file in files)


def read_manifest(path: Path) -> dict[str, Stored]:
    """What has to be uploaded for a run, by content hash. Raises ``OSError``, ``msgspec.DecodeError``."""
    decode = msgspec.json.Decoder(Stored).decode
    with path.open("rb") as lines:
        return {file.sha256: file for file in map(decode, lines)}
