"""``docs/reference/json.md``: every field of every document that ``--json`` prints, from the types in the source."""

from __future__ import annotations

import ast
import re

from reference.kinds import NEXT_WHY, Kind, fields, kinds, objects, words
from reference.source import classes, modules

#: The type of ``result`` for each command that has ``--json``, and the module in which its names are known.
RESULTS = {
    "create": ("gemini_batch.commands.create", "Created"),
    "status": ("gemini_batch.report.job_view", "JobStatus | RunStatus"),
    "results": ("gemini_batch.report.summary", "Summary"),
    "run": ("gemini_batch", "Summary | ShardsSummary"),
    "retry": ("gemini_batch.report.summary", "Summary"),
    "show": ("gemini_batch.commands.show", "ShownRun"),
    "report": ("gemini_batch.report.spending.sums", "SpendReport"),
    "list": ("gemini_batch.report.job_view", "list[JobStatus]"),
    "adopt": ("gemini_batch.commands.adopt", "Adopted"),
    "cancel": ("gemini_batch.commands.cancel", "Cancelled"),
    "clean": ("gemini_batch.commands.clean", "Cleaned"),
    "estimate": ("gemini_batch.commands.estimate", "Estimate"),
    "prepare": ("gemini_batch.commands.prepare", "PreparedFile"),
    "validate": ("gemini_batch.commands.validate", "Validated"),
    "models": ("gemini_batch.cli.models", "list[ModelFacts]"),
    "listen": ("gemini_batch.cli.listen", "Received"),
    "doctor": ("gemini_batch.commands.doctor", "Diagnosis"),
    "skill": ("gemini_batch.commands.skill", "InstalledSkill"),
}
EVENTS = ("gemini_batch.events", "Event")
ROW = ("gemini_batch.commands.shown_row", "ShownRow")
DELIVERY = ("gemini_batch.webhooks.signatures", "Delivery")
PROBLEM = ("gemini_batch.errors", "Problem")
#: Fields of a document besides ``version``, ``command`` and ``result``.
ALSO = {
    "status": ("exit_code",),
    "results": ("exit_code", "output", "preview"),
    "run": ("exit_code", "output"),
    "retry": ("exit_code", "output"),
    "validate": ("exit_code",),
    "models": ("date",),
    "listen": ("exit_code",),
    "doctor": ("exit_code",),
    "adopt": ("exit_code",),
}
ERROR_FIELDS = {
    "code": ("string", "One of the [error codes](error-codes.md)."),
    "message": ("string", "What happened."),
    "file": ("string or null", "File in which it happened."),
    "line": ("integer or null", "Line of that file, from 1."),
    "field": ("string or null", "Path of the field inside the line, or the option or variable."),
    "next": ("string or null", "What to do next: a command or a sentence."),
    "next_why": ("string or null", NEXT_WHY),
}
INVALID_INPUT_FIELDS = {
    "total": ("integer", "With the code `invalid_input`: number of errors."),
    "warnings": ("integer", "With the code `invalid_input`: number of warnings, which are among `problems`, too."),
    "problems": ("list of [Problem](#problem)", "With the code `invalid_input`: the problems."),
}

INTRODUCTION = """\
# JSON output

With `--json`, a command prints one document on one line of stdout, also if it fails. `run` and `retry` print events
before it, and `show` prints rows, one per line. Ignore fields that you do not know: later versions may add some.

This page is generated; `make docs-reference` writes it. The lines that `results -o FILE` writes have
[their own page](../result-line.md).

## Documents

| field | type | meaning |
| --- | --- | --- |
| `version` | integer | 1. |
| `command` | string | The command. |
| `result` | see below | The outcome. Absent if there is an `error`. |
| `error` | [Error](#error) | Why the command failed. Absent if there is a `result`. |
| `exit_code` | integer | The [exit code](../exit-codes.md) of the command. |
| `output` | string or null | The file given with `-o`. |
| `preview` | list of [result lines](../result-line.md) or null | The first 20 result lines, if `-o` was not given. |
| `date` | string | Day on which the newest fact of the catalog was checked. |

| command | `result` | further fields |
| --- | --- | --- |
"""

EVENT_INTRODUCTION = """
## Events

`run` and `retry` print events while they work: `version`, `event`, and the fields of the event. Their last line is the
document.

| `event` | fields |
| --- | --- |
"""


def page() -> str:
    """The whole page. Raises LookupError for a field without a docstring."""
    parts = [INTRODUCTION]
    for command in RESULTS:
        more = ", ".join(f"`{name}`" for name in ALSO.get(command, ()))
        parts.append(f"| `{command}` | {words(result_of(command))} | {more} |\n")
    parts.append(EVENT_INTRODUCTION)
    parts += [f"| `{name}` | {words((kind,))} |\n" for name, kind in events().items()]
    parts.append(f"\n`show` prints an event `row` for each row, and the document last: {words(_read(*ROW))}.\n")
    parts.append(f"\n`listen` prints an event `delivery` for each verified delivery: {words(_read(*DELIVERY))}.\n")
    parts.append("Without `--json`, it prints the same lines and no document after them.\n")
    parts.append("\n## Objects\n\nTimes are ISO 8601 in UTC and durations are seconds, unless stated otherwise.\n")
    parts.append("\n### Error\n\nWhy a command failed.\n\n| field | type | meaning |\n| --- | --- | --- |\n")
    error = {**ERROR_FIELDS, **INVALID_INPUT_FIELDS}
    parts += [f"| `{name}` | {kind} | {meaning} |\n" for name, (kind, meaning) in error.items()]
    parts += [_object(kind) for kind in _all_objects()]
    return "".join(parts)


def result_of(command: str) -> tuple[Kind, ...]:
    """The types that a command's ``result`` can have."""
    return _read(*RESULTS[command])


def events() -> dict[str, Kind]:
    """The events by their names in JSON."""
    return {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.value).lower(): kind for kind in _read(*EVENTS)}


def _read(module: str, annotation: str) -> tuple[Kind, ...]:
    return kinds(ast.parse(annotation, mode="eval").body, module)


def _all_objects() -> list[Kind]:
    found = [kind for command in RESULTS for kind in objects(result_of(command))]
    found += [
        *objects(_read(*ROW)),
        *objects(_read(*DELIVERY)),
        *objects(_read(*PROBLEM)),
        *objects(tuple(events().values())),
    ]
    return sorted(dict.fromkeys(found), key=lambda kind: kind.value)


def _object(kind: Kind) -> str:
    node = classes(modules()[kind.module])[kind.value]
    about = (ast.get_docstring(node) or "").split("\n\n")[0].replace("``", "`").replace("\n", " ")
    rows = "".join(f"| `{one.name}` | {words(one.kinds)} | {one.meaning} |\n" for one in fields(kind))
    return f"\n### {kind.value}\n\n{about}\n\n| field | type | meaning |\n| --- | --- | --- |\n{rows}"
