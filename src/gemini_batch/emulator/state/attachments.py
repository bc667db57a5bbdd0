"""Files that rows refer to: they must exist and belong to the project when the row is processed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.emulator.messages.errors import ApiFailure
from gemini_batch.errors import RowError

if TYPE_CHECKING:
    from gemini_batch.emulator.state.files import Files


class Attachments:
    """The files that one project's rows may refer to; each is looked up once."""

    def __init__(self, files: Files, owner: str) -> None:
        self._files = files
        self._owner = owner
        self._known: dict[str, bool] = {}

    def check(self, request: dict[str, Any]) -> None:
        """Raise :class:`RowError` (code 3) if a request refers to a file that does not exist."""
        contents = [
            *(request.get("contents") or ()),
            request.get("content") or {},
            request.get("systemInstruction") or {},
        ]
        for content in contents:
            for part in content.get("parts") or ():
                uri = (part.get("fileData") or {}).get("fileUri") or ""
                _, named, file_id = uri.rpartition("files/")
                if named and not self._is_there(file_id):
                    raise RowError(3, f"The file files/{file_id} does not exist, or has expired.")

    def _is_there(self, file_id: str) -> bool:
        if file_id not in self._known:
            try:
                self._files.find(file_id, self._owner)
                self._known[file_id] = True
            except ApiFailure:
                self._known[file_id] = False
        return self._known[file_id]
