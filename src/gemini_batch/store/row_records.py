"""The values that are written to ``rows.db`` and read from it."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

INSERT_REQUEST = (
    "INSERT INTO requests (seq, line, key, hash, offset, length, expects_json, dimension, tokens, job, attempts) "
    "VALUES (?,?,?,?,?,?,?,?,?,?,?)"
)


class RequestRow(NamedTuple):
    """One request as loaded; ``line`` is its line number in the user's file."""

    seq: int
    line: int
    key: str
    offset: int
    length: int
    expects_json: bool
    dimension: int | None
    tokens: int


class Wanted(NamedTuple):
    """What judging an answer needs to know about its request."""

    seq: int
    expects_json: bool
    dimension: int | None
    attempt: int


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


class Leftover(NamedTuple):
    """The requests of a job that are to be resent: how many, the most attempts of one, how many met a full quota."""

    requests: int
    attempts: int
    over_quota: int


class AnswerRow(NamedTuple):
    """One judged answer; the counts are tokens. ``model_version``: the model that the answer names."""

    seq: int
    attempt: int
    offset: int
    length: int
    verdict: str
    reason: str | None
    usage_known: bool
    input: int
    cached: int
    output: int
    thoughts: int
    tool_use: int
    audio_input: int
    image_output: int
    model_version: str | None = None


class FinalRow(NamedTuple):
    """One request with its final answer: where the answer is, or why there is none."""

    seq: int
    key: str
    expects_json: bool
    dimension: int | None
    file: str | None
    offset: int
    length: int
    attempt: int
    verdict: str | None
    missing_reason: str
    reason: str | None


def key_hash(key: str) -> int:
    """A signed 64-bit hash of a key."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """A group of requests that did not succeed, with the reason."""

    verdict: str
    """Verdict of the requests."""
    reason: str
    """Reason code; the page on verdicts lists all codes."""
    count: int
    """Number of requests."""
    keys: list[str]
    """The first three of their keys."""
