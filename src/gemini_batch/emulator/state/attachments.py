"""Files that rows refer to: they must exist and belong to the project when the row is processed.

In a rehearsal, a file that was never uploaded here may have been uploaded to the service. It cannot be seen from here,
so its row is answered. Files at other addresses are never fetched.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gemini_batch.emulator.messages.errors import ApiFailure
from gemini_batch.errors import RowError

if TYPE_CHECKING:
    from gemini_batch.emulator.state.files import Files


_FILE = re.compile(r"(?:https?://[^/?#]+/v[0-9][0-9a-z]*/)?files/([A-Za-z0-9_-]+)(?::download)?(?:\?.*)?")
_PAGES = "file|drive|open|document|spreadsheets|presentation"
#: Addresses that the service fetches from: not others of its own host, and not pages about a file in Google Drive.
_FETCHED = re.compile(
    r"gs://[^/\s]+/\S+|https?://(?!generativelanguage\.googleapis\.com[:/])"
    rf"(?!(?:drive|docs)\.google\.com/(?:{_PAGES})\b)[a-z0-9._-]+(?::[0-9]+)?(?:[/?#]\S*)?",
    re.IGNORECASE,
)


class MissingFile(RowError):
    """Code 3: a file that the project does not have."""

    def __init__(self, file_id: str) -> None:
        super().__init__(3, f"The file files/{file_id} does not exist, or has expired.")
        self.file_id = file_id


class Attachments:
    """The files that one project's rows may refer to; each is looked up once."""

    def __init__(self, files: Files, owner: str) -> None:
        self._files = files
        self._owner = owner
        self._known: dict[str, bool] = {}

    def check(self, request: dict[str, Any]) -> None:
        """Raise :class:`MissingFile` if a request refers to a file that does not exist.

        Raises :class:`RowError` (code 3) if it refers to a file by no address.
        """
        contents = [
            *(request.get("contents") or ()),
            request.get("content") or {},
            request.get("systemInstruction") or {},
        ]
        for content in contents:
            for part in content.get("parts") or ():
                uri = (part.get("fileData") or {}).get("fileUri") or ""
                if named := _FILE.fullmatch(uri):
                    if not self._is_there(named[1]):
                        raise MissingFile(named[1])
                elif uri and not _FETCHED.fullmatch(uri):
                    raise RowError(3, f"Invalid or unsupported file uri: {uri}")

    def _is_there(self, file_id: str) -> bool:
        if file_id not in self._known:
            try:
                self._files.find(file_id, self._owner)
                self._known[file_id] = True
            except ApiFailure:
                self._known[file_id] = self._files.rehearsal and not self._files.was_here(file_id, self._owner)
        return self._known[file_id]
