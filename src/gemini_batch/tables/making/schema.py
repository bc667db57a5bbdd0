"""Loads the schema of answers from a file, a class or an object, and chooses how the service is told about it."""

from __future__ import annotations

import contextlib
import importlib
import operator
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_origin

import msgspec

from gemini_batch import jsonl
from gemini_batch.errors import UsageError
from gemini_batch.protocol.json_schema import flaws
from gemini_batch.protocol.openapi_schema import json_schema_of
from gemini_batch.protocol.reading import Reader
from gemini_batch.protocol.schema_checker import NotASchema, compile_schema, path_of
from gemini_batch.tables.making import schema_parts as parts
from gemini_batch.tables.making.sent_json_schema import sent_json_schema
from gemini_batch.tables.making.service_schema import NotExpressible, response_schema

if TYPE_CHECKING:
    from pathlib import Path

Via = Literal["auto", "responseSchema", "responseJsonSchema"]

_HOW = (
    "Name a JSON file (review.json) or a class (module:Model): a pydantic model, a dataclass, a TypedDict or a Struct."
)
_CLASS = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")
#: A schema has at least one of these at its top; any other object is probably an example of an answer.
_AT_THE_TOP = frozenset({"type", "properties", "items", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"})
_TROUBLE = (
    "In August 2026, a team got no right answer from 502 requests with `responseJsonSchema` in batches; others use it "
    "without trouble. Try a few rows first."
)


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """What answers are to look like.

    ``source``: the file or class, for messages. ``original``: the JSON Schema that answers are checked with.
    ``settings``: the fields of ``generationConfig`` that tell the service. ``notes``: what only the check of the
    answers sees to, as sentences. ``notice``: what to know about the field that was chosen, or None. ``model``: the
    class, or None.
    """

    source: str
    original: dict[str, Any]
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    notice: str | None = None
    model: Any = None

    @property
    def json(self) -> bytes:
        """``original`` as JSON: the ``answer_schema`` of :func:`gemini_batch.intake.staging.stage`."""
        return jsonl.encode(self.original)


class _Source:
    """Where a schema comes from: ``name`` as it was given, ``path`` of its file, ``model``: its class."""

    def __init__(self, name: str, path: Path | None = None, model: Any = None) -> None:
        self.name, self.path, self.model = name, path, model

    def refused(self, what: str, fix: str | None = None) -> UsageError:
        what = what if what.endswith(".") else f"{what}."
        return UsageError(f"The schema {self.name} cannot be used: {what}", file=self.path, code="bad_schema", next=fix)


def load_schema(spec: str | type | dict[str, Any], *, folder: Path, via: Via = "auto") -> AnswerSchema:
    """The schema that ``spec`` names.

    ``spec``: a JSON file, relative to ``folder``; ``module:Model``, searched in ``folder`` first; JSON; a class; or a
    decoded JSON Schema. All may be in JSON Schema or in the form of ``responseSchema``. ``via``: the field that tells
    the service; ``auto`` takes ``responseSchema`` if it can express the schema. Raises UsageError (``bad_schema``).
    """
    source, schema = _read(spec, folder)
    if not isinstance(schema, dict):
        raise source.refused("it is not an object", _HOW)
    if not schema.keys() & _AT_THE_TOP:
        raise source.refused(
            "it has none of the words of a schema at its top, such as `type` and `properties`",
            'Write, for example, {"type": "object", "properties": {"sentiment": {"type": "string"}}}.',
        )
    try:
        if _is_service_form(schema):
            schema = _from_service_form(source, schema)
        return _chosen(source, parts.without_nullable(schema), via)
    except RecursionError:
        raise source.refused("it is nested too deeply") from None


# Reading --------------------------------------------------------------------------------------------------------------


def _read(spec: str | type | dict[str, Any], folder: Path) -> tuple[_Source, Any]:
    if isinstance(spec, dict):
        return _Source("given"), spec
    if not isinstance(spec, str):
        source = _Source(getattr(spec, "__name__", str(spec)), model=spec)
        return source, _schema_of(spec, source)
    if spec.lstrip().startswith("{"):
        return _Source("given"), _decoded(spec.encode(), _Source("given"))
    path = folder / spec
    if _CLASS.fullmatch(spec) and not path.exists():
        return _imported(spec, folder)
    source = _Source(spec, path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise source.refused("there is no such file", _HOW) from None
    except OSError as error:
        raise source.refused(f"the file cannot be read: {error.strerror}") from error
    return source, _decoded(data.removeprefix(jsonl.UTF8_BOM), source)


def _decoded(data: bytes, source: _Source) -> Any:
    try:
        return jsonl.decode(data)
    except jsonl.NotJson as bad:
        raise source.refused(f"it is not JSON: {bad}", _HOW) from None


def _imported(spec: str, folder: Path) -> tuple[_Source, Any]:
    module_name, _, path = spec.partition(":")
    source = _Source(spec)
    if module_name.endswith(".py"):
        raise source.refused("a module is named without `.py`", f"Write {module_name.removesuffix('.py')}:{path}.")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what a module prints is no result of ours
            module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a script that exits when it is imported is not usable as a module
        raise source.refused(
            f"the module {module_name} could not be imported: {type(error).__name__}: {error}",
            f"Python searches {folder} first. Try: python -c 'import {module_name}'",
        ) from error
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))
    try:
        found = operator.attrgetter(path)(module)
    except AttributeError:
        raise source.refused(f"there is no {path} in {module.__file__ or module_name}", _HOW) from None
    if isinstance(found, dict):
        return source, found
    source.model = found
    return source, _schema_of(found, source)


def _schema_of(model: Any, source: _Source) -> Any:
    """The JSON Schema of a class, by whichever library made it."""
    if not isinstance(model, type) and get_origin(model) is None:
        raise source.refused("it is not a class that describes an answer", _HOW)
    try:
        if callable(getattr(model, "model_json_schema", None)):
            return model.model_json_schema()
        if not hasattr(model, "__pydantic_core_schema__"):
            with contextlib.suppress(TypeError):
                return jsonl.decoder(lambda: msgspec.json.schema(model))
        if "pydantic" in sys.modules:
            from pydantic import TypeAdapter

            return TypeAdapter(model).json_schema()
    except Exception as error:  # whatever a model of the user's raises
        why = (str(error).strip().splitlines() or [""])[0]
        raise source.refused(f"it has no JSON Schema: {type(error).__name__}: {why}") from error
    raise source.refused("it is not a class that describes an answer", _HOW)


# Choosing -------------------------------------------------------------------------------------------------------------


def _chosen(source: _Source, schema: dict[str, Any], via: Via) -> AnswerSchema:
    if flaw := next(flaws(schema), None):
        place = path_of(flaw.place)
        raise source.refused(f"`{place}` must be {flaw.expected}" if place else f"it must be {flaw.expected}")
    _check(source, schema)
    notice = None
    try:
        try:
            if via == "responseJsonSchema":
                made, field = sent_json_schema(schema), "responseJsonSchema"
            else:
                made, field = response_schema(schema), "responseSchema"
        except NotExpressible as reason:
            if via == "responseSchema":
                raise source.refused(
                    f"`responseSchema` cannot express this. {reason}",
                    "Change the schema, or choose `responseJsonSchema`. " + _TROUBLE,
                ) from None
            made, field = sent_json_schema(schema), "responseJsonSchema"
            notice = f"The schema goes to `responseJsonSchema`, since `responseSchema` cannot express this. {reason}. "
    except parts.Unusable as error:
        raise source.refused(str(error)) from None
    if field == "responseJsonSchema":
        notice = (notice or "") + _TROUBLE
    settings = {"responseMimeType": "application/json", field: made.schema}
    return AnswerSchema(source.name, schema, settings, made.notes, notice, source.model)


def _is_service_form(schema: Any) -> bool:
    """Whether a schema is written for ``responseSchema``: its types are in capitals."""
    waiting = [schema]
    while waiting:
        match waiting.pop():
            case {"type": str() as kind} if kind.isupper():
                return True
            case dict() as inner:
                waiting.extend(value for word, value in inner.items() if word not in ("enum", "default", "example"))
            case list() as inner:
                waiting.extend(inner)
            case _:
                pass
    return False


def _from_service_form(source: _Source, schema: dict[str, Any]) -> dict[str, Any]:
    reader = Reader()
    reader.read("Schema", schema)
    if reader.violations:
        bad = reader.violations[0]
        what = f"{bad.name!r} is not a word of `responseSchema`" if bad.name else "the value does not fit"
        raise source.refused(
            f"`{path_of(bad.place)}`: {what}, for which types in capitals stand",
            "Write types in small letters, as JSON Schema does.",
        )
    return json_schema_of(schema)


def _check(source: _Source, schema: dict[str, Any]) -> None:
    try:
        compile_schema(jsonl.encode(schema))
    except NotASchema as error:
        raise source.refused(str(error)) from None
