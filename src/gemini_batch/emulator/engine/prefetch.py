"""Many answers at a time, for a responder that supports it: requests are submitted before their row's turn.

The engine still serves one row after the other, in order, and its checkpoints keep their meaning: everything before
them is written. Only the waiting overlaps. Submitted requests stay open between two stretches of work, so a poll that
ends after half a second loses nothing. After a crash, open requests are submitted again.
"""

from __future__ import annotations

from collections import deque
from concurrent import futures
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

#: Open rows per concurrent answer, so that a slow answer does not hold back the others.
_DEPTH = 4
#: The most bytes of open rows, however few rows that is.
_MOST_BYTES = 64 << 20


@runtime_checkable
class Concurrent(Protocol):
    """A responder that works on up to ``limit`` answers at a time."""

    limit: int

    def __call__(self, model: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request and block until it is done."""
        ...

    def submit(self, model: str, request: dict[str, Any]) -> futures.Future[dict[str, Any]]:
        """Start an answer. The future raises what the call would raise; cancelling it stops the work."""
        ...


class _Open(NamedTuple):
    data: bytes
    answer: futures.Future[dict[str, Any]] | None


class Prefetch:
    """The rows of one batch from ``row`` (at ``offset`` in its input) that are submitted and not yet served."""

    def __init__(
        self,
        responder: Concurrent,
        model: str,
        read: Callable[[bytes], dict[str, Any]],
        *,
        row: int,
        offset: int,
    ) -> None:
        self._responder = responder
        self._model = model
        self._read = read
        self._row = row
        self._offset = offset
        self._open: deque[_Open] = deque()
        self._bytes = 0
        self._source: IO[bytes] | None = None
        self._asked = row  #: the first row that is not submitted
        self._until = row
        self._answer: futures.Future[dict[str, Any]] | None = None

    def resume(self, source: IO[bytes], *, row: int, offset: int, until: int) -> bool:
        """Continue from a checkpoint, submitting rows before ``until``; False if the position does not match."""
        if (row, offset) != (self._row, self._offset) or self._asked > until:
            return False
        self._source, self._until = source, until
        source.seek(offset + self._bytes)
        return True

    def or_kept(self, kept: dict[str, Prefetch], batch: str, source: IO[bytes], *, until: int) -> Prefetch:
        """Resume the prefetch that a batch has, if it is at the same row; else this one, which takes its place."""
        place = {"row": self._row, "offset": self._offset}
        old = kept.get(batch)
        if old is not None and old.resume(source, **place, until=until):
            return old
        if old is not None:
            old.close()
        self.resume(source, **place, until=until)
        kept[batch] = self
        return self

    def ready(self, seconds: float) -> bool:
        """Submit what may be submitted, then wait for the oldest row's answer; False if it took too long."""
        self._fill()
        answer = self._open[0].answer if self._open else None
        if answer is None:
            return True
        futures.wait([answer], timeout=max(0.0, seconds))
        return answer.done() and not answer.cancelled()

    def readline(self) -> bytes:
        """The next line of the input, like a file's method; :meth:`answer` then gives its answer."""
        assert self._source is not None
        if self._open:
            data, self._answer = self._open.popleft()
            self._bytes -= len(data)
        else:
            data, self._answer = self._source.readline(), None
            self._asked += bool(data.strip())
        self._offset += len(data)
        self._row += bool(data.strip())
        return data

    def answer(self, model: str, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to the last line read. Raises what the responder raised."""
        answer, self._answer = self._answer, None
        return self._responder(model, request) if answer is None else answer.result()

    def close(self) -> None:
        """Cancel what is open, newest first, so that no slot becomes free for a row that is cancelled next."""
        for one in reversed(self._open):
            if one.answer is not None:
                one.answer.cancel()
        self._open.clear()

    def _fill(self) -> None:
        assert self._source is not None
        most = _DEPTH * self._responder.limit
        while self._asked < self._until and len(self._open) < most and self._bytes < _MOST_BYTES:
            data = self._source.readline()
            if not data:
                return
            answer = None
            if data.strip():
                self._asked += 1
                answer = self._ask(data)
            self._open.append(_Open(data, answer))
            self._bytes += len(data)

    def _ask(self, data: bytes) -> futures.Future[dict[str, Any]] | None:
        try:
            request = self._read(data)
        except Exception:  # noqa: BLE001 - serving the row reads it again, and reports the same error
            return None
        return self._responder.submit(self._model, request)
