"""Streamed answers: one answer in the chunks in which the service sends it.

Texts come in pieces, every other part whole. The last piece of a candidate has everything else that the candidate says:
its finish reason, its citations, the signature of its thoughts. Usage grows from chunk to chunk; the last chunk has
all of it. Put together again, the chunks are the answer.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch import jsonl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Chunk = dict[str, Any]

#: The operation whose answers are streams.
STREAM = "models.streamGenerateContent"
#: The length of a piece of text, unless that would be more than so many pieces.
_PIECE = 48
_MOST_PIECES = 64
#: Characters that end a line for some readers of events. As in all JSON of the service, they are escaped.
_LINE_ENDS = re.compile("[\x7f-\x9f\u2028\u2029]")


class Stream(NamedTuple):
    """A reply in chunks: as server-sent events, or else as one JSON array.

    ``last``: the data of one more event. ``headers``: further headers.
    """

    chunks: Sequence[Chunk]
    events: bool
    last: bytes = b""
    headers: Mapping[str, str] = {}

    @property
    def content_type(self) -> str:
        """The media type of the whole reply."""
        return "text/event-stream" if self.events else "application/json; charset=UTF-8"

    def pieces(self) -> Iterator[bytes]:
        """The body, one piece for each chunk."""
        if self.events:
            yield from (b"data: " + _on_one_line(chunk) + b"\r\n\r\n" for chunk in self.chunks)
            if self.last:
                yield b"data: " + self.last + b"\r\n\r\n"
            return
        last = len(self.chunks) - 1
        for number, chunk in enumerate(self.chunks):
            yield (b",\r\n" if number else b"[") + jsonl.encode(chunk) + (b"]" if number == last else b"")


def wants_events(query: Mapping[str, str]) -> bool:
    """Whether a caller asks for server-sent events."""
    return "sse" in (query.get("alt"), query.get("$alt"))


def error_body(operation: str, query: Mapping[str, str], body: bytes) -> bytes:
    """The body of an error: in a stream that is an array, and on OpenAI's paths, it is the only item of a list."""
    in_list = not wants_events(query) if operation == STREAM else operation.startswith("openai.")
    return b"[" + body + b"]" if in_list else body


def chunks(answer: Mapping[str, Any]) -> list[Chunk]:
    """The chunks of a ``GenerateContentResponse``. An answer without candidates is one chunk."""
    candidates = answer.get("candidates") or []
    if not candidates:
        return [dict(answer)]
    rounds = [
        [piece for piece in pieces if piece is not None] for pieces in zip_longest(*map(_candidate_pieces, candidates))
    ]
    always = {name: answer[name] for name in ("modelVersion", "responseId") if name in answer}
    made: list[Chunk] = []
    for number, pieces in enumerate(rounds, 1):
        if number == len(rounds):
            made.append({**answer, "candidates": pieces})
            break
        usage = _usage(answer.get("usageMetadata"), number, len(rounds))
        made.append({"candidates": pieces, **({"usageMetadata": usage} if usage else {}), **always})
    return made


def _candidate_pieces(candidate: Mapping[str, Any]) -> list[Chunk]:
    content = candidate.get("content") or {}
    parts = [piece for part in content.get("parts") or () for piece in _part_pieces(part)]
    if len(parts) < 2:
        return [dict(candidate)]
    place = {"index": candidate["index"]} if "index" in candidate else {}
    before: list[Chunk] = [{"content": {**content, "parts": [part]}, **place} for part in parts[:-1]]
    return [*before, {**candidate, "content": {**content, "parts": parts[-1:]}}]


def _part_pieces(part: Mapping[str, Any]) -> list[Chunk]:
    """A part in pieces; only the last one has the signature."""
    texts = _text_pieces(part.get("text") or "")
    if len(texts) < 2:
        return [dict(part)]
    unsigned = {name: value for name, value in part.items() if name != "thoughtSignature"}
    return [*({**unsigned, "text": text} for text in texts[:-1]), {**part, "text": texts[-1]}]


def _text_pieces(text: str) -> list[str]:
    """A text in pieces that end before a space, where there is one."""
    size = max(_PIECE, -(-len(text) // _MOST_PIECES))
    pieces, start = list[str](), 0
    while len(text) - start > size:
        space = text.rfind(" ", start + 1, start + size + 1)
        end = space if space > 0 else start + size
        pieces.append(text[start:end])
        start = end
    return [*pieces, text[start:]]


def _usage(usage: Mapping[str, Any] | None, number: int, count: int) -> Chunk:
    """The usage up to a chunk: the prompt, and its share of the output. What was cached, only the last chunk says."""
    if not usage or "promptTokenCount" not in usage:
        return {}
    prompt, thoughts = usage["promptTokenCount"], usage.get("thoughtsTokenCount") or 0
    wrote = (usage.get("candidatesTokenCount") or 0) * number // count
    kept = {name: usage[name] for name in ("promptTokensDetails", "serviceTier") if name in usage}
    shown = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": wrote,
        "totalTokenCount": prompt + wrote + thoughts,
        "thoughtsTokenCount": thoughts,
    }
    return {name: value for name, value in shown.items() if value} | kept


def _on_one_line(chunk: Chunk) -> bytes:
    text = jsonl.encode(chunk).decode()
    return _LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()
