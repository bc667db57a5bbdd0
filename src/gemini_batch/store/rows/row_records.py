"""The values that are written to ``rows.db`` and read from it."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini_batch.answers.reasons import Verdict

INSERT_REQUEST = (
    "INSERT INTO requests (seq, line, key, hash, offset, length, expects_json, dimension, tokens, schema, fingerprint, "
    "body, outside, bound_kind, bound_prompt, bound_answer, job, attempts) "
    "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)


class RequestRow(NamedTuple):
    """One request as loaded; ``line`` is its line number in the user's file, ``hash`` that of its key.

    ``schema``: the JSON Schema that its answer is to satisfy, as JSON. ``fingerprint`` recognises the row in other
    runs, ``body`` the request without its key (:mod:`gemini_batch.memory`); ``outside``: its answer depends on what is
    neither in the request nor in the model. ``bound_kind``, ``bound_prompt``, ``bound_answer``: as in
    :class:`~gemini_batch.money.row_bounds.RowBound`.
    """

    seq: int
    line: int
    key: str
    hash: int
    offset: int
    length: int
    expects_json: bool
    dimension: int | None
    tokens: int
    schema: bytes | None = None
    fingerprint: bytes | None = None
    body: int | None = None
    outside: bool = False
    bound_kind: int | None = None
    bound_prompt: int | None = None
    bound_answer: int | None = None


class Wanted(NamedTuple):
    """What judging an answer needs to know about its request; ``schema``: the id of its schema."""

    seq: int
    expects_json: bool
    dimension: int | None
    attempt: int
    schema: int | None = None


class Chunk(NamedTuple):
    """An ordered set of requests for one job; ``whole`` if it is one contiguous range of the requests file."""

    requests: int
    bytes: int
    tokens: int
    offset: int
    whole: bool


class Waiting(NamedTuple):
    """The totals of the requests that wait to be sent."""

    requests: int
    bytes: int
    tokens: int

    def less(self, requests: int, size: int, tokens: int) -> Waiting:
        """Without some of them."""
        return Waiting(self.requests - requests, self.bytes - size, self.tokens - tokens)


class Most(NamedTuple):
    """What requests cost at most, in nano-USD; tokens do not bound ``unknown`` of them, which are left out."""

    nano: int
    unknown: int


class Answered(NamedTuple):
    """How many requests a job has answered, and with how many answers."""

    requests: int
    answers: int


class Leftover(NamedTuple):
    """The requests of a job that are to be resent: how many, the most attempts of one, how many met a full quota."""

    requests: int
    attempts: int
    over_quota: int


class FinalRow(NamedTuple):
    """One request with its final answer: where the answer is, or why there is none.

    ``schema``: the JSON Schema, as JSON, if it did not succeed. ``copied_from``: the key of the identical request whose
    answer it is. ``answered_by``: the ordinal of the job that gave the answer; negative if another run received it.
    ``standard``: it was charged as a standard call.
    """

    seq: int
    key: str
    expects_json: bool
    dimension: int | None
    schema: bytes | None
    file: str | None
    offset: int
    length: int
    attempt: int
    verdict: str | None
    missing_reason: str
    reason: str | None
    copied_from: str | None = None
    answered_by: int | None = None
    standard: bool = False


class PlacedRow(NamedTuple):
    """One request: where its line is in ``requests.jsonl``, which job it is in, and its final answer.

    ``job``: the ordinal of that job, None while it waits. ``answered_by``: the ordinal of the job that gave the answer;
    ``file``, ``at`` and ``size`` are the answer's place in the folder of raw files. ``missing_reason``: why requests
    without an answer have none in a job that is collected. ``model``: the model that the answer names.
    ``schema``: the id of its schema. ``copied_from``: as in ``FinalRow``.
    """

    seq: int
    key: str
    offset: int
    length: int
    expects_json: bool
    dimension: int | None
    job: int | None
    attempts: int
    answered_by: int | None
    file: str | None
    at: int
    size: int
    verdict: Verdict | None
    reason: str | None
    missing_reason: str | None
    model: str | None
    copied_from: str | None = None
    schema: int | None = None


class FailureRow(NamedTuple):
    """One request that did not succeed: where its line is in ``requests.jsonl``, and what came of it.

    ``job`` is the ordinal of the job that gave the answer, ``file``, ``at`` and ``size`` are the place of the answer in
    the folder of raw files; all None without an answer.
    """

    key: str
    offset: int
    length: int
    verdict: str
    reason: str
    message: str | None
    job: int | None
    file: str | None
    at: int | None
    size: int | None


def key_hash(key: str) -> int:
    """A signed 64-bit hash of a key."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """A group of requests that did not succeed for one reason, in the same words of the service."""

    verdict: str
    """Verdict of the requests."""
    reason: str
    """Reason code; the page on verdicts lists all codes."""
    message: str | None
    """The service's message, or what the answers lack of their schema; at most 300 characters. Null if there is none,
    or if there are too many different ones to list."""
    count: int
    """Number of requests."""
    keys: list[str]
    """The first three of their keys."""


#: The keys that are named of each group of failures.
_KEYS_NAMED = 3


def grouped(failures: Iterable[FailureRow]) -> list[Reason]:
    """Requests that did not succeed by verdict, reason and message, most frequent first; one pass over them."""
    keys: dict[tuple[str, str, str | None], list[str]] = {}
    counts: Counter[tuple[str, str, str | None]] = Counter()
    for one in failures:
        kind = (one.verdict, one.reason, one.message)
        counts[kind] += 1
        if counts[kind] <= _KEYS_NAMED:
            keys.setdefault(kind, []).append(one.key)
    found = [
        Reason(verdict=kind[0], reason=kind[1], message=kind[2], count=count, keys=keys[kind])
        for kind, count in counts.items()
    ]
    return sorted(found, key=lambda one: (-one.count, one.verdict, one.reason, one.message or ""))
