"""The MIME type of a file by its content; its name plays no part.

Only the types that models read are recognised, and the common ones that they do not read, so that a refusal can name
them. The set is closed and each signature is fixed by its format, so a library that knows hundreds of types would only
have to be narrowed down again.
"""

from __future__ import annotations

import codecs
import re

#: How many bytes from the start decide.
HEAD = 4096

_PDF = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,64}%PDF-")
_SVG = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*|<!DOCTYPE[^>]*>\s*)*<svg[\s>]", re.DOTALL)
_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"fLaC", "audio/flac"),
    *((b"ID3" + bytes((version,)), "audio/mpeg") for version in (2, 3, 4)),
    *((bytes((0xFF, second)), "audio/mpeg") for second in (0xFA, 0xFB, 0xF2, 0xF3)),  # layer III
    *((bytes((0xFF, second)), "audio/aac") for second in (0xF0, 0xF1, 0xF8, 0xF9)),  # ADTS
    (b"FLV\x01", "video/x-flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/wmv"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
    (b"{\\rtf", "text/rtf"),
)
#: By the form type of a RIFF or IFF file, at byte 8.
_FORMS = {
    (b"RIFF", b"WEBP"): "image/webp",
    (b"RIFF", b"WAVE"): "audio/wav",
    (b"RIFF", b"AVI "): "video/avi",
    (b"FORM", b"AIFF"): "audio/aiff",
    (b"FORM", b"AIFC"): "audio/aiff",
}
#: By the brand of an ISO media file (``ftyp``). Any other brand is a video.
_BRANDS = (
    (b"avi", "image/avif"),
    (b"hei", "image/heic"),
    (b"hev", "image/heic"),
    (b"mif1", "image/heif"),
    (b"msf1", "image/heif"),
    (b"M4A ", "audio/mp4"),
    (b"M4B ", "audio/mp4"),
    (b"qt  ", "video/quicktime"),
    (b"3g", "video/3gpp"),
)
#: What models do not read, as people call it.
_REFUSED = (
    (b"PK\x03\x04", "a zip archive, or a Word, Excel or PowerPoint document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Word, Excel or PowerPoint document"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"BM", "a BMP picture"),
    (b"8BPS", "a Photoshop picture"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\x1f\x8b", "a gzip file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
)
#: Control characters that no text has.
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def media_type(head: bytes) -> str | None:
    """The MIME type of a picture, recording, video or document that begins with ``head``; None for anything else."""
    for start, mime in _STARTS:
        if head.startswith(start):
            return mime
    if (form := _FORMS.get((head[:4], head[8:12]))) is not None:
        return form
    if head[4:8] == b"ftyp" and head[:2] == b"\x00\x00":
        return _branded(head)
    if head.startswith(b"OggS\x00"):
        return "video/ogg" if b"theora" in head[:512] else "audio/ogg"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm" if b"webm" in head[:512] else "video/x-matroska"
    return "application/pdf" if _PDF.match(head) else None


def _branded(head: bytes) -> str:
    size = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(size, len(head), 256), 4))]
    if brands[0] in {b"mif1", b"msf1"}:  # any picture of this format; the compatible brands are more precise
        brands = [*(one for one in brands if one[:4] not in {b"mif1", b"msf1", b"miaf"}), brands[0]]
    return next((mime for start, mime in _BRANDS if brands[0].startswith(start)), "video/mp4")


def is_svg(head: bytes) -> bool:
    """Whether a text that begins with ``head`` is an SVG picture, which models do not read as one."""
    return _SVG.match(head) is not None


def unread(head: bytes) -> str:
    """What a content that begins with ``head``, and is no text and no media, is in people's words."""
    return next((what for start, what in _REFUSED if head.startswith(start)), "a file of an unknown type")


class TextCheck:
    """Whether a content, fed piece by piece, is plain UTF-8 text."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.is_text = True

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.is_text = self.is_text and _BINARY.search(piece) is None and self._decodes(piece)

    def finish(self) -> bool:
        """Whether all of it was text."""
        return self.is_text and self._decodes(b"", last=True)

    def _decodes(self, piece: bytes, *, last: bool = False) -> bool:
        try:
            self._decoder.decode(piece, last)
        except UnicodeDecodeError:
            return False
        return True
