"""What is to be asked of every row: the prompt, the settings, the keys; from options and a request file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from gemini_batch.catalog import Method
from gemini_batch.errors import UsageError
from gemini_batch.tables.making import settings
from gemini_batch.tables.making.schema import AnswerSchema, Via, load_schema


class Kind(StrEnum):
    """What the answers are."""

    TEXT = "text"
    EMBED = "embed"
    IMAGE = "image"
    SPEECH = "speech"


#: The models that are asked if none is named.
IMAGE_MODEL = "gemini-3.1-flash-image"
SPEECH_MODEL = "gemini-3.8-flash-tts"


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One turn that precedes the prompt: what a user said, and what the model answered."""

    user: str
    model: str


class RequestFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=None):
    """A request file, as TOML writes it. Names of settings are the service's own."""

    prompt: str | None = None
    prompt_file: str | None = None
    system: str | None = None
    kind: Kind | None = None
    schema: str | dict[str, Any] | None = None
    attach: str | list[str] = []
    key: str | list[str] = []
    tools: list[str | dict[str, Any]] = []
    examples: list[Example] = []
    generationConfig: dict[str, Any] = {}  # noqa: N815 - the service's name
    request: dict[str, Any] = {}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The options that say what is asked of each row, as the user gave them; None or empty: not given."""

    prompt: str | None = None
    prompt_file: Path | None = None
    system: str | None = None
    request_file: Path | None = None
    kind: str | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    thinking: str | None = None
    tools: tuple[str, ...] = ()
    set: tuple[str, ...] = ()
    dimensions: int | None = None
    aspect_ratio: str | None = None
    voice: str | None = None
    schema: Any = None
    schema_field: Via = "auto"
    attach: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    number_duplicates: bool = False

    @property
    def given(self) -> bool:
        """Whether the input is a table: a prompt, a request file or a kind says so."""
        return any(one is not None for one in (self.prompt, self.prompt_file, self.request_file, self.kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is asked of each row. Texts and settings are templates; ``settings`` holds fields of the request."""

    kind: Kind
    prompt: str
    system: str | None
    examples: tuple[Example, ...]
    settings: dict[str, Any]
    schema: AnswerSchema | None
    attach: tuple[str, ...]
    key: tuple[str, ...]
    number_duplicates: bool

    @property
    def method(self) -> Method:
        """What the service does with the requests."""
        return Method.EMBED if self.kind is Kind.EMBED else Method.GENERATE

    @property
    def model(self) -> str | None:
        """The model for this kind of answer; None for the default of the method."""
        return {Kind.IMAGE: IMAGE_MODEL, Kind.SPEECH: SPEECH_MODEL}.get(self.kind)


def make_recipe(asked: Asked) -> Recipe:
    """Put options and request file together; an option wins over the file.

    Reads the files that are named. Raises UsageError.
    """
    file = _read(asked.request_file) if asked.request_file is not None else RequestFile()
    folder = asked.request_file.parent if asked.request_file is not None else Path()
    kind = Kind(asked.kind) if asked.kind is not None else file.kind or Kind.TEXT
    prompt = _prompt(asked, file, folder)
    embed = kind is Kind.EMBED
    made: dict[str, Any] = {}
    for name, value in file.request.items():
        settings.put(made, settings.placed([name], "--request-file", embed=embed), value)
    for name, value in file.generationConfig.items():
        settings.put(made, settings.placed([name], "--request-file", embed=embed), value)
    tools = settings.tools([*file.tools, *asked.tools])
    if tools:
        made["tools"] = [*made.get("tools", []), *tools]
    schema = asked.schema if asked.schema is not None else file.schema
    checked = None
    if schema is not None:
        if kind is not Kind.TEXT:
            raise _no_use("--schema", kind)
        checked = load_schema(schema, folder=Path() if asked.schema is not None else folder, via=asked.schema_field)
        for name, value in checked.settings.items():
            settings.put(made, ("generationConfig", name), value)
    _add_options(made, asked, kind)
    system = asked.system if asked.system is not None else file.system
    examples = tuple(file.examples)
    if embed and (system or examples or tools):
        raise _no_use("a system instruction, examples or tools", kind)
    return Recipe(
        kind=kind,
        prompt=prompt,
        system=system,
        examples=examples,
        settings=made,
        schema=checked,
        attach=asked.attach or _listed(file.attach),
        key=asked.key or _listed(file.key),
        number_duplicates=asked.number_duplicates,
    )


def _listed(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _read(path: Path) -> RequestFile:
    try:
        return msgspec.convert(tomllib.loads(_text(path, "--request-file")), RequestFile)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"The request file is not TOML: {error}.", file=path, field="--request-file", code="bad_request_file"
        ) from error
    except msgspec.ValidationError as error:
        raise UsageError(
            f"The request file cannot be used: {error}.",
            file=path,
            field="--request-file",
            code="bad_request_file",
            next=f"Its fields: {', '.join(RequestFile.__struct_fields__)}.",
        ) from error


def _text(path: Path, field: str) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UsageError("The file is not UTF-8.", file=path, field=field, code="not_utf8") from error
    except OSError as error:
        raise UsageError(
            f"The file cannot be read: {error.strerror}.", file=path, field=field, code="unreadable"
        ) from error


def _prompt(asked: Asked, file: RequestFile, folder: Path) -> str:
    given = [
        name for name, value in (("--prompt", asked.prompt), ("--prompt-file", asked.prompt_file)) if value is not None
    ]
    if len(given) > 1:
        raise UsageError("--prompt and --prompt-file exclude each other.", field="--prompt", code="bad_argument")
    if asked.prompt is not None:
        return asked.prompt
    if asked.prompt_file is not None:
        return _text(asked.prompt_file, "--prompt-file").rstrip("\n")
    if file.prompt is not None:
        return file.prompt
    if file.prompt_file is not None:
        return _text(folder / file.prompt_file, "--request-file").rstrip("\n")
    raise UsageError(
        "There is no prompt.",
        field="--prompt",
        code="no_prompt",
        next='Say what to ask of each row: --prompt "Classify this review: {{ review }}"',
    )


def _no_use(what: str, kind: Kind) -> UsageError:
    return UsageError(
        f"{what[:1].upper()}{what[1:]} cannot be combined with --kind {kind.value}.",
        field="--kind",
        code="bad_argument",
    )


def _add_options(request: dict[str, Any], asked: Asked, kind: Kind) -> None:
    """Put the settings that have options of their own into the request. Raises UsageError."""
    _check_kind(asked, kind)
    config: list[tuple[str, object]] = [
        ("temperature", asked.temperature),
        ("maxOutputTokens", asked.max_output_tokens),
    ]
    for name, value in config:
        if value is not None:
            settings.put(request, ("generationConfig", name), value)
    if asked.thinking is not None:
        settings.put(request, ("generationConfig", "thinkingConfig"), settings.thinking(asked.thinking))
    if asked.dimensions is not None:
        request["outputDimensionality"] = asked.dimensions
    if kind is Kind.IMAGE:
        settings.put(request, ("generationConfig", "responseModalities"), ["TEXT", "IMAGE"])
    if asked.aspect_ratio is not None:
        settings.put(request, ("generationConfig", "imageConfig", "aspectRatio"), asked.aspect_ratio)
    if kind is Kind.SPEECH:
        settings.put(request, ("generationConfig", "responseModalities"), ["AUDIO"])
    if asked.voice is not None:
        voice = ("generationConfig", "speechConfig", "voiceConfig", "prebuiltVoiceConfig", "voiceName")
        settings.put(request, voice, asked.voice)
    for pair in asked.set:
        path, value = settings.assigned(pair, embed=kind is Kind.EMBED)
        settings.put(request, path, value)


def _check_kind(asked: Asked, kind: Kind) -> None:
    for option, value, needed in (
        ("--dimensions", asked.dimensions, Kind.EMBED),
        ("--aspect-ratio", asked.aspect_ratio, Kind.IMAGE),
        ("--voice", asked.voice, Kind.SPEECH),
    ):
        if value is not None and kind is not needed:
            raise UsageError(
                f"{option} needs --kind {needed.value}.",
                field=option,
                code="bad_argument",
                next=f"Add --kind {needed.value}.",
            )
    for option, given in (
        ("--temperature", asked.temperature),
        ("--max-output-tokens", asked.max_output_tokens),
        ("--thinking", asked.thinking),
    ):
        if given is not None and kind is Kind.EMBED:
            raise _no_use(option, kind)
