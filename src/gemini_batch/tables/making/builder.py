"""From a row to its request, or to the reason why none is sent."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gemini_batch.errors import UsageError
from gemini_batch.tables.making.keys import from_columns
from gemini_batch.tables.making.recipe import Kind
from gemini_batch.tables.making.settings import Varying
from gemini_batch.tables.making.template import RenderError, Templates, is_empty, placeholder, shown
from gemini_batch.tables.sources import duck

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gemini_batch.tables.making.recipe import Recipe
    from gemini_batch.tables.making.template import Template

_encode = msgspec.json.Encoder().encode
#: Types whose values duckdb shows as :func:`shown` does.
_PLAIN_TYPES = {
    "VARCHAR",
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
}
#: A character that is certainly no white space, and one that is not escaped in the same way everywhere.
_VISIBLE, _ODD = r"[\p{L}\p{N}\p{P}\p{S}]", r"[\x00-\x07\x0B\x0E-\x1F]"
#: Columns of our own in a table that an earlier command wrote.
_VERDICT, _PROBLEM = "verdict", "problem"


class Skipped(NamedTuple):
    """Why a row is not sent: a reason code and a sentence."""

    reason: str
    message: str


class RowError(ValueError):
    """A row from which no request can be made; ``field`` is the option or column that is at fault."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class Builder:
    """Makes the requests of a table with these ``columns``.

    ``problems``: the columns in which an earlier command said what is wrong; by default, those that look like it.
    ``attach`` turns the path or URL of an attachment into a part of the request. Raises UsageError for a recipe that
    does not fit the table.
    """

    def __init__(
        self,
        recipe: Recipe,
        columns: Sequence[str],
        *,
        attach: Callable[[str], bytes | Skipped | None] | None = None,
        problems: Sequence[str] | None = None,
    ) -> None:
        self.recipe = recipe
        self.columns = tuple(columns)
        self._attach = attach
        self._templates = templates = Templates(columns)
        self._prompt = templates.compile(recipe.prompt, "--prompt")
        self._system = templates.compile(recipe.system, "--system") if recipe.system else None
        self._examples = [
            (templates.compile(one.user, "examples.user"), templates.compile(one.model, "examples.model"))
            for one in recipe.examples
        ]
        self._settings = Varying(recipe.settings, templates, "settings")
        self._attachments = [self._attachment(one) for one in recipe.attach]
        self._key = [self._place(name, "--key") for name in recipe.key]
        self.problems = problem_columns(columns) if problems is None else problems
        self._problems = [self.columns.index(name) for name in self.problems]
        self._says = [self._place(name, "--prompt") for name in self._prompt.columns]
        if not self._prompt.columns and not self._attachments:
            raise UsageError(
                "The prompt uses no column, so it would be the same for every row.",
                field="--prompt",
                code="no_column",
                next=f"Write {{{{ column }}}} where a row's value belongs, for example {placeholder(self.columns[0])}.",
            )
        #: How many of the rows that are sent have a null in a column of the prompt.
        self.nulls: Counter[str] = Counter()
        fixed = not self._settings.varies and (self._system is None or not self._system.columns)
        self._tail = self._rest(()) if fixed else None
        self._embed = recipe.kind is Kind.EMBED

    def expression(self, types: Mapping[str, str]) -> str | None:
        """SQL for what :meth:`body` returns, for a table whose columns have these types of duckdb.

        It is NULL for a row that only :meth:`body` can judge: with a null, without text, or with characters that
        duckdb escapes in another way. None if the prompt is more than text and columns, or something else varies.
        """
        pieces = self._prompt.pieces
        fixed = not any(template.columns for pair in self._examples for template in pair)
        if pieces is None or self._tail is None or self._problems or self._attachments or not fixed:
            return None
        used = {self.columns[at]: types[self.columns[at]] for at in self._says}
        texts = [name for name, kind in used.items() if kind == "VARCHAR"]
        if not texts or not set(used.values()) <= _PLAIN_TYPES:
            return None
        shown = [duck.text(piece) if isinstance(piece, str) else duck.name(self.columns[piece]) for piece in pieces]
        prompt = f"concat({', '.join(shown)})"
        good = [f"{duck.name(name)} IS NOT NULL" for name in used]
        good += [f"regexp_matches({duck.name(texts[0])}, '{_VISIBLE}')", f"NOT regexp_matches({prompt}, '{_ODD}')"]
        before = b'{"content":{' if self._embed else b'{"contents":[' + self._turns(()) + b'{"role":"user",'
        after = b"}]}" + (b"" if self._embed else b"]") + self._tail
        parts = [duck.text((before + b'"parts":[{"text":').decode()), f"to_json({prompt})", duck.text(after.decode())]
        return f"CASE WHEN {' AND '.join(good)} THEN concat({', '.join(parts)}) END"

    def narrowed(self) -> Builder:
        """The same for rows that have only the columns that are looked at, in the order of the table."""
        used = {*self._prompt.columns, *self._settings.columns, *self.recipe.key}
        used |= set(self.problems)
        for one in (self._system, *(template for pair in self._examples for template in pair), *self._attachments):
            used |= set(one.columns) if one is not None else set()
        needed = [name for name in self.columns if name in used]
        return Builder(self.recipe, needed, attach=self._attach, problems=self.problems) if needed else self

    def key(self, row: Sequence[Any]) -> str | None:
        """The key of a row from its key columns; None if it is derived from the request. Raises RowError."""
        if not self._key:
            return None
        try:
            return from_columns(row, self._key)
        except RenderError as error:
            raise RowError(f"the key has no value: {error}", "|".join(self.recipe.key)) from error

    def body(self, row: Sequence[Any]) -> bytes | Skipped:
        """The request of a row, as JSON, or why none is sent. Raises RowError."""
        if (earlier := self._earlier(row)) is not None:
            return earlier
        parts = self._parts(row)
        if isinstance(parts, Skipped):
            return parts
        if not parts and all(is_empty(row[at]) for at in self._says):
            return Skipped("EMPTY_PROMPT", self._nothing())
        text = self._rendered(self._prompt, row, "--prompt")
        if not parts and not text.strip():
            return Skipped("EMPTY_PROMPT", "The prompt comes out empty.")
        for at in self._says:
            if row[at] is None:
                self.nulls[self.columns[at]] += 1
        if text.strip():
            parts.append(b'{"text":' + self._json(text, "--prompt") + b"}")
        content = b'"parts":[' + b",".join(parts) + b"]}"
        tail = self._rest(row) if self._tail is None else self._tail
        if self._embed:
            return b'{"content":{' + content + tail
        return b'{"contents":[' + self._turns(row) + b'{"role":"user",' + content + b"]" + tail

    def _earlier(self, row: Sequence[Any]) -> Skipped | None:
        """What an earlier command had against the row, if the table is its output."""
        for at in self._problems:
            if not is_empty(row[at]):
                return Skipped("EARLIER_PROBLEM", f"An earlier step had a problem with this row: {shown(row[at])}")
        return None

    def _nothing(self) -> str:
        names = [self.columns[at] for at in self._says]
        if self.recipe.attach:
            return "The row has no attachment." if not names else f"{_listed(names)} and the attachment are empty."
        return f"{_listed(names)} {'is' if len(names) == 1 else 'are'} empty."

    def _turns(self, row: Sequence[Any]) -> bytes:
        made = b""
        for user, model in self._examples:
            for role, template in (("user", user), ("model", model)):
                text = self._json(self._rendered(template, row, f"examples.{role}"), "examples")
                made += b'{"role":"' + role.encode() + b'","parts":[{"text":' + text + b"}]},"
        return made

    def _rest(self, row: Sequence[Any]) -> bytes:
        """The fields of the request that follow its contents, and the closing brace."""
        try:
            fields = self._settings.of(row)
        except RenderError as error:
            raise RowError(str(error), "settings") from error
        if self._system is not None:
            text = self._rendered(self._system, row, "--system")
            if text.strip():
                fields = {"systemInstruction": {"parts": [{"text": text}]}, **fields}
        try:
            return b"," + _encode(fields)[1:] if fields else b"}"
        except (TypeError, UnicodeEncodeError, msgspec.EncodeError) as error:
            raise RowError(str(error), "settings") from error

    def _rendered(self, template: Template, row: Sequence[Any], field: str) -> str:
        try:
            return template.render(row)
        except RenderError as error:
            raise RowError(str(error), field) from error

    def _json(self, text: str, field: str) -> bytes:
        try:
            return _encode(text)
        except UnicodeEncodeError as error:
            raise RowError("the text has half of a surrogate pair", field) from error

    def _attachment(self, text: str) -> Template:
        """A column by its name, or a template."""
        if text in self.columns:
            text = "{{ row[" + msgspec.json.encode(text).decode() + "] }}"
        elif "{" not in text:
            raise self._templates.no_column(text, "--attach")
        return self._templates.compile(text, "--attach")

    def _parts(self, row: Sequence[Any]) -> list[bytes] | Skipped:
        """The attachments of a row, as JSON, or why it is not sent."""
        parts = []
        for template in self._attachments:
            for cell in self._cells(template, row):
                part = self._attached(cell)
                if isinstance(part, Skipped):
                    return part
                if part is not None:
                    parts.append(part)
        return parts

    def _cells(self, template: Template, row: Sequence[Any]) -> Sequence[str]:
        """The paths or URLs that a row attaches: one, or those of a list; none where the columns are empty."""
        if all(is_empty(row[self._place(name, "--attach")]) for name in template.columns):
            return ()
        value = None if template.whole is None else row[template.whole]
        if isinstance(value, str):
            value = _list_in(value)
        if isinstance(value, (list, tuple)):
            return [shown(one) for one in value if one is not None]
        return (self._rendered(template, row, "--attach"),)

    def _attached(self, cell: str) -> bytes | Skipped | None:
        if self._attach is None:
            raise UsageError("Attachments are not supported here.", field="--attach", code="bad_argument")
        return self._attach(cell)

    def _place(self, name: str, field: str) -> int:
        try:
            return self.columns.index(name)
        except ValueError:
            raise self._templates.no_column(name, field) from None


def _list_in(text: str) -> list[str] | None:
    """The texts of a JSON list, as a table in CSV or SQLite holds a list of paths; None for any other text."""
    if not text.startswith('["'):
        return None
    try:
        return msgspec.json.decode(text, type=list[str])
    except msgspec.DecodeError:
        return None


def problem_columns(columns: Sequence[str]) -> list[str]:
    """The columns of a table in which an earlier command said what is wrong with a row."""
    return [name for name in columns if name.endswith(_PROBLEM) and name.removesuffix(_PROBLEM) + _VERDICT in columns]


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{', '.join(f'`{name}`' for name in names[:4])} and {len(names) - 4} more"
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
