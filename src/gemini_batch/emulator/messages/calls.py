"""One request to the emulator and one reply, independent of any web framework.

Header names are sent in Title-Case because some official clients look them up that way. Success is always status 200,
because those clients treat every other 2xx as an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Protocol

from gemini_batch import jsonl
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.protojson import BadBody, read_body
from gemini_batch.protocol.reading import Reader
from gemini_batch.protocol.spelling import snake

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON_TYPE = "application/json; charset=UTF-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, named by its operation (``batches.create``). ``owner`` is the project, empty where none is needed.

    ``base`` is the scheme and host that the caller used; upload URLs start with it. ``lenient``: unknown names in the
    body are ignored.
    """

    operation: str
    version: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    base: str = ""
    body: bytes = b""
    lenient: bool = False

    def with_body(self, body: bytes) -> Call:
        """The same call with another body."""
        return replace(self, body=body)

    def message(self, name: str) -> dict[str, Any]:
        """The body as a message in canonical form. Raises :class:`errors.ApiFailure` (400) if it does not fit."""
        try:
            value = read_body(self.body)
        except BadBody as error:
            raise errors.invalid(f"Invalid JSON payload received. {error}") from None
        reader = Reader(lenient=self.lenient)
        made = reader.read(name, value)
        if reader.violations:
            raise errors.invalid_fields([(found.path, found.described) for found in reader.violations])
        result: dict[str, Any] = made
        return result

    def number(self, name: str, default: int, *, most: int) -> int:
        """An integer of the query, at least 1 and capped at ``most``; 0 and absent mean ``default``."""
        text = self.query.get(name) or self.query.get(snake(name)) or "0"
        try:
            number = int(text)
        except ValueError:
            raise errors.invalid_fields(
                [(name, f"Invalid value at '{snake(name)}' (TYPE_INT32), \"{text}\"")]
            ) from None
        if number < 0:
            raise errors.invalid(f"{snake(name)} must not be negative.")
        return min(number or default, most)

    def text(self, name: str) -> str:
        """A string of the query, in either spelling; empty if absent."""
        return self.query.get(name) or self.query.get(snake(name)) or ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply, complete in memory."""

    body: bytes = b"{}"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON_TYPE})

    @classmethod
    def json(cls, value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
        """A JSON reply, with any further headers."""
        return cls(jsonl.encode(value), status, {"Content-Type": JSON_TYPE, **(headers or {})})

    @classmethod
    def refused(cls, failure: errors.ApiFailure) -> Reply:
        """An error, as the service words it; "not modified" has no body."""
        if failure.status == 304:
            return cls(b"", failure.status, failure.headers)
        return cls.json(failure.body(), status=failure.status, headers=failure.headers)


class Download(NamedTuple):
    """A reply that is a file, or the range of it that the caller asks for; ``headers`` are further ones."""

    file: IO[bytes]
    headers: Mapping[str, str]


class Receiver(Protocol):
    """What takes the bytes of an upload. Its methods may block."""

    def write(self, piece: bytes, /) -> None:
        """Accept more bytes."""

    def answer(self) -> Reply:
        """The answer to a body that arrived completely."""

    def broken(self) -> None:
        """The connection broke before the body was complete."""

    def close(self) -> None:
        """It is over, however it ended."""
