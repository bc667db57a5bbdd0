"""The bounds of every call: seconds, bytes, pages and patience. All of them are stated here and nowhere else.

A call is bounded as a whole, with its repetitions and pauses. An upload or a download may take hours, so it is bounded
by its progress.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2

from gemini_batch.errors import NetworkError, ServiceError
from gemini_batch.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one call may take. Seconds, and bytes after decompression."""

    #: Seconds for reaching the address.
    connect: float = 15.0
    #: Seconds without a single byte in either direction.
    idle: float = 60.0
    #: The same for a request whose body is large, or whose answer is: it is answered only after all of it was read.
    idle_large: float = 180.0
    #: Seconds for a whole call: every attempt, and the pauses between them, however long the service asks for.
    call: float = 300.0
    #: Seconds for reading a whole list.
    listing: float = 600.0
    #: Bytes of an answer.
    answer: int = 64 * _MIB
    #: Bytes of one job, which may hold its answers inline.
    job: int = 512 * _MIB
    #: Bytes of an error answer; more of it is not read.
    error: int = 64 * 1024
    #: Bytes of a downloaded file.
    download: int = 64 * 1024 * _MIB
    #: Pages of a list; one has up to 100 entries.
    pages: int = 1000
    #: A transfer must move ``progress`` bytes within ``window`` seconds.
    window: float = 60.0
    progress: int = 64 * 1024
    #: Failures of a transfer in a row without a new byte, and failures since ``progress`` new bytes.
    failures: int = 6
    crumbs: int = 20


DEFAULT = Bounds()
#: A pause that the service asks for counts as this many seconds at most.
LONGEST_ASKED = 86_400.0


class Patience:
    """Decides when a transfer that keeps failing is given up: by what it has moved, not by how long it takes."""

    def __init__(self, bounds: Bounds, moved: int) -> None:
        self.failures = 0
        self._bounds, self._furthest, self._mark, self._crumbs = bounds, moved, moved, 0

    def reached(self, moved: int) -> None:
        """Record how many bytes have been moved; bytes that were moved before do not count again."""
        if moved > self._furthest:
            self.failures, self._furthest = 0, moved
        if moved >= self._mark + self._bounds.progress:
            self._crumbs, self._mark = 0, moved

    def restart(self) -> None:
        """Count from the first byte again: what was moved belongs to something else."""
        self._furthest = self._mark = 0

    def failed(self, moved: int | None = None) -> bool:
        """Count one more failure, after ``moved`` bytes in all if that is known; returns whether to give up."""
        before = self._furthest
        if moved is not None:
            self.reached(moved)
        if moved is None or moved <= before:
            self.failures += 1
        self._crumbs += 1
        return self.failures >= self._bounds.failures or self._crumbs >= self._bounds.crumbs


@contextlib.asynccontextmanager
async def within(seconds: float, *, of: float | None = None) -> AsyncIterator[None]:
    """Stop what is inside after that many seconds, the rest ``of`` a whole. Raises NetworkError then."""
    scope = asyncio.timeout(seconds)
    try:
        async with scope:
            yield
    except TimeoutError:
        if not scope.expired():
            raise
        raise NetworkError(
            f"The service did not answer completely within {of or seconds:.0f} s.",
            sent=True,
            next="Nothing is lost. Check the network and run the same command again.",
        ) from None


class _Gunzip:
    """Decompresses gzip in pieces of bounded size, members one after the other."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._started = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """The decompressed bytes of ``data``, at most 1 MiB at a time."""
        while data:
            if self._inflater.eof:
                self._inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
            self._started = True
            piece = self._inflater.decompress(data, _MIB)
            if piece:
                yield piece
            data = self._inflater.unconsumed_tail or self._inflater.unused_data
        while not self._inflater.eof and (piece := self._inflater.decompress(b"", _MIB)):
            yield piece

    @property
    def whole(self) -> bool:
        """Whether the body has ended where it should."""
        return self._inflater.eof or not self._started


class Body:
    """The decompressed body of an answer, to be iterated once: piece by piece, and never more than ``most`` bytes.

    ``received`` counts the bytes before decompression. The HTTP library would decompress each network packet whole, by
    any encoding that is installed and several on top of each other; a few kilobytes could fill the memory. Iterating
    raises ServiceError for a longer body or another encoding, httpx2.DecodingError for a damaged one.
    """

    def __init__(self, response: httpx2.Response, *, most: int) -> None:
        self.received = 0
        self._stream, self._most = response.stream, most
        self._encoding = response.headers.get("content-encoding", "").strip().lower()

    @property
    def is_plain(self) -> bool:
        """Whether the body comes as it is, so that its length is that of the content."""
        return self._encoding in {"identity", ""}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        gunzip = _Gunzip() if self._encoding in {"gzip", "x-gzip"} else None
        if gunzip is None and not self.is_plain:
            raise ServiceError(
                f"The service's answer is encoded as {printable(self._encoding)[:40]!r}, which was not asked for.",
                code="unreadable_answer",
                next="A proxy may have changed the answer. Check the network, then run the same command again.",
            )
        assert isinstance(self._stream, httpx2.AsyncByteStream)
        size = 0
        try:
            async for data in self._stream:
                self.received += len(data)
                for piece in (data,) if gunzip is None else gunzip.pieces(data):
                    size += len(piece)
                    if size > self._most:
                        raise _too_long(self._most)
                    yield piece
        except zlib.error as error:
            raise httpx2.DecodingError(f"The compressed answer is damaged: {error}") from error
        if gunzip is not None and not gunzip.whole:
            raise httpx2.DecodingError("The compressed answer is incomplete")


def _too_long(most: int) -> ServiceError:
    return ServiceError(
        f"The service's answer is longer than {most:,} bytes.",
        code="answer_too_long",
        next="A proxy may have answered instead of the service. Check the network, then run the same command again.",
    )


async def steadily(body: Body, bounds: Bounds, clock: Callable[[], float]) -> AsyncIterator[bytes]:
    """The same pieces, as long as they come fast enough. Raises NetworkError once they do not."""
    pieces, began, moved = aiter(body), clock(), 0
    while True:
        async with within(bounds.window):
            data = await anext(pieces, None)
        if data is None:
            return
        yield data
        moved += len(data)
        if moved >= bounds.progress:
            began, moved = clock(), 0
        elif clock() - began > bounds.window:
            raise NetworkError(
                f"The download is too slow: {moved:,} bytes in {bounds.window:.0f} s.",
                sent=True,
                next="Check the network and run the same command again; it continues where this one stopped.",
            )
