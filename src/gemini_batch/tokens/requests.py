"""Request lines as what of them is counted. Lines of text alone take a short way; everything else is read as JSON."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.jsonl import decoder, dumps, loads
from gemini_batch.protocol.spelling import camel
from gemini_batch.tokens import media
from gemini_batch.tokens.classes import BREAK, NOTHING, count, plus
from gemini_batch.tokens.media import NONE, Range, Size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: Texts are counted together once their lines have so many bytes.
_TOGETHER = 1 << 15
#: Tools that the service runs: what they add to a prompt is not known beforehand.
_OWN_TOOL = "functionDeclarations"
_TEXTS = ("text/", "application/json", "application/xml", "application/yaml")


class _Part(msgspec.Struct, gc=False):
    text: str | None = None


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] = []


class _Request(msgspec.Struct, gc=False):
    contents: list[_Content] = []
    content: _Content | None = None
    system_camel: _Content | None = msgspec.field(default=None, name="systemInstruction")
    system_snake: _Content | None = msgspec.field(default=None, name="system_instruction")
    tools: msgspec.Raw | None = None
    cached_camel: msgspec.Raw | None = msgspec.field(default=None, name="cachedContent")
    cached_snake: msgspec.Raw | None = msgspec.field(default=None, name="cached_content")


class _Line(msgspec.Struct, gc=False):
    request: _Request


@dataclass(frozen=True, slots=True)
class Tally:
    """What of some requests is counted; tallies can be added.

    ``text`` are counts of classes in texts; ``calls`` those in the JSON of declarations, calls and responses of
    functions. ``media`` is in thousandths of tokens. ``unknown`` names what has tokens that nothing tells, with the
    number of times.
    """

    rows: int = 0
    contents: int = 0
    text: tuple[int, ...] = NOTHING
    calls: tuple[int, ...] = NOTHING
    media: Range = NONE
    unknown: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            self.rows + other.rows,
            self.contents + other.contents,
            plus(self.text, other.text),
            plus(self.calls, other.calls),
            self.media.plus(other.media),
            Counter(self.unknown) + Counter(other.unknown),
        )


@cache
def _decoder() -> msgspec.json.Decoder[_Line]:
    return decoder(lambda: msgspec.json.Decoder(_Line))


def tally(lines: Iterable[bytes], model: str, files: Mapping[str, Size] | None = None) -> Tally:
    """Count request lines: each an object with ``request``, in either spelling of names. Memory is bounded.

    ``files`` tells what is known of files that the requests name by their URI. A line that cannot be read counts as
    unknown.
    """
    counted = _Counted(model, files or {})
    for line in lines:
        counted.add(line)
    return counted.total()


class _Counted:
    """The sums so far, and the texts that wait to be counted together."""

    def __init__(self, model: str, files: Mapping[str, Size]) -> None:
        self.model, self.files = model, files
        self.decode = _decoder().decode
        self.rows = self.contents = self.waiting = 0
        self.texts: list[str] = []
        #: Rows of one template declare the same tools, which are counted once, with the number of rows.
        self.declared: Counter[bytes] = Counter()
        self.text, self.calls = NOTHING, NOTHING
        self.media = NONE
        self.unknown: Counter[str] = Counter()

    def add(self, line: bytes) -> None:
        self.rows += 1
        before = len(self.texts)
        if not self.add_text(line):
            del self.texts[before:]
            self.add_any(line)
        self.waiting += len(line)
        if self.waiting > _TOGETHER:
            self.flush()

    def add_text(self, line: bytes) -> bool:
        """Take a request that is text alone; False if it is not."""
        try:
            request = self.decode(line).request
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        if request.cached_camel is not None or request.cached_snake is not None:
            return False
        contents = request.contents
        for one in (request.system_camel, request.system_snake, request.content):
            if one is not None:
                contents = [*contents, one]
        keep = self.texts.append
        for content in contents:
            for part in content.parts:
                if part.text is None:
                    return False
                keep(part.text)
        self.contents += len(contents)
        if request.tools is not None:
            self.declared[bytes(request.tools)] += 1
        return True

    def flush(self) -> None:
        if self.texts:
            joined = BREAK.decode().join(self.texts).encode("utf-8", "replace")
            self.text = plus(self.text, count(joined))
        for tools, rows in self.declared.items():
            self.add_tools(loads(tools), rows)
        self.texts, self.waiting = [], 0
        self.declared.clear()

    def total(self) -> Tally:
        self.flush()
        return Tally(self.rows, self.contents, self.text, self.calls, self.media, dict(self.unknown))

    def add_any(self, line: bytes) -> None:
        try:
            request = loads(line)["request"]
            request = {camel(name): value for name, value in request.items() if value is not None}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            self.unknown["line"] += 1
            return
        if request.get("cachedContent"):
            self.unknown["cached content"] += 1
        self.add_tools(request.get("tools"))
        settings = _named(request.get("generationConfig"))
        resolution = media.level(settings.get("mediaResolution"))
        for name in ("contents", "content", "systemInstruction"):
            for content in _listed(request.get(name)):
                self.contents += 1
                for part in _listed(_named(content).get("parts")):
                    self.add_part(_named(part), resolution)

    def add_tools(self, tools: object, rows: int = 1) -> None:
        for tool in _listed(tools):
            for name, value in _named(tool).items():
                if name == _OWN_TOOL:
                    self.add_call(value, rows)
                elif value is not None:
                    self.unknown["tool of the service"] += rows

    def add_call(self, value: object, times: int = 1) -> None:
        self.calls = plus(self.calls, [one * times for one in count(dumps(value))])

    def add_part(self, part: Mapping[str, Any], resolution: str) -> None:
        if isinstance(text := part.get("text"), str):
            self.texts.append(text)
        for name in ("functionCall", "functionResponse", "executableCode", "codeExecutionResult"):
            if part.get(name) is not None:
                self.add_call(part[name])
        inline, file = _named(part.get("inlineData")), _named(part.get("fileData"))
        if inline or file:
            self.add_file(inline, file, _named(part.get("videoMetadata")), _resolution(part) or resolution)

    def add_file(
        self, inline: Mapping[str, Any], file: Mapping[str, Any], video: Mapping[str, Any], resolution: str
    ) -> None:
        kind = str(inline.get("mimeType") or file.get("mimeType") or "").lower()
        if inline and kind.startswith(_TEXTS) and (text := _decoded(inline.get("data"))) is not None:
            self.texts.append(text)
            return
        size = self.files.get(str(file.get("fileUri")), Size())
        name, found = self.of_media(kind, size, video, resolution)
        if found is None:
            self.unknown[name] += 1
        else:
            self.media = self.media.plus(found)

    def of_media(self, kind: str, size: Size, video: Mapping[str, Any], resolution: str) -> tuple[str, Range | None]:
        """The name of a kind of media, and its tokens if they can be known."""
        if kind.startswith("image/"):
            return "picture", media.picture(self.model, resolution)
        if kind == "application/pdf":
            page = media.pdf_page(self.model, resolution)
            return "PDF", page.times(size.pages) if page and size.pages is not None else None
        if kind.startswith("audio/"):
            second = media.audio_second(self.model)
            return "audio", second.times(size.seconds) if second and size.seconds is not None else None
        if kind.startswith("video/"):
            seconds = _cut(video, size.seconds)
            second = media.video_second(self.model, resolution, _number(video.get("fps"), 1.0))
            return "video", second.times(seconds) if second and seconds is not None else None
        return "file", None


def _listed(value: object) -> Iterator[object]:
    """The items of a list; one value stands for a list of one."""
    if value is not None:
        yield from value if isinstance(value, list) else [value]


def _named(value: object) -> dict[str, Any]:
    """An object by the names that REST uses; empty if it is none."""
    return {camel(name): item for name, item in value.items()} if isinstance(value, dict) else {}


def _decoded(data: object) -> str | None:
    try:
        return base64.b64decode(data if isinstance(data, str) else b"", altchars=None).decode("utf-8", "replace")
    except (ValueError, binascii.Error):
        return None


def _resolution(part: Mapping[str, Any]) -> str:
    asked = part.get("mediaResolution")
    return media.level(asked.get("level") if isinstance(asked, dict) else asked)


def _number(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else otherwise


def _offset(value: object) -> float | None:
    """A duration of the service, ``12.5s``, in seconds."""
    try:
        return float(value.removesuffix("s")) if isinstance(value, str) else None
    except ValueError:
        return None


def _cut(video: Mapping[str, Any], seconds: float | None) -> float | None:
    """How much of a video is sent, in seconds; None if that is not known."""
    start, end = _offset(video.get("startOffset")) or 0.0, _offset(video.get("endOffset"))
    if end is None or (seconds is not None and seconds < end):
        end = seconds
    return None if end is None else max(0.0, end - start)
