"""The options that make requests of a table: the same words in the library and on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, cast

import msgspec

from gemini_batch.errors import UsageError
from gemini_batch.intake.submission import Submission
from gemini_batch.intake.tabular import TableInput
from gemini_batch.tables.making.recipe import Asked

if TYPE_CHECKING:
    import os


class ArrowStream(Protocol):
    """A table that exports an Arrow stream, as those of pandas, polars, duckdb and pyarrow do."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


class TableOptions(TypedDict, total=False):
    """What is asked of each row of a table, and how the table is read."""

    prompt: str | None
    """Template of the prompt; `{{ column }}` stands for the value of a column."""
    prompt_file: str | os.PathLike[str] | None
    """File with the template of the prompt."""
    system: str | None
    """Template of the system instruction."""
    request_file: str | os.PathLike[str] | None
    """TOML file with prompt, examples and settings."""
    kind: Literal["text", "embed", "image", "speech"] | None
    """What the answers are (`text`)."""
    temperature: float | None
    """Temperature of the answers."""
    max_output_tokens: int | None
    """Maximum tokens of an answer, thoughts included."""
    thinking: str | None
    """Level or budget of thinking: `low`, `high`, `off`, or a number of tokens."""
    tools: Sequence[str]
    """Names of built-in tools: `google-search`, `url-context`, `code-execution`, `google-maps`."""
    set: Sequence[str] | Mapping[str, Any]
    """Other settings by their path in the request; a value may be a template."""
    dimensions: int | None
    """Length of an embedding."""
    aspect_ratio: str | None
    """Aspect ratio of an image, `16:9` for example."""
    voice: str | None
    """Name of a prebuilt voice."""
    schema: Any
    """Schema of the answers: a JSON file, `module:Model`, a class, or a JSON Schema as an object."""
    schema_field: Literal["auto", "responseSchema", "responseJsonSchema"]
    """The field that tells the service the schema (`auto`)."""
    attach: str | Sequence[str]
    """Columns, or templates, with paths or URLs of files that belong to the prompt."""
    attach_root: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    """Folders from which files may be attached, besides the folder of the table."""
    key: str | Sequence[str]
    """Columns whose values identify a row; without them, the request does."""
    key_duplicates: Literal["error", "number"]
    """What to do with a key that is used twice (`error`)."""
    prefix: str | None
    """What the names of new columns begin with."""
    sql: str | None
    """Query that selects the rows, instead of a file."""
    encoding: str | None
    """Encoding of a CSV file, which is detected otherwise."""
    delimiter: str | None
    """Delimiter of a CSV file, which is detected otherwise."""


def _several(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, (str, Path)) or hasattr(value, "__fspath__") else tuple(value)


def table_input(what: object, options: TableOptions) -> TableInput | None:
    """The table that an input is, with what is asked of it; None for a file of requests. Raises UsageError."""
    unknown = options.keys() - TableOptions.__annotations__.keys()
    if unknown:
        near = difflib.get_close_matches(min(unknown), TableOptions.__annotations__, 1)
        raise TypeError(f"{min(unknown)!r} is not an option{f'; did you mean {near[0]!r}?' if near else ''}")
    stated = {name: value for name, value in options.items() if value is not None and value not in ("", (), [])}
    settings: Any = stated.get("set", ())
    if isinstance(settings, Mapping):
        settings = [f"{path}={msgspec.json.encode(value).decode()}" for path, value in settings.items()]
    path = {name: Path(cast("str", stated[name])) for name in ("prompt_file", "request_file") if name in stated}
    asked = Asked(
        **{name: stated[name] for name in Asked.__struct_fields__ if name in stated}
        | path  # type: ignore[arg-type]
        | {name: _several(stated[name]) for name in ("tools", "attach", "key") if name in stated}
        | {"set": tuple(settings), "number_duplicates": stated.get("key_duplicates") == "number"}
    )
    sql = options.get("sql")
    is_table = (
        asked.given
        or sql is not None
        or not (what is None or isinstance(what, (str, Path)) or hasattr(what, "__fspath__"))
    )
    if not is_table:
        if stated:
            option = "--" + {"prefix": "as", "tools": "tool"}.get(first := min(stated), first).replace("_", "-")
            raise UsageError(
                f"{option} is for tables, and the input is read as a file of requests.",
                field=option,
                code="no_prompt",
                next='For a table, say what to ask of each row: --prompt "Classify this review: {{ review }}"',
            )
        return None
    return TableInput(
        rows=str(what) if hasattr(what, "__fspath__") else what,
        asked=asked,
        sql=sql,
        encoding=options.get("encoding"),
        delimiter=options.get("delimiter"),
        prefix=options.get("prefix"),
        attach_roots=tuple(map(Path, _several(stated.get("attach_root", ())))),
    )


def submission(what: object, table: TableOptions, **arguments: Any) -> Submission:
    """The arguments of ``create`` or ``run``. Raises UsageError."""
    rows = table_input(what, table)
    if rows is None and what is None:
        raise UsageError(
            "There is no input.",
            code="bad_argument",
            next="Name a file, or select the rows of a table with --sql and a --prompt.",
        )
    return Submission(source=Path() if rows is not None else Path(cast("str", what)), table=rows, **arguments)


def needed_table(what: object, options: TableOptions) -> TableInput:
    """The table that an input must be. Raises UsageError."""
    found = table_input(what, options)
    if found is None or (found.rows is None and found.sql is None):
        raise UsageError(
            "There is no table." if found is not None or what is None else "There is no prompt.",
            field="--prompt",
            code="no_prompt",
            next='Name a table, and say what to ask of each row: --prompt "Classify this review: {{ review }}"',
        )
    return found


def names_run(what: object) -> bool:
    """Whether an input names a known run, or one of its jobs, instead of a file or a table."""
    return isinstance(what, str) and what.startswith(("run-", "batches/")) and not Path(what).exists()


def refuse_table(run: str, table: TableOptions) -> None:
    """Refuse options for a table with a known run, which has its requests. Raises UsageError."""
    if any(value not in (None, "", (), []) for value in table.values()):
        raise UsageError(
            f"{run} has its requests already; options for a table make new ones.",
            code="bad_argument",
            next="Leave them out, or name the table instead of the run.",
        )
