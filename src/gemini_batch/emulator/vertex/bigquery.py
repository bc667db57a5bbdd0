"""The calls of the stand-in for BigQuery: those that its Python client sends for datasets, tables and rows."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.emulator.messages.calls import Call, Reply
from gemini_batch.emulator.vertex.storage.api import body, fitting
from gemini_batch.emulator.vertex.storage.failures import CloudFailure
from gemini_batch.emulator.vertex.tables import Place, Tables, cells, columns_of, milliseconds

if TYPE_CHECKING:
    import sqlite3

#: What makes a table one whose rows are not stored as such; the stand-in has none.
_NO_TABLES = ("view", "materializedView", "externalDataConfiguration", "snapshotDefinition", "cloneDefinition")
#: The most bytes of rows in one answer, about.
_PAGE = 8 << 20
_TYPES = frozenset(
    {
        *("STRING", "BYTES", "INTEGER", "INT64", "FLOAT", "FLOAT64", "NUMERIC", "BIGNUMERIC", "BOOLEAN", "BOOL"),
        *("TIMESTAMP", "DATE", "TIME", "DATETIME", "RECORD", "STRUCT", "JSON"),
    }
)


class _Column(msgspec.Struct):
    name: str
    type: str
    mode: str = "NULLABLE"
    fields: list[_Column] = []


class _Schema(msgspec.Struct, frozen=True):
    fields: list[_Column] = []


class _Table(msgspec.Struct):
    schema: _Schema = _Schema()


class _Row(msgspec.Struct):
    json: dict[str, Any]


class _Rows(msgspec.Struct):
    rows: list[_Row] = []


class BigQuery:
    """The methods of one emulator's stand-in."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def create_dataset(self, call: Call) -> Reply:
        """Create a dataset."""
        asked, project = body(call), call.names["project"]
        name = _id(asked.get("datasetReference"), "datasetId")
        given = _given(asked, "labels", "description", "friendlyName", "location")
        self._tables.add_dataset(project, name, given)
        return Reply.json(_dataset(self._tables.dataset(project, name), call.base))

    def get_dataset(self, call: Call) -> Reply:
        """One dataset."""
        return Reply.json(_dataset(self._tables.dataset(call.names["project"], call.names["dataset"]), call.base))

    def list_datasets(self, call: Call) -> Reply:
        """All datasets of a project, in one page."""
        rows = self._tables.store.rows("SELECT * FROM datasets WHERE project = ? ORDER BY id", (call.names["project"],))
        return Reply.json({"kind": "bigquery#datasetList", "datasets": [_dataset(row, call.base) for row in rows]})

    def delete_dataset(self, call: Call) -> Reply:
        """Delete a dataset; with tables only if the query says ``deleteContents``."""
        project, name = call.names["project"], call.names["dataset"]
        self._tables.dataset(project, name)
        tables = self._of(project, name)
        if tables and call.text("deleteContents").lower() != "true":
            raise CloudFailure(400, "resourceInUse", f"Dataset {project}:{name} is still in use")
        for row in tables:
            self._tables.delete(Place(project, name, row["id"]))
        with self._tables.store.transaction() as db:
            db.execute("DELETE FROM datasets WHERE project = ? AND id = ?", (project, name))
        return Reply(b"", 204, {})

    def create_table(self, call: Call) -> Reply:
        """Create a table with a schema."""
        asked = body(call)
        place = Place(call.names["project"], call.names["dataset"], _id(asked.get("tableReference"), "tableId"))
        for name in _NO_TABLES:
            if asked.get(name):
                raise CloudFailure(501, "notImplemented", f"The emulator does not serve tables with {name}.")
        columns = fitting(asked, _Table).schema.fields
        for column in columns:
            if column.type not in _TYPES:
                raise CloudFailure(400, "invalid", f"Invalid value for type: {column.type} is not a valid value")
        given = _given(asked, "labels", "description", "friendlyName")
        return Reply.json(_table(self._tables.add(place, msgspec.to_builtins(columns), given), call.base))

    def get_table(self, call: Call) -> Reply:
        """One table, with its schema and its number of rows."""
        return Reply.json(_table(self._tables.get(_place(call)), call.base))

    def list_tables(self, call: Call) -> Reply:
        """All tables of a dataset, in one page."""
        project, name = call.names["project"], call.names["dataset"]
        self._tables.dataset(project, name)
        rows = self._of(project, name)
        shown = [_table(row, call.base) for row in rows]
        return Reply.json({"kind": "bigquery#tableList", "tables": shown, "totalItems": len(rows)})

    def delete_table(self, call: Call) -> Reply:
        """Delete a table."""
        self._tables.delete(_place(call))
        return Reply(b"", 204, {})

    def insert_all(self, call: Call) -> Reply:
        """Add rows, all or none. One with a column that the table lacks is refused, unless such values are ignored."""
        asked, place = body(call), _place(call)
        columns = columns_of(self._tables.get(place))
        names = {column["name"] for column in columns}
        rows = [one.json for one in fitting(asked, _Rows).rows]
        refused: list[dict[str, Any]] = []
        for number, row in enumerate(rows):
            if unknown := sorted(row.keys() - names):
                if asked.get("ignoreUnknownValues"):
                    rows[number] = {name: value for name, value in row.items() if name in names}
                    continue
                error = {"reason": "invalid", "location": unknown[0], "message": f"no such field: {unknown[0]}."}
                refused.append({"index": number, "errors": [error]})
            elif said := _misfit(columns, row):
                refused.append({"index": number, "errors": [{"reason": "invalid", "message": said}]})
        kind = {"kind": "bigquery#tableDataInsertAllResponse"}
        if refused:
            return Reply.json({**kind, "insertErrors": refused})
        self._tables.append(place, rows)
        return Reply.json(kind)

    def list_rows(self, call: Call) -> Reply:
        """The rows of a table, in pages."""
        row = self._at_a_time(call)
        columns = columns_of(row)
        if wanted := call.text("selectedFields"):
            columns = [column for column in columns if column["name"] in wanted.split(",")]
        micros = call.query.get("formatOptions.useInt64Timestamp", "").lower() == "true"
        size = call.number("maxResults", 10_000, most=100_000)
        skip = 0 if call.text("pageToken") else call.number("startIndex", 0, most=2**31)
        begin = end = _offset(call.text("pageToken"))
        found: list[dict[str, Any]] = []
        for end, one in self._tables.read(row, begin):
            if skip:
                skip -= 1
                continue
            found.append({"f": cells(columns, one, whole_seconds=micros)})
            if len(found) == size or end - begin >= _PAGE:
                break
        answer: dict[str, Any] = {
            "kind": "bigquery#tableDataList",
            "etag": f"{row['blob']}/{row['size']}",
            "totalRows": str(row["rows"]),
        }
        if found:
            answer["rows"] = found
        if end < row["size"]:
            answer["pageToken"] = base64.urlsafe_b64encode(str(end).encode()).decode()
        return Reply.json(answer)

    def _at_a_time(self, call: Call) -> sqlite3.Row:
        """The table whose rows are asked for, also as ``table@milliseconds``."""
        place = _place(call)
        name, mark, moment = place.table.partition("@")
        row = self._tables.get(place._replace(table=name))
        if mark:
            now = int(milliseconds(self._tables.clock.now()))
            if not moment.isdecimal() or not int(milliseconds(row["created"])) <= int(moment) <= now:
                raise CloudFailure(400, "invalid", f"Invalid snapshot time {moment} for table {place.shown}.")
            if int(milliseconds(row["updated"])) > int(moment):
                raise CloudFailure(400, "invalid", "The stand-in for BigQuery keeps no history of tables.")
        return row

    def _of(self, project: str, dataset: str) -> list[sqlite3.Row]:
        return self._tables.store.rows(
            "SELECT * FROM bigquery_tables WHERE project = ? AND dataset = ? ORDER BY id", (project, dataset)
        )


def _given(asked: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: asked[name] for name in names if name in asked}


def _misfit(columns: list[dict[str, Any]], row: dict[str, Any]) -> str:
    """Why a row does not fit its table; empty if it does. JSON that was sent as text becomes a value."""
    try:
        for column in columns:
            value = row.get(column["name"])
            if column["type"] == "JSON" and isinstance(value, str):
                row[column["name"]] = json.loads(value)
        cells(columns, row, whole_seconds=True)
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        return f"The row does not fit the table: {error}"
    return ""


def _place(call: Call) -> Place:
    return Place(call.names["project"], call.names["dataset"], call.names["table"])


def _id(reference: Any, name: str) -> str:
    value = reference.get(name) if isinstance(reference, dict) else None
    if not isinstance(value, str) or not value.replace("_", "").replace("-", "").isalnum():
        raise CloudFailure(400, "invalid", f'Invalid {name} "{value}".')
    return value


def _offset(token: str) -> int:
    if not token:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token))
    except ValueError:
        raise CloudFailure(400, "invalid", "Invalid page token.") from None


def _dataset(row: sqlite3.Row, base: str) -> dict[str, Any]:
    project, name, at = row["project"], row["id"], milliseconds(row["created"])
    return {
        "location": "US",
        **json.loads(row["given"]),
        "kind": "bigquery#dataset",
        "etag": at,
        "id": f"{project}:{name}",
        "selfLink": f"{base}/bigquery/v2/projects/{project}/datasets/{name}",
        "datasetReference": {"datasetId": name, "projectId": project},
        "creationTime": at,
        "lastModifiedTime": at,
        "type": "DEFAULT",
    }


def _table(row: sqlite3.Row, base: str) -> dict[str, Any]:
    project, dataset, name = row["project"], row["dataset"], row["id"]
    return {
        **json.loads(row["given"]),
        "kind": "bigquery#table",
        "etag": f"{row['blob']}/{row['size']}",
        "id": f"{project}:{dataset}.{name}",
        "selfLink": f"{base}/bigquery/v2/projects/{project}/datasets/{dataset}/tables/{name}",
        "tableReference": {"projectId": project, "datasetId": dataset, "tableId": name},
        "schema": {"fields": columns_of(row)},
        "numBytes": str(row["size"]),
        "numRows": str(row["rows"]),
        "creationTime": milliseconds(row["created"]),
        "lastModifiedTime": milliseconds(row["updated"]),
        "type": "TABLE",
        "location": "US",
    }
