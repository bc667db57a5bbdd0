"""Wire faults, played between a caller and an operation.

A fault that replaces the work is matched against the call and the database. A fault that follows the work is matched
against the answer too, and changes only successful answers: the emulator's own refusals stay unchanged.
"""

from __future__ import annotations

import contextlib
import gzip
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio.to_thread
import msgspec
from starlette.responses import Response

from gemini_batch import jsonl
from gemini_batch.emulator.faults.error_bodies import MODEL, NAME, worded
from gemini_batch.emulator.faults.model import matches
from gemini_batch.emulator.http import json_edits
from gemini_batch.emulator.http.broken_transport import Broken, cut_request
from gemini_batch.emulator.http.streamed import Streamed
from gemini_batch.emulator.messages.streams import STREAM, error_body
from gemini_batch.emulator.state.calls import asked_tier
from gemini_batch.emulator.state.clock import SECOND
from gemini_batch.emulator.state.entered import name_of
from gemini_batch.protocol.reading import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from gemini_batch.emulator.faults.armed import Armed
    from gemini_batch.emulator.faults.model import WireFault
    from gemini_batch.emulator.messages.calls import Call
    from gemini_batch.emulator.service.core import Emulator

#: The calls whose body names a tier.
TIERED = frozenset({"models.generateContent", STREAM})
#: How long the service works on one request by default, in seconds.
_PATIENCE = 60


class Facts(NamedTuple):
    """What a call refers to, as far as that is known before the work."""

    resource: str = ""
    model: str = ""
    display_name: str = ""
    state: str = ""


class Player:
    """Plays the armed wire faults of one emulator."""

    def __init__(self, world: Emulator) -> None:
        self._world = world

    def incoming(self, call: Call, request: Request) -> Request:
        """The request, or one whose connection breaks while its body is read."""
        for one in self._armed(call):
            if one.fault.receive is not None and self._means(one.fault, call) and one.take():
                return cut_request(request, one.fault)
        return request

    async def before(self, call: Call, leaving: list[Callable[[], None]]) -> Response | None:
        """The answer that replaces the work, or None. What is added to ``leaving`` is called when the call is over."""
        for one in self._armed(call):
            fault = one.fault
            if (
                fault.early
                and fault.receive is None
                and self._means(fault, call)
                and self._full(one, leaving)
                and one.take()
            ):
                return self._broken(one, _refusal(fault, call) if fault.status or fault.error else Response())
        return None

    async def after(self, call: Call, response: Response) -> Response:
        """The answer, changed by every fault whose turn it is."""
        for one in self._armed(call):
            if one.fault.early or response.status_code >= 300:
                continue
            if call.operation in TIERED and not one.fault.edits:  # takes less time than a thread
                changed = self._play(one, call, response)
            else:
                changed = await anyio.to_thread.run_sync(self._play, one, call, response)
            response = response if changed is None else changed
        return response

    def _armed(self, call: Call) -> list[Armed[WireFault]]:
        return [] if call.operation.startswith("emulator.") else self._world.faults.on(call.operation)

    def _means(self, fault: WireFault, call: Call, *, state: bool = True) -> bool:
        patterns = (fault.resource, fault.model, fault.display_name, fault.state if state else "*")
        if not all(pattern == "*" for pattern in patterns) and not all(map(matches, patterns, self._facts(call))):
            return False
        return fault.tier == "*" or matches(fault.tier, _tier(call))

    def _full(self, one: Armed[WireFault], leaving: list[Callable[[], None]]) -> bool:
        """Whether so many calls are in flight that a fault is played. This call is counted until it has left."""
        if not one.fault.above:
            return True
        leaving.append(one.leave)
        return one.enter() > one.fault.above

    def _facts(self, call: Call) -> Facts:
        store, names = self._world.store, call.names
        if batch := names.get("batch"):
            row = store.row("SELECT * FROM batches WHERE id = ?", (batch,))
            if row is None:
                return Facts(f"batches/{batch}")
            return Facts(name_of(row), row["model"], row["display_name"], row["state"])
        if bucket := names.get("bucket"):
            return Facts(f"gs://{bucket}/{names.get('object') or call.text('name')}")
        if file := names.get("file"):
            row = store.row("SELECT * FROM files WHERE id = ?", (file,))
            return Facts(f"files/{file}") if row is None else Facts(f"files/{file}", "", row["display_name"], "ACTIVE")
        if cache := names.get("cache"):
            row = store.row("SELECT * FROM caches WHERE id = ?", (cache,))
            named = f"cachedContents/{cache}"
            return Facts(named) if row is None else Facts(named, row["model"], row["display_name"])
        if upload := call.query.get("upload_id"):
            row = store.row("SELECT * FROM uploads WHERE id = ?", (upload,))
            return Facts() if row is None else Facts(f"files/{row['file_id']}", "", row["display_name"], row["state"])
        model = names.get("model") or _named_model(call)
        return Facts(f"models/{model}" if model else "", model, _display_name(call.body))

    def _play(self, one: Armed[WireFault], call: Call, response: Response) -> Response | None:
        """The changed answer, or None if it is not this fault's turn. May block."""
        fault = one.fault
        patience = _patience(call)
        if patience < fault.patience_from or (fault.patience_below and patience >= fault.patience_below):
            return None
        body = bytes(response.body) if type(response) is Response else b""
        stream = response if isinstance(response, Streamed) else None
        if (stream.size if stream else len(body)) <= fault.larger > 0:
            return None
        answer = _object(body)
        listed = call.operation == "batches.list"
        if (fault.edits and answer is None and stream is None) or (fault.listing and not listed):
            return None
        if fault.length and stream:
            return None  # a stream declares no length
        if listed:
            meant = json_edits.concerns(fault, answer or {})
        else:
            meant = self._means(fault, call, state=False) and matches(fault.state, _state(response, answer))
        if not meant or not one.take():
            return None
        if fault.edits and stream:
            response = stream.edited(lambda chunk: json_edits.edit(fault, chunk, call, self._output))
        elif fault.edits and answer is not None:
            response = _replaced(response, jsonl.encode(json_edits.edit(fault, answer, call, self._output)))
        return self._broken(one, _dressed(fault, call, response))

    def _output(self, name: str) -> list[Any]:
        """The lines of an output file, as inline answers."""
        batch_id = name.removeprefix("files/batch-")
        found = []
        with contextlib.suppress(FileNotFoundError), self._world.store.output(batch_id).open("rb") as file:
            for line in jsonl.read_lines(file):
                answer = jsonl.decode(line.data)
                if "key" in answer:
                    answer["metadata"] = {"key": answer.pop("key")}
                found.append(answer)
        return found

    def _broken(self, one: Armed[WireFault], response: Response) -> Response:
        fault = one.fault
        on_wire = fault.delay or fault.silence or fault.drop or fault.cut is not None or fault.length or fault.drip
        if not on_wire and not fault.delay_most:
            return response
        delay = one.between(fault.delay, fault.delay_most) if fault.delay_most else fault.delay
        clock = self._world.clock
        return Broken(response, fault, self._world.engine.stop, delay=delay, now=lambda: clock.seen() / SECOND)


def _refusal(fault: WireFault, call: Call) -> Response:
    wording = worded(fault.status, fault.error)
    body = wording.body.replace(NAME, _file(call)).replace(MODEL, jsonl.encode(call.names.get("model", ""))[1:-1])
    if fault.body is not None:
        body = fault.body.encode()
    elif wording.content_type.startswith("application/json"):
        body = error_body(call.operation, call.query, body)
    headers = {"Content-Type": wording.content_type, "Content-Length": str(len(body)), **fault.headers}
    response = Response(body, wording.status)
    response.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return response


def _file(call: Call) -> bytes:
    """The id of the file that a call names."""
    config = (_object(call.body) or {}).get("batch", {})
    config = config.get("inputConfig", config.get("input_config")) if isinstance(config, dict) else None
    named = config.get("fileName", config.get("file_name")) if isinstance(config, dict) else None
    return (call.names.get("file") or str(named or "").removeprefix("files/") or "unknown").encode()


def _dressed(fault: WireFault, call: Call, response: Response) -> Response:
    """The answer with another status, body and headers."""
    if fault.status or fault.error:
        return _refusal(fault, call)
    if fault.body is not None and (type(response) is Response or isinstance(response, Streamed)):
        response = _replaced(response, fault.body.encode())
    if fault.gzip and type(response) is Response and "content-encoding" not in response.headers:
        response = _replaced(response, gzip.compress(bytes(response.body), mtime=0))
        response.raw_headers = [*response.raw_headers, (b"Content-Encoding", b"gzip")]
    gone = {name.lower().encode("latin-1") for name in (*fault.without_headers, *fault.headers)}
    if gone:
        added = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fault.headers.items()]
        response.raw_headers = [pair for pair in response.raw_headers if pair[0].lower() not in gone] + added
    return response


def _replaced(response: Response, body: bytes) -> Response:
    changed = Response(body, response.status_code)
    changed.raw_headers = [
        (name, b"%d" % len(body) if name.lower() == b"content-length" else value)
        for name, value in response.raw_headers
    ]
    return changed


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict) else None


def _state(response: Response, answer: dict[str, Any] | None) -> str:
    """What ``state`` of a fault is matched against: a job's state without prefix, a file's, or an upload's status."""
    for name, value in response.raw_headers:
        if name.lower() == b"x-goog-upload-status":
            return value.decode("latin-1")
    if answer is None:
        return ""
    return json_edits.state_of(answer)


def _tier(call: Call) -> str:
    """The tier that a call asks for; empty if it can ask for none."""
    if call.operation not in TIERED:
        return ""
    body = _object(call.body) or {}
    asked = {name: body[name] for name in ("serviceTier", "service_tier") if name in body}
    return asked_tier(Reader(lenient=True).read("GenerateContentRequest", asked))


def _patience(call: Call) -> int:
    try:
        return int(float(call.headers.get("x-server-timeout", "") or _PATIENCE))
    except ValueError:
        return _PATIENCE


def _named_model(call: Call) -> str:
    """The model in the body of a call that makes a cache, or a job of Vertex AI."""
    made = call.operation in ("cachedContents.create", "batches.create")
    return str((_object(call.body) or {}).get("model") or "").rpartition("/")[2] if made else ""


def _display_name(body: bytes) -> str:
    """The display name in the body of a call that creates something, in either spelling."""
    value = _object(body) or {}
    inner = value.get("batch") or value.get("file") or value
    if not isinstance(inner, dict):
        return ""
    return str(inner.get("displayName") or inner.get("display_name") or "")
