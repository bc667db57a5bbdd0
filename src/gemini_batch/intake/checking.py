"""Checks a block of lines of a request file: a pure function of its bytes, so that several cores can do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from gemini_batch.blocks import opened
from gemini_batch.catalog import Method
from gemini_batch.errors import Problem
from gemini_batch.jsonl import UTF8_BOM, LineTooLong, NotJson, decode, read_lines
from gemini_batch.money.row_bounds import row_bound
from gemini_batch.store.rows.row_records import key_hash
from gemini_batch.validation.file_uri import attached_to, is_placeholder, placeholder
from gemini_batch.validation.request_traits import (
    REFERENCES,
    TRAITS,
    estimate_tokens,
    modalities_of,
    references_of,
    traits_of,
)
from gemini_batch.validation.validate import Checked, check_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_batch.blocks import Block
    from gemini_batch.memory.fingerprint import Origin
    from gemini_batch.validation.conform import Terms

_SPACE = b" \t\r"


@dataclass(frozen=True, slots=True)
class Check:
    """What all lines of a file are checked by.

    ``terms``: the model whose own rules count, too. ``origins``: for whom rows are recognised in other runs, by method;
    nothing: they are not. ``answer_schema``: the JSON Schema, as JSON, that answers are to satisfy instead of the one
    in a request. ``attachments``: the SHA-256 of each file that requests may name by a placeholder. ``remembered``
    False: the rows are not to be recognised in other runs.
    """

    terms: Terms
    origins: Mapping[Method, Origin]
    answer_schema: bytes | None = None
    attachments: frozenset[str] = frozenset()
    remembered: bool = True


class Found:
    """What a block holds; numbers of lines count from 1 in each block, offsets from its first request.

    ``lines``: how many it has; ``more``: whether those behind it are to be read. ``rows``: of each request, and of each
    invalid line with a key, what :class:`~gemini_batch.store.rows.row_records.RequestRow` has from its line on.
    ``methods``: how each of them is sent, None for an invalid line. ``content``: its requests, each with its line
    ending, unless they are just the bytes of the block. ``named``: the files and caches that a request names, with its
    key.
    """

    __slots__ = (
        *("block", "lines", "rows", "methods", "problems", "content", "bytes", "tokens", "requests", "errors"),
        *("modalities", "traits", "named", "owned", "more"),
    )

    def __init__(self, block: Block) -> None:
        self.block = block
        self.rows: list[tuple[Any, ...]] = []
        self.methods: list[Method | None] = []
        self.problems: list[Problem] = []
        self.content: bytes | None = None
        self.lines = self.bytes = self.tokens = self.requests = self.errors = 0
        self.modalities: set[str] = set()
        self.traits: set[str] = set()
        self.named: list[tuple[str, list[str]]] = []
        self.owned = False
        self.more = True


def check_block(check: Check, source: int | None, task: tuple[Block, int | None]) -> Found:
    """Check each line of a block of the open file ``source``, or one that has its bytes; only so many requests are of
    interest. Raises OSError."""
    block, most = task
    return _Checking(check, block).read(opened(source, block), most)


class _Checking:
    """One pass over the lines of a block."""

    def __init__(self, check: Check, block: Block) -> None:
        self._check, self._found = check, Found(block)

    def read(self, file: IO[bytes], most: int | None) -> Found:
        found, kept, plain = self._found, [], True
        lines = read_lines(file)
        while True:
            try:
                offset, number, line = next(lines)
            except StopIteration:
                break
            except LineTooLong as error:
                found.problems.append(Problem(message="The line is too long for a request.", line=error.number))
                found.more = False
                break
            found.lines, whole = number, len(line)
            if number == 1 and not found.block.offset:
                line = line.removeprefix(UTF8_BOM)
            line = line.strip(_SPACE)
            plain = plain and len(line) == whole > 0 and offset + whole < found.block.size
            if not line:
                continue
            if most is not None and found.requests + found.errors >= most:
                found.more = plain = False
                break
            if self._line(line, number):
                kept.append(line)
        if not plain:
            kept.append(b"")
            found.content = b"\n".join(kept)
        return found

    def _line(self, data: bytes, number: int) -> bool:
        """Check a line; whether it can be sent."""
        found, check = self._found, self._check
        checked = check_line(data, number, check.terms)
        if isinstance(checked, Checked) and not self._knows_attachments(data, checked.request):
            unknown = "The request names an attachment that was not prepared with it."
            checked = (Problem(message=unknown, line=number, next="Attach files with `--attach` only."),)
        if not isinstance(checked, Checked):
            found.problems += checked
            found.errors += sum(problem.severity == "error" for problem in checked)
            self._bad_row(data, number)
            return False
        found.problems += checked.problems
        # Where the contents are only text, no name of a field can stand but in the rest of the request.
        named = data if checked.settings is None else checked.settings
        fingerprint, body, outside = None, None, False
        origin = check.origins.get(checked.method)
        if origin is not None:
            fingerprint, body, outside, owned = origin.marks_of(checked.key, checked.request, checked.method, named)
            found.owned = found.owned or owned
            if not check.remembered:
                fingerprint, body = b"", None
        tokens, embeds = estimate_tokens(data, only_text=checked.settings is not None), checked.method is Method.EMBED
        found.rows.append(
            (
                number,
                checked.key,
                key_hash(checked.key),
                found.bytes,
                len(data),
                checked.expects_json,
                checked.dimension,
                tokens,
                check.answer_schema or checked.schema,
                fingerprint,
                body,
                outside,
                *row_bound(data, embeds=embeds, settings=checked.settings),
            )
        )
        found.methods.append(checked.method)
        if b"odalities" in named:
            found.modalities |= modalities_of(checked.request)
        if embeds and len(found.traits) < len(TRAITS):
            found.traits |= traits_of(data)
        if any(name in named for name in REFERENCES):
            found.named.append(
                (checked.key, [uri for uri in references_of(checked.request) if not is_placeholder(uri)])
            )
        found.bytes += len(data) + 1
        found.tokens += tokens
        found.requests += 1
        return True

    def _knows_attachments(self, data: bytes, request: dict[str, Any]) -> bool:
        """Whether each placeholder of a line stands where it will be replaced, and for a file that is known."""
        if b"attachment:sha256-" not in data:
            return True
        named = [uri for uri in references_of(request) if is_placeholder(uri)]
        there = attached_to(data)
        return named == [placeholder(sha256) for sha256 in there] and self._check.attachments.issuperset(there)

    def _bad_row(self, data: bytes, number: int) -> None:
        """A row for the key of an invalid line, so that repeated keys are found there too."""
        try:
            key = decode(data)["key"]
        except (NotJson, KeyError, TypeError):
            return
        if isinstance(key, str) and key:
            self._found.rows.append((number, key, key_hash(key), 0, 0, False, None, 0, *[None] * 3, False, *[None] * 3))
            self._found.methods.append(None)
