"""What a ``fileUri`` may be: the URI of an uploaded file, a public or signed HTTPS address, or a Cloud Storage object.

Whether the file is there, only the service can say. What is said here needs no look-up: a path, a file name, or an
address that the service cannot read. In requests that were made from a table, a ``fileUri`` may also be a placeholder,
which names an attachment by its content until the attachment has been uploaded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The host of the URIs that the Files API returns, whatever the base URL.
_FILES_HOST = "generativelanguage.googleapis.com"
_NAME = re.compile(r"files/[a-z0-9-]+")
_PATH = re.compile(r"/v[0-9][0-9a-z]*/files/[A-Za-z0-9_-]+(?::download)?")
_LOCAL = re.compile(r"(?:file:|\.{0,2}/|~|[A-Za-z]:[\\/]|\\\\)", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BLANK = re.compile(r"[\x00-\x20\x7f]")
_PAGES = re.compile(r"/(?:file|drive|open|document|spreadsheets|presentation)\b")
_DRIVE = frozenset({"drive.google.com", "docs.google.com"})
_json = msgspec.json.Encoder().encode
_UPLOAD = "Upload the file and use the `uri` that the service returns, or put the bytes in `inlineData`."
#: As the lines that this program makes have it. In a JSON string the quotes would be escaped, so no text matches.
_ATTACHED = re.compile(rb'(?<=[{,])"(fileUri|file_uri)":"attachment:sha256-([0-9a-f]{64})"')
_PLACEHOLDER = re.compile(r"attachment:sha256-[0-9a-f]{64}")


def placeholder(sha256: str) -> str:
    """The ``fileUri`` that names an attachment by its content, until it has been uploaded."""
    return f"attachment:sha256-{sha256}"


def is_placeholder(uri: str) -> bool:
    """Whether a ``fileUri`` is a placeholder."""
    return _PLACEHOLDER.fullmatch(uri) is not None


def attached_to(line: bytes) -> list[str]:
    """The content hashes of the attachments that a request line names by placeholders."""
    return [found[1].decode() for found in _ATTACHED.findall(line)] if b'"attachment:sha256-' in line else []


def with_uris(line: bytes, uris: Mapping[str, str]) -> bytes:
    """A request line with the URI of each attachment in place of its placeholder; every other byte is kept.

    ``uris``: by content hash. Raises ``KeyError`` for an attachment that is not among them.
    """
    if b'"attachment:sha256-' not in line:
        return line
    return _ATTACHED.sub(lambda found: b'"%b":%b' % (found[1], _json(uris[found[2].decode()])), line)


def mistake_of(uri: str) -> tuple[str, str] | None:
    """Why the service cannot read a file from ``uri``, as a sentence, and what to do; None if it may be able to."""
    if _LOCAL.match(uri):
        return "`fileUri` is a path on this machine; the service cannot read it.", _UPLOAD
    if _NAME.fullmatch(uri):
        return None
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return "`fileUri` is a file name or a path, not a URI; the service cannot read it.", _UPLOAD
    match scheme[1].lower():
        case "attachment":
            return (
                "`fileUri` is the placeholder of an attachment; only the run that was made from its table knows it.",
                "Run the table itself, with `--attach`.",
            )
        case "gs":
            return None
        case "http" | "https":
            return _mistake_of_address(uri)
        case "data":
            return (
                "`fileUri` is a data URL; the service does not read it here.",
                'Put what follows the comma in `inlineData`: `{"mimeType": "…", "data": "<base64>"}`.',
            )
        case other:
            return f"`fileUri` begins with `{other[:20]}:`; the service cannot read such an address.", _UPLOAD


def _mistake_of_address(uri: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(uri)
        host, path = (parts.hostname or "").lower().removesuffix("."), parts.path
    except ValueError:
        host = path = ""
    if not host or _BLANK.search(uri):
        return "`fileUri` is not a valid address.", 'Write it like `"fileUri": "https://…/files/…"`.'
    if host == _FILES_HOST and not _PATH.fullmatch(path):
        return (
            "`fileUri` is not the URI of a file: it needs `/v1beta/files/` and the id of the file.",
            "Use the `uri` that the upload returned.",
        )
    if host in _DRIVE and _PAGES.match(path):
        return "`fileUri` is a page of Google Drive, not the file itself; the service cannot read it.", _UPLOAD
    return None
