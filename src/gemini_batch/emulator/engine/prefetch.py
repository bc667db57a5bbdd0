"""Asking for many answers at a time, where the responder can: rows are asked for before their turn comes.

The engine still serves one row after the other, in order, and its checkpoints mean what they always mean: everything
before them is written. Only the waiting overlaps. What was asked for and has not been written stays open between two
stretches of work, so a look at a batch that comes back after half a second loses nothing. A killed process asks again
for what was open.
"""

from __future__ import annotations

from collections import deque
from concurrent import futures
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

#: So many rows are open for each answer that is made at a time: a slow one does not keep the others waiting.
_DEPTH = 4
#: And not more bytes of rows than this, however few they are.
_MOST_BYTES = 64 << 20


@runtime_checkable
class Concurrent(Protocol):
    """A responder that makes up to ``limit`` answers at a time."""

    limit: int

    def __call__(self, model: str, request: dict[str, Any]) -> dict[str, Any]:
        """One answer, waited for."""
        ...

    def submit(self, model: str, request: dict[str, Any]) -> futures.Future[dict[str, Any]]:
        """Begin an answer. The future raises what the call would raise; cancelling it ends the work on it."""
        ...


class _Open(NamedTuple):
    data: bytes
    answer: futures.Future[dict[str, Any]] | None


class Ahead:
    """The rows of one batch from ``row`` (at ``offset`` in its input) that were asked for and not yet served."""

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
        self._asked = row  #: the first row that was not asked for
        self._until = row
        self._answer: futures.Future[dict[str, Any]] | None = None

    def resume(self, source: IO[bytes], *, row: int, offset: int, until: int) -> bool:
        """Go on from a checkpoint, asking for rows before ``until``; False if this is not where it is."""
        if (row, offset) != (self._row, self._offset) or self._asked > until:
            return False
        self._source, self._until = source, until
        source.seek(offset + self._bytes)
        return True

    def ready(self, seconds: float) -> bool:
        """Ask for what may be asked for, then wait for the oldest row's answer; False if it took too long."""
        self._fill()
        answer = self._open[0].answer if self._open else None
        if answer is None:
            return True
        futures.wait([answer], timeout=max(0.0, seconds))
        return answer.done() and not answer.cancelled()

    def readline(self) -> bytes:
        """The next line of the input, like a file's method; its answer is the one that comes next."""
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
        """The answer to the line that was read last. Raises what the responder raised."""
        answer, self._answer = self._answer, None
        return self._responder(model, request) if answer is None else answer.result()

    def close(self) -> None:
        """Give up what is open; the youngest first, so that no place becomes free for a row that is given up next."""
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
        except Exception:  # noqa: BLE001 - whoever serves the row reads it again, and finds the same
            return None
        return self._responder.submit(self._model, request)
