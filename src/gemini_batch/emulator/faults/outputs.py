"""Changes to a finished output file: order; lines missing, repeated, foreign, without key, broken; odd separators.

Each change reads one file and writes the next, with an index of the lines and one line in memory.
"""

from __future__ import annotations

import random
from array import array
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple

from gemini_batch import jsonl
from gemini_batch.emulator.faults.model import matches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gemini_batch.emulator.faults.model import OutputChange, OutputFault

#: Characters at which text readers split lines, unescaped in a JSON string, as the service leaves them.
SEPARATORS = "one\u2028two\u2029three\u0085four"
#: These apply only to a file of lines, not to a list in a JSON object.
_FILE_ONLY = frozenset({"broken", "not_json", "crlf", "blank", "no_final_newline"})
#: These change every line, unless the fault gives a number.
_WHOLE = frozenset({"shuffle", "reverse", "separators", "crlf", "blank"})
_NOT_JSON = b"upstream connect error or disconnect/reset before headers"


class Dropped(NamedTuple):
    """Lines that were dropped, so that the service does not count them either: with a response, and with an error."""

    responses: int
    errors: int


def rewrite(faults: Sequence[OutputFault], source: Path, target: Path, *, lines: bool) -> Dropped:
    """Write ``source`` to ``target`` with all changes, in order. ``lines``: whether ``target`` is read as lines."""
    place, dropped = source, Dropped(0, 0)
    try:
        for number, fault in enumerate(faults):
            following = target.with_name(f"{target.name}.{number}")
            with place.open("rb") as old, jsonl.private_open(following, "wb") as new:
                lost = _change(fault, old, new, lines=lines)
            if fault.output == "drop":
                dropped = Dropped(dropped.responses + lost.responses, dropped.errors + lost.errors)
            if place != source:
                place.unlink()
            place = following
        if place == source:
            raise ValueError("there is nothing to change")
        place.replace(target)
        return dropped
    finally:
        for number in range(len(faults)):
            target.with_name(f"{target.name}.{number}").unlink(missing_ok=True)


def _change(fault: OutputFault, old: IO[bytes], new: IO[bytes], *, lines: bool) -> Dropped:
    starts = array("Q", (line.offset for line in jsonl.read_lines(old)))
    order: Sequence[int] = range(len(starts))
    chosen = _chosen(fault, old, starts)
    kind: OutputChange | None = None if fault.output in _FILE_ONLY and not lines else fault.output
    if kind == "shuffle":
        order = _shuffled(len(starts), fault.seed)
    elif kind == "reverse":
        order = range(len(starts) - 1, -1, -1)
    last = len(starts) - 1
    responses = errors = 0
    for count, number in enumerate(order):
        old.seek(starts[number])
        line = old.readline().rstrip(b"\n")
        if number in chosen:
            answered = "response" in _decoded(line)
            responses, errors = responses + answered, errors + (not answered)
            for piece in _changed(kind, line):
                new.write(piece)
        else:
            new.write(line + b"\n")
        if kind == "no_final_newline" and count == last:
            new.seek(-1, 1)
            new.truncate()
    if kind in ("duplicate", "conflict", "foreign"):
        for number in sorted(chosen):
            old.seek(starts[number])
            new.write(_twin(kind, old.readline().rstrip(b"\n"), fault.seed, number))
    return Dropped(responses, errors)


def _chosen(fault: OutputFault, old: IO[bytes], starts: Sequence[int]) -> set[int]:
    """The numbers of the lines that the fault changes, by its key and number of rows."""
    most = fault.rows if fault.rows is not None else (0 if fault.output in _WHOLE else 1)
    found: set[int] = set()
    for number, start in enumerate(starts):
        if fault.key != "*":
            old.seek(start)
            if not matches(fault.key, _key(_decoded(old.readline()))):
                continue
        found.add(number)
        if len(found) == most:
            break
    return found


def _decoded(line: bytes) -> dict[str, Any]:
    """An answer; empty if an earlier change made it unreadable."""
    try:
        value = jsonl.decode(line)
    except jsonl.NotJson:
        return {}
    return value if isinstance(value, dict) else {}


def _key(answer: dict[str, Any]) -> str:
    value = answer.get("key")
    if value is None:
        value = (answer.get("metadata") or {}).get("key")
    return value if isinstance(value, str) else ""


def _shuffled(count: int, seed: int) -> list[int]:
    """A different order, if there is one."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return [*order[1:], *order[:1]] if order == list(range(count)) else order


def _changed(kind: OutputChange | None, line: bytes) -> Iterator[bytes]:
    """What replaces a chosen line."""
    match kind:
        case "drop" | "withhold":
            return
        case "no_key":
            yield jsonl.encode({k: v for k, v in _decoded(line).items() if k not in ("key", "metadata")}) + b"\n"
        case "broken":
            yield line[: len(line) // 2] + b"\n"
        case "not_json":
            yield _NOT_JSON + b"\n"
        case "crlf":
            yield line + b"\r\n"
        case "blank":
            yield line + b"\n\n"
        case "separators":
            answer = _decoded(line)
            yield (jsonl.encode(_with_text(answer, SEPARATORS)) if answer else line) + b"\n"
        case None | "shuffle" | "reverse" | "duplicate" | "conflict" | "foreign" | "no_final_newline" | "split":
            yield line + b"\n"


def _twin(kind: Literal["duplicate", "conflict", "foreign"], line: bytes, seed: int, number: int) -> bytes:
    """A second line, made from a chosen one."""
    answer = _decoded(line)
    if kind == "duplicate" or not answer:
        return line + b"\n"
    if kind == "foreign":
        tag = "metadata" if "metadata" in answer else "key"
        stranger = f"stranger-{seed}-{number}"
        answer[tag] = {"key": stranger} if tag == "metadata" else stranger
    else:
        answer = _with_text(answer, "Another answer to the same request.")
    return jsonl.encode(answer) + b"\n"


def _with_text(answer: dict[str, Any], text: str) -> dict[str, Any]:
    """A line whose answer, if it has one, has another text."""
    if "response" not in answer:
        return answer
    response = dict(answer["response"])
    candidates = list(response.get("candidates") or [{"finishReason": "STOP", "index": 0}])
    candidates[0] = {**candidates[0], "content": {"parts": [{"text": text}], "role": "model"}}
    return {**answer, "response": {**response, "candidates": candidates}}
