"""Bodies of uploads to Google Cloud, read as they arrive: a short one, and one of two parts, description and bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.emulator.messages.errors import too_large
from gemini_batch.emulator.messages.multipart import BadMultipart, Multipart, Part, boundary_of
from gemini_batch.emulator.vertex.storage.api import body
from gemini_batch.emulator.vertex.storage.failures import invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.emulator.messages.calls import Call

#: The most bytes of what is kept in memory.
_LONGEST = 1 << 20


class Short:
    """A body that is kept in memory, because it is short."""

    def __init__(self, call: Call) -> None:
        self._call, self._body = call, bytearray()

    def write(self, piece: bytes) -> None:
        """Take the next bytes."""
        if len(self._body) + len(piece) > _LONGEST:
            raise too_large(_LONGEST)
        self._body += piece

    def described(self) -> dict[str, Any]:
        """The object that it is. Raises :class:`CloudFailure`."""
        return body(self._call.with_body(bytes(self._body)))


class Described:
    """A body of two parts: the description as JSON, then bytes, which go to ``write``. ``kind``: their content type.

    Raises :class:`CloudFailure` for a body that is not of this kind.
    """

    def __init__(self, call: Call, write: Callable[[bytes], object]) -> None:
        try:
            self._parts = Multipart(boundary_of(call.headers.get("content-type", "")))
        except BadMultipart as error:
            raise _unreadable(error) from None
        self._description, self._write, self._count = Short(call), write, 0
        self.kind = ""

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        try:
            for found in self._parts.feed(piece):
                if isinstance(found, Part):
                    self._count += 1
                    if self._count == 2:
                        self.kind = found.headers.get("content-type", "")
                elif self._count == 1:
                    self._description.write(found)
                else:
                    self._write(found)
        except BadMultipart as error:
            raise _unreadable(error) from None

    def description(self) -> dict[str, Any]:
        """What the first part says; the body is over."""
        try:
            self._parts.close()
        except BadMultipart as error:
            raise _unreadable(error) from None
        if self._count != 2:
            raise invalid("The multipart body must have two parts: the description, then the bytes.")
        return self._description.described()


def _unreadable(error: BadMultipart) -> Exception:
    return invalid(f"The multipart body cannot be read: {error}.")
