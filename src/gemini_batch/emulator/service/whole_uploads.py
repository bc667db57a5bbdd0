"""Uploads of a whole file in one request, by three protocols.

``multipart``: two parts, the file's description as JSON and its bytes. ``raw``, and ``resumable`` with the commands
``start, upload, finalize``: the body is the bytes, headers and the query describe the file. From there on, all of them
are an upload of one chunk, with the same checks as any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.multipart import BadMultipart, Multipart, Part, boundary_of
from gemini_batch.emulator.service.uploads import command_of, protocol_of, size_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_batch.emulator.messages.calls import Call, Reply
    from gemini_batch.emulator.service.uploads import Chunk, Uploads


def is_whole(headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
    """Whether a request that begins an upload brings the whole file."""
    protocol = protocol_of(headers, query)
    return protocol in ("multipart", "raw") or (protocol == "resumable" and "upload" in command_of(headers))


class WholeUpload:
    """One such request: write its body as it arrives, then get the answer. Unless it succeeds, nothing is kept."""

    def __init__(self, uploads: Uploads, call: Call) -> None:
        self._uploads = uploads
        self._call = call
        self._parts: Multipart | None = None
        self._chunk: Chunk | None = None
        self._metadata: bytearray | None = None
        self._done = False
        if protocol_of(call.headers, call.query) == "multipart":
            try:
                self._parts = Multipart(boundary_of(call.headers.get("content-type", "")))
            except BadMultipart as error:
                raise _refused(error) from None
            return
        commands = command_of(call.headers)
        if commands not in ({""}, {"start", "upload", "finalize"}):
            raise errors.invalid("X-Goog-Upload-Command must be start, upload, finalize for a file in one request.")
        described = {"name": call.text("file.name"), "displayName": call.text("file.displayName")}
        mime_type = call.headers.get("x-goog-upload-header-content-type") or call.headers.get("content-type") or ""
        self._begin(described, mime_type, call.headers.get("content-length"))

    def write(self, piece: bytes) -> None:
        """Accept more of the body. Raises :class:`errors.ApiFailure`."""
        if self._parts is None:
            assert self._chunk is not None
            self._chunk.write(piece)
            return
        try:
            for found in self._parts.feed(piece):
                if isinstance(found, Part):
                    self._next(found)
                else:
                    self._keep(found)
        except BadMultipart as error:
            raise _refused(error) from None

    def answer(self) -> Reply:
        """The answer to a body that arrived completely. Raises :class:`errors.ApiFailure`."""
        if self._parts is not None:
            try:
                self._parts.close()
            except BadMultipart as error:
                raise _refused(error) from None
        if self._chunk is None:
            raise _refused(BadMultipart("it has no second part; the file's description comes first, then its bytes"))
        try:
            reply = self._chunk.answer()
        except errors.ApiFailure as failure:
            failure.headers = {"X-Goog-Upload-Status": "final"}
            raise
        self._done = True
        return reply

    def broken(self) -> None:
        """The connection broke: there is no address at which to continue."""

    def close(self) -> None:
        """Close the file; discard it unless it is complete."""
        if self._chunk is not None:
            self._chunk.close()
            if not self._done:
                self._uploads.cancel_upload(self._chunk.upload)

    def _begin(self, described: Mapping[str, str], mime_type: str, length: str | None) -> None:
        declared = size_of(self._call.headers.get("x-goog-upload-header-content-length") or length)
        self._chunk = self._uploads.whole(self._uploads.begin(self._call, described, mime_type, declared))

    def _next(self, part: Part) -> None:
        if self._metadata is None:
            self._metadata = bytearray()
            return
        if self._chunk is not None:
            raise BadMultipart("it has more than two parts; the file's description comes first, then its bytes")
        try:
            message = self._call.with_body(bytes(self._metadata)).message("CreateFileRequest")
        except errors.ApiFailure as failure:
            failure.message = f"The first part must describe the file, as JSON. {failure.message}"
            raise
        mime_type = self._call.headers.get("x-goog-upload-header-content-type") or part.headers.get("content-type", "")
        self._begin(message.get("file", {}), mime_type, None)

    def _keep(self, data: bytes) -> None:
        if self._chunk is not None:
            self._chunk.write(data)
            return
        assert self._metadata is not None
        limit = self._uploads.limits.quotas.inline
        if len(self._metadata) + len(data) > limit:
            raise errors.too_large(limit)
        self._metadata += data


def _refused(error: BadMultipart) -> errors.ApiFailure:
    return errors.invalid(f"The multipart body cannot be read: {error}.")
