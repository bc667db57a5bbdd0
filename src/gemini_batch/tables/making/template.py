"""Templates over the columns of a row: Jinja, in a sandbox, or plain concatenation where that is all there is.

``{{ column }}`` is a column; ``{{ row["any name"] }}`` is one whose name is not an identifier. A null renders as
nothing, true and false as in JSON, lists and objects as JSON, dates as ISO 8601.
"""

from __future__ import annotations

import datetime as dt
import decimal
import difflib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.errors import UsageError
from gemini_batch.stopping import Stopped, check
from gemini_batch.tables.extra import needed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LINE_END = re.compile("\r\n?")
_encode = msgspec.json.Encoder(decimal_format="number").encode
#: After so many pieces of a text, a loop in the template asks whether it is to stop.
_CHECKED = 10_000
#: The name under which a template finds all columns.
ROW = "row"
#: Options whose value is a template, and not the name of a column.
_TEMPLATES = frozenset({"--prompt", "--system"})


class RenderError(ValueError):
    """A template cannot be rendered for a row; the message says why."""


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template. ``columns``: the columns that it uses, in the order of the table.

    ``render`` takes the values of all columns, in the order of the table, and returns text; it raises RenderError.
    ``pieces``: literal text and the indexes of columns in turn, if the template is nothing else.
    """

    columns: tuple[str, ...]
    render: Callable[[Sequence[Any]], str]
    pieces: tuple[str | int, ...] | None = None

    @property
    def whole(self) -> int | None:
        """The index of the column, if the template is that column and nothing else."""
        only = self.pieces[0] if self.pieces is not None and len(self.pieces) == 1 else None
        return only if isinstance(only, int) else None


def placeholder(column: str) -> str:
    """How a template names a column."""
    return f"{{{{ {column} }}}}" if column.isidentifier() else f"{{{{ row[{msgspec.json.encode(column).decode()}] }}}}"


def shown(value: object) -> str:
    """A value as templates show it."""
    if type(value) is str:
        return value
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case dict() | list() | tuple():
            return _encode(value).decode()
        case str() | int() | float() | decimal.Decimal() | dt.timedelta() | uuid.UUID():
            return str(value)
        case bytes():
            raise RenderError("it holds bytes, which are not text")
        case _ if callable(value):
            raise RenderError("it is a function, not a value; call it with (), or name a column")
        case _:
            raise RenderError(f"it is a {type(value).__name__}, not a value; add `| list` or `| join(', ')`")


class Templates:
    """Compiles templates for a table with these columns."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self._places = {name: at for at, name in enumerate(columns)}
        jinja = needed("jinja2.sandbox", "A prompt with columns")
        self._meta = needed("jinja2.meta", "A prompt with columns")
        self._nodes = needed("jinja2.nodes", "A prompt with columns")
        self._errors = needed("jinja2", "A prompt with columns").TemplateError
        self._syntax_error = needed("jinja2", "A prompt with columns").TemplateSyntaxError
        strict = needed("jinja2", "A prompt with columns").StrictUndefined
        self._env = jinja.ImmutableSandboxedEnvironment(
            undefined=strict, finalize=self._finalized, keep_trailing_newline=True, autoescape=False
        )
        self._undefined = strict
        # Of the same row, the same request has to come again: it would be sent and paid for as a new one.
        del self._env.globals["lipsum"], self._env.filters["random"]

    def compile(self, text: str, field: str) -> Template:
        """The template ``text`` of an option or a field of the request file. Raises UsageError, with ``field``."""
        text = _LINE_END.sub("\n", text)  # as Jinja reads it
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(
                "The template holds bytes that are not UTF-8.",
                field=field,
                code="bad_template",
                next="Write it in a file in UTF-8, for --prompt-file.",
            ) from None
        if "{" not in text:
            return Template((), lambda _row: text)
        try:
            tree = self._env.parse(text)
            self._refuse_files(tree)
            pieces = self._pieces(tree)
            used = self._used(tree)
        except self._errors as error:
            line = f" on line {error.lineno}" if getattr(error, "lineno", None) and "\n" in text else ""
            raise UsageError(
                f"The template is not valid{line}: {(error.message or '').rstrip('.')}.",
                field=field,
                code="bad_template",
                next=f"Write {self._example(text)} for a column. Literal braces are written {{{{ '{{{{' }}}}.",
            ) from error
        unknown = sorted(used - self._places.keys() - {ROW} - set(self._env.globals))
        if unknown:
            raise self.no_column(unknown[0], field)
        if pieces is not None:
            return self._plain(pieces)
        if ROW in used and ROW not in self._places:
            names = frozenset(self._places)
        else:
            names = frozenset(used & self._places.keys())
        return self._general(text, names)

    def no_column(self, name: str, field: str) -> UsageError:
        """The error for a column that the table has not."""
        near = difflib.get_close_matches(name, self.columns, 1, 0.6) or [
            column
            for column in self.columns
            if column.lower() == name.lower() or (name in column and not column.isidentifier())
        ]
        hint = f"Did you mean `{near[0]}`?" if near else f"It has: {', '.join(self.columns[:30])}."
        if near and not near[0].isidentifier() and field in _TEMPLATES:
            hint += f" In a template, it is {placeholder(near[0])}."
        return UsageError(f"The table has no column `{name}`.", field=field, code="no_column", next=hint)

    def _example(self, text: str) -> str:
        """How a column is written; one of the table's that stands in ``text`` but must be written otherwise."""
        odd = (name for name in self.columns if name in text and not name.isidentifier())
        return placeholder(max(odd, key=len, default="column"))

    def _refuse_files(self, tree: Any) -> None:
        nodes = self._nodes
        for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
            raise self._syntax_error("a template is one text; it cannot include or import another", node.lineno)

    def _used(self, tree: Any) -> set[str]:
        used: set[str] = self._meta.find_undeclared_variables(tree)
        nodes = self._nodes
        for item in tree.find_all(nodes.Getitem):
            of_row = isinstance(item.node, nodes.Name) and item.node.name == ROW and ROW not in self._places
            if of_row and isinstance(item.arg, nodes.Const) and isinstance(item.arg.value, str):
                used.add(item.arg.value)
        return used

    def _pieces(self, tree: Any) -> list[str | int] | None:
        """Literal text and indexes of columns in turn, or None if the template does more."""
        pieces: list[str | int] = []
        for node in tree.body:
            if not isinstance(node, self._nodes.Output):
                return None
            for part in node.nodes:
                if isinstance(part, self._nodes.TemplateData):
                    pieces.append(part.data)
                elif (name := self._column(part)) is not None:
                    pieces.append(self._places[name])
                else:
                    return None
        return pieces

    def _column(self, part: Any) -> str | None:
        if isinstance(part, self._nodes.Name) and part.name in self._places:
            name: str = part.name
            return name
        if (
            isinstance(part, self._nodes.Getitem)
            and isinstance(part.node, self._nodes.Name)
            and part.node.name == ROW
            and isinstance(part.arg, self._nodes.Const)
            and part.arg.value in self._places
        ):
            return str(part.arg.value)
        return None

    def _plain(self, pieces: list[str | int]) -> Template:
        used = sorted({piece for piece in pieces if isinstance(piece, int)})

        def render(row: Sequence[Any]) -> str:
            texts = []
            for piece in pieces:
                if type(piece) is str:
                    texts.append(piece)
                else:
                    value = row[piece]  # type: ignore[index]
                    try:
                        texts.append(value if type(value) is str else shown(value))
                    except RenderError as error:
                        raise RenderError(f"`{self.columns[piece]}`: {error}") from error  # type: ignore[index]
            return "".join(texts)

        return Template(tuple(self.columns[at] for at in used), render, tuple(pieces))

    def _general(self, text: str, names: frozenset[str]) -> Template:
        compiled = self._env.from_string(text)
        places = [(name, at) for name, at in self._places.items() if name in names]

        def render(row: Sequence[Any]) -> str:
            values: dict[str, Any] = {name: row[at] for name, at in places}
            try:
                pieces: list[str] = []
                for piece in compiled.generate({**values, ROW: values} if ROW not in values else values):
                    pieces.append(piece)
                    if not len(pieces) % _CHECKED:
                        check()
            except (RenderError, Stopped):
                raise
            except Exception as error:
                raise RenderError(f"{type(error).__name__}: {error}") from error
            return "".join(pieces)

        return Template(tuple(name for name, _ in places), render)

    def _finalized(self, value: object) -> object:
        return value if isinstance(value, self._undefined) else shown(value)


def is_empty(value: object) -> bool:
    """Whether a value says nothing: null, white space, or an empty list or object."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value.strip()
    return isinstance(value, (list, tuple, Mapping)) and not value
