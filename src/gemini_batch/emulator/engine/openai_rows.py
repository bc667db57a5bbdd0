"""Rows in OpenAI's shape: ``{custom_id, method, url, body}`` in, ``{id, custom_id, response, error}`` out.

A file of such rows is translated once, when its job is created, and the output once, when it is published. Between the
two the engine sees ordinary rows, so faults, checkpoints and accounting are those of every job.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, NamedTuple

from gemini_batch import jsonl
from gemini_batch.emulator.engine.lines import LISTED
from gemini_batch.emulator.messages import errors, openai_answers, openai_requests

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.emulator.state.models import Kind

#: The endpoint of a row, by kind of request.
ENDPOINT: dict[Kind, str] = {"generate": "/v1/chat/completions", "embed": "/v1/embeddings"}
#: The name of this shape in the database; that of ordinary rows is empty.
SHAPE = "openai"


class Translated(NamedTuple):
    """The model that the rows name, empty if they name none, and the problems found, in order."""

    model: str
    problems: list[str]


class _Refused(Exception):
    """Why one row cannot be translated."""


def has_this_shape(source: IO[bytes]) -> bool:
    """Whether the first line that is not blank is a row in OpenAI's shape; leaves ``source`` at its start."""
    try:
        first = next((line.data for line in jsonl.read_lines(source) if line.data.strip()), b"")
        value = jsonl.decode(first)
    except (jsonl.NotJson, jsonl.LineTooLong):
        value = None
    source.seek(0)
    return isinstance(value, dict) and "custom_id" in value and "request" not in value


def read(kind: Kind, source: IO[bytes], target: IO[bytes], *, model: str = "", lenient: bool = False) -> Translated:
    """Write the rows as ordinary ones, each on the line with its number; ``custom_id`` becomes the key.

    ``model``: the job's model, whatever the rows name; if it is empty, all rows must name the same model.
    """
    problems: list[str] = []
    found = ""
    try:
        for _, number, data in jsonl.read_lines(source):
            if not data.strip():
                target.write(b"\n")
                continue
            try:
                key, named, request = _row(kind, data, lenient=lenient)
                found = found or named
                if not model:
                    _check_same(named, found)
            except _Refused as refused:
                problems.append(f"Error on line {number}: {refused}")
                if len(problems) == LISTED:
                    break
                continue
            target.write(jsonl.encode({"key": key, "request": request}) + b"\n")
    except jsonl.LineTooLong as error:
        problems.append(f"Error on line {error.number}: the line is too long.")
    return Translated(model or found, problems)


def write(kind: Kind, source: Path, target: Path, *, batch: str, model: str, created: int) -> None:
    """Write an output in OpenAI's shape; what is no answer, because a fault damaged it, stays as it is."""
    with source.open("rb") as old, jsonl.private_open(target, "wb") as new:
        for number, line in enumerate(old):
            text = line.rstrip(b"\r\n")
            try:
                value = jsonl.decode(text)
            except jsonl.NotJson:
                value = None
            if isinstance(value, dict):
                answer = _answer(kind, value, model=model, created=created)
                text, ending = jsonl.encode({"id": f"batch_req_{batch}-{number}", **answer}), line[len(text) :]
                line = text + ending  # noqa: PLW2901 - the same line, translated
            new.write(line)


def _check_same(named: str, first: str) -> None:
    if not named:
        raise _Refused("the row names no model")
    if named != first:
        raise _Refused(f"the model is {named}, that of the first row is {first}; a job has one model")


def _row(kind: Kind, data: bytes, *, lenient: bool) -> tuple[str, str, dict[str, Any]]:
    """Key, model and request of a row. Raises :class:`_Refused`."""
    try:
        value = jsonl.decode(data)
    except jsonl.NotJson as error:
        where = f", near column {error.column}" if error.column else ""
        raise _Refused(f"invalid JSON{where}: {error}") from None
    if not isinstance(value, dict):
        raise _Refused("invalid JSON, near column 1: expected an object")
    key, body = value.get("custom_id"), value.get("body")
    if not isinstance(key, str) or not key:
        raise _Refused("the row has no custom_id")
    if value.get("method", "POST") != "POST":
        raise _Refused(f"the method is {value['method']!r}, not 'POST'")
    if value.get("url", ENDPOINT[kind]) != ENDPOINT[kind]:
        raise _Refused(f"the url is {value['url']!r}; that of this job is {ENDPOINT[kind]!r}")
    try:
        if kind == "embed":
            model, requests, _ = openai_requests.embeddings(body, lenient=lenient)
            if len(requests) != 1:
                raise _Refused(f"the row has {len(requests)} inputs; the emulator answers rows with one")
            return key, model, requests[0]
        asked = openai_requests.chat(body, lenient=lenient)
    except errors.ApiFailure as failure:
        raise _Refused(failure.message) from None
    if asked.stream:
        raise _Refused("a row cannot be streamed; leave out stream")
    return key, asked.model, asked.request


def _answer(kind: Kind, line: dict[str, Any], *, model: str, created: int) -> dict[str, Any]:
    key = {"custom_id": line["key"]} if "key" in line else {}
    response = line.get("response")
    if response is None:
        status = line.get("error") or line.get("status") or {}
        failure = errors.of_row(status.get("code", 13), status.get("message", ""))
        return {**key, "response": {"status_code": failure.status, "body": failure.body()}, "error": None}
    if kind == "embed":
        body = openai_answers.embeddings([response], model=model, in_base64=False)
    else:
        body = openai_answers.completion(response, model=model, created=created)
    body["usage"] = {_CAMEL[name]: count for name, count in body["usage"].items()}
    answered = {"status_code": 200, "request_id": body.get("id", ""), "body": body}
    return {**key, "response": answered, "error": None}


#: In output files the service writes the names of counts in camelCase.
_CAMEL = {"prompt_tokens": "promptTokens", "completion_tokens": "completionTokens", "total_tokens": "totalTokens"}
