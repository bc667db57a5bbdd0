"""Writes images, audio and other bytes in the answers to separate files.

A line with an image is megabytes of base64; the result names a file instead. The file name comes from the key, but a
key can be any text: only a plain key is used unchanged, and no key can choose a folder. Writing the same results again
gives the same names. :mod:`~gemini_batch.answers.media_folder` says which files may be replaced.
"""

from __future__ import annotations

import binascii
import hashlib
import io
import operator
import re
import wave
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.answers.inline_data import bytes_of
from gemini_batch.answers.media_folder import MediaFolder
from gemini_batch.jsonl import utf8_text

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path


_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_NOT_IN_SLUG = re.compile(r"[^a-z0-9]+")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")
_PARAMETER = re.compile(r"([a-z]+)\s*=\s*\"?([0-9]+)")

_ENDINGS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/jpg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
    "image/svg+xml": "svg",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/ogg": "ogg",
    "audio/opus": "opus",
    "audio/flac": "flac",
    "audio/aac": "aac",
    "audio/mp4": "m4a",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "application/pdf": "pdf",
    "text/plain": "txt",
    "text/csv": "csv",
}
_PCM = frozenset({"audio/l16", "audio/pcm"})
#: The sample rate of the speech models, for a MIME type that does not name one.
_PCM_RATE = 24_000

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


def file_stem(key: str) -> str:
    """The file name, without extension, for ``key``: the key itself if every file system accepts it.

    Any other key becomes its letters and digits and sixteen hex digits of its SHA-256. Fewer digits would collide in a
    large run of keys without Latin letters.
    """
    if _PLAIN.fullmatch(key) and not key.endswith(".") and not _RESERVED.fullmatch(key):
        return key
    slug = _NOT_IN_SLUG.sub("-", key.lower())[:40].strip("-") or "row"
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{slug}-{digest[:16]}"


class MediaWriter:
    """Writes the ``inlineData`` of answers to ``folder``, which is created for the first file.

    ``run``: the run that the answers belong to. ``files`` counts the files written. Base64 that cannot be decoded is
    left in place; the verdict of such an answer is ``invalid``.
    """

    def __init__(self, folder: Path, *, run: str = "") -> None:
        self.folder = folder
        self.files = 0
        self._place = MediaFolder(folder, run=run)
        self._put = self._place.write

    def together(self) -> AbstractContextManager[None]:
        """Let files appear in groups, which is faster, and all of them by the end. Raises ``OSError`` there."""
        return self._place.together()

    def check_place(self) -> None:
        """Refuse a folder that is none. Raises UsageError."""
        self._place.check_place()

    def checker(self) -> MediaWriter | None:
        """A writer that writes nothing, and raises UsageError where this one would; None for an empty folder.

        With it, all answers can be checked before the first file is written.
        """
        if self._place.is_empty():
            return None
        checking = MediaWriter(self.folder)
        checking._put = checking._place.check
        return checking

    def move_out(self, key: str, response: bytes) -> tuple[bytes, list[str]]:
        """Write each ``inlineData`` of the candidates to a file; returns the response and the paths.

        In the response, ``file``, the path, replaces ``data``; everything else is unchanged. Drafts among the thoughts
        are written too, but are not in the list. Raises UsageError for a name that a file of the user's has,
        ``OSError`` from the file system.
        """
        if b'"inlineData"' not in response:
            return response, []
        names = _Names(file_stem(key))
        before = msgspec.Raw(response)
        after = _within(before, "candidates", lambda candidates: self._candidates(candidates, names))
        return response if after is before else bytes(after), names.listed(self.folder)

    def _candidates(self, candidates: msgspec.Raw, names: _Names) -> msgspec.Raw:
        def part(raw: msgspec.Raw) -> msgspec.Raw:
            return self._part(raw, names)

        def content(raw: msgspec.Raw) -> msgspec.Raw:
            return _within(raw, "parts", lambda parts: _each(parts, part))

        return _each(candidates, lambda candidate: _within(candidate, "content", content))

    def _part(self, part: msgspec.Raw, names: _Names) -> msgspec.Raw:
        try:
            fields = _decode_object(part)
            thought = "thought" in fields and bytes(fields["thought"]) == b"true"
            blob = _decode_object(fields["inlineData"])
            data = bytes_of(_decode_text(blob["data"]))
        except (msgspec.DecodeError, KeyError, binascii.Error):
            return part
        data, ending = _as_file(_mime_type(blob), data)
        file_name = names.next(ending, thought=thought)
        self.files += self._put(file_name, data)
        shown = msgspec.Raw(_encode(_shown(self.folder, file_name)))
        moved = {
            ("file" if field == "data" else field): (shown if field == "data" else raw) for field, raw in blob.items()
        }
        return msgspec.Raw(_encode({**fields, "inlineData": moved}))


class _Names:
    """The names of one key's files: ``key.png``, ``key~2.png``, …; drafts are ``key~draft.png``, ``key~draft2.png``.

    A plain key has no tilde, so the names of two keys cannot collide.
    """

    def __init__(self, stem: str) -> None:
        self._stem = stem
        self._drafts = 0
        self._names: list[str] = []

    def next(self, ending: str, *, thought: bool) -> str:
        if thought:
            self._drafts += 1
            return f"{self._stem}~draft{self._drafts if self._drafts > 1 else ''}.{ending}"
        number = len(self._names) + 1
        self._names.append(f"{self._stem}{f'~{number}' if number > 1 else ''}.{ending}")
        return self._names[-1]

    def listed(self, folder: Path) -> list[str]:
        return [_shown(folder, name) for name in self._names]


def _shown(folder: Path, name: str) -> str:
    """The path as the line shows it."""
    return utf8_text((folder / name).as_posix())


_Change = Callable[[msgspec.Raw], msgspec.Raw]


def _within(obj: msgspec.Raw, name: str, change: _Change) -> msgspec.Raw:
    """``obj`` with one field changed and every other byte kept; ``obj`` itself if nothing changes.

    Decoding to ``Raw`` gives a view of the same bytes, so an image is not copied on the way down to it.
    """
    try:
        fields = _decode_object(obj)
    except msgspec.DecodeError:
        return obj
    before = fields.get(name)
    if before is None:
        return obj
    after = change(before)
    return obj if after is before else msgspec.Raw(_encode({**fields, name: after}))


def _each(items: msgspec.Raw, change: _Change) -> msgspec.Raw:
    try:
        before = _decode_list(items)
    except msgspec.DecodeError:
        return items
    after = [change(item) for item in before]
    return items if all(map(operator.is_, after, before)) else msgspec.Raw(_encode(after))


def _mime_type(blob: dict[str, msgspec.Raw]) -> str:
    """The MIME type of a blob; empty if it is absent or not a string."""
    try:
        return _decode_text(blob["mimeType"])
    except (msgspec.DecodeError, KeyError):
        return ""


def _as_file(mime: str, data: bytes) -> tuple[bytes, str]:
    """The bytes to write and the file extension; bare PCM gets the header that players need."""
    kind, _, parameters = mime.lower().partition(";")
    kind = kind.strip()
    if kind in _PCM:
        given = dict(_PARAMETER.findall(parameters))
        return _wav(data, rate=int(given.get("rate", _PCM_RATE)), channels=int(given.get("channels", 1))), "wav"
    return data, _ENDINGS.get(kind, "bin")


def _wav(pcm: bytes, *, rate: int, channels: int) -> bytes:
    """16-bit PCM as the service sends it (little-endian, whatever L16 means elsewhere), with a WAV header."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(channels if 0 < channels < 65536 else 1)
        sound.setsampwidth(2)
        sound.setframerate(rate if 0 < rate < 2**31 else _PCM_RATE)
        sound.writeframes(pcm)
    return buffer.getvalue()
