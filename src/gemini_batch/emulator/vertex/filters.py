"""The filter of a list of jobs: comparisons joined by AND, as far as they are served; every other filter is refused."""

from __future__ import annotations

import datetime as dt
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch.emulator.messages import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLAUSE = re.compile(
    r"\s*(?P<field>[A-Za-z_][A-Za-z_.0-9-]*)\s*(?P<op>!=|<=|>=|=|:|<|>)\s*"
    r'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s"()]+))\s*'
)
_AND = re.compile(r"AND\s+")
_FIELDS = {
    "display_name": "displayName",
    "displayName": "displayName",
    "state": "state",
    "model": "model",
    "create_time": "createTime",
    "createTime": "createTime",
}
_EQUAL, _ORDERED = frozenset({"=", "!="}), frozenset({"=", "!=", "<", "<=", ">", ">="})
_SERVED = {"displayName": _EQUAL | {":"}, "state": _EQUAL, "model": _EQUAL, "createTime": _ORDERED}


class Clause(NamedTuple):
    """One comparison with a field of a job as it is shown."""

    field: str
    operator: str
    value: str

    def holds(self, job: Mapping[str, Any]) -> bool:
        """Whether a job fits."""
        if self.field.startswith("labels."):
            found = (job.get("labels") or {}).get(self.field.removeprefix("labels."))
            if self.operator == ":" and self.value == "*":
                return found is not None
            return bool((found == self.value) == (self.operator != "!="))
        found = str(job.get(self.field, ""))
        if self.operator == ":":
            return fnmatchcase(found, self.value)
        if self.field == "createTime":
            return _compared(self.operator, _moment(found), _moment(self.value))
        return (found == self.value) == (self.operator == "=")


def read(text: str) -> list[Clause]:
    """The comparisons of a filter, none for an empty one. Raises :class:`errors.ApiFailure` (400)."""
    found: list[Clause] = []
    at = 0
    while text.strip() and at <= len(text):
        clause = _CLAUSE.match(text, at)
        if clause is None:
            raise _refused(text)
        found.append(_clause(text, clause))
        at = clause.end()
        if at == len(text):
            break
        joined = _AND.match(text, at)
        if joined is None:
            raise _refused(text)
        at = joined.end()
    return found


def _clause(text: str, clause: re.Match[str]) -> Clause:
    quoted, name, operator = clause["quoted"], clause["field"], clause["op"]
    value = clause["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    if name.startswith("labels.") and operator in ("=", "!=", ":"):
        return Clause(name, operator, value)
    field = _FIELDS.get(name, "")
    if not field or operator not in _SERVED[field]:
        raise _refused(text)
    if field == "createTime":
        try:
            _moment(value)
        except ValueError:
            raise _refused(text) from None
    return Clause(field, operator, value)


def _moment(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _compared(operator: str, found: dt.datetime, wanted: dt.datetime) -> bool:
    match operator:
        case "=":
            return found == wanted
        case "!=":
            return found != wanted
        case "<":
            return found < wanted
        case "<=":
            return found <= wanted
        case ">":
            return found > wanted
        case _:
            return found >= wanted


def _refused(text: str) -> errors.ApiFailure:
    return errors.invalid(f"Invalid filter: {text[:200]}")
