"""What a ``fileUri`` may be: the URI of an uploaded file, a public or signed HTTPS address, or a Cloud Storage object.

Whether the file is there, only the service can say. What is said here needs no look-up: a path, a file name, or an
address that the service cannot read.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

#: The host of the URIs that the Files API returns, whatever the base URL.
_FILES_HOST = "generativelanguage.googleapis.com"
_NAME = re.compile(r"files/[a-z0-9-]+")
_PATH = re.compile(r"/v[0-9][0-9a-z]*/files/[A-Za-z0-9_-]+(?::download)?")
_LOCAL = re.compile(r"(?:file:|\.{0,2}/|~|[A-Za-z]:[\\/]|\\\\)", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BLANK = re.compile(r"[\x00-\x20\x7f]")
_PAGES = re.compile(r"/(?:file|drive|open|document|spreadsheets|presentation)\b")
_DRIVE = frozenset({"drive.google.com", "docs.google.com"})
_UPLOAD = "Upload the file and use the `uri` that the service returns, or put the bytes in `inlineData`."


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
