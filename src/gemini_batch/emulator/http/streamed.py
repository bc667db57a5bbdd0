"""Streamed answers over HTTP: each chunk leaves as soon as the caller takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse

from gemini_batch.emulator.http.bodies import raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gemini_batch.emulator.messages.streams import Chunk, Stream


class Streamed(StreamingResponse):
    """The response for a stream. It declares no length, as at the service."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(_sent(stream))
        self.raw_headers = raw({"Content-Type": stream.content_type, **stream.headers})
        self._stream = stream

    @property
    def size(self) -> int:
        """The bytes of the whole body."""
        return sum(map(len, self._stream.pieces()))

    def edited(self, change: Callable[[Chunk], Chunk]) -> Streamed:
        """The response with every chunk changed."""
        return Streamed(self._stream._replace(chunks=[change(chunk) for chunk in self._stream.chunks]))


async def _sent(stream: Stream) -> AsyncIterator[bytes]:
    for piece in stream.pieces():
        yield piece
