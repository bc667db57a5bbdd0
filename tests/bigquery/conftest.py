"""A stand-in for BigQuery with a dataset, seen through Google's client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch.emulator.http.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.emulator.http.server import Running

PROJECT = "a-project"


@dataclass
class Dataset:
    """A dataset of its own for each test."""

    client: Any
    name: str
    url: str

    def __truediv__(self, table: str) -> str:
        return f"bq://{PROJECT}.{self.name}.{table}"

    def id(self, table: str) -> str:
        return f"{PROJECT}.{self.name}.{table}"

    def put(self, table: str, columns: dict[str, str], *rows: dict[str, Any]) -> str:
        """A table with these columns and rows; its address."""
        from google.cloud import bigquery

        fields = [bigquery.SchemaField(name, kind) for name, kind in columns.items()]
        made = self.client.create_table(bigquery.Table(self.id(table), schema=fields))
        if rows:
            assert self.client.insert_rows_json(made, rows) == []
        return self / table

    def rows(self, table: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self.client.list_rows(self.client.get_table(self.id(table)))]

    def names(self) -> list[str]:
        return sorted(one.table_id for one in self.client.list_tables(f"{PROJECT}.{self.name}"))


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serve(tmp_path_factory.mktemp("bigquery")) as found:
        yield found


@pytest.fixture
def dataset(stand_in: Running, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Dataset]:
    bigquery = pytest.importorskip("google.cloud.bigquery", reason="`make bigquery` runs it")
    from google.auth.credentials import AnonymousCredentials

    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", stand_in.url)
    client = bigquery.Client(project=PROJECT, credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
    name = f"d{abs(hash(request.node.nodeid))}"
    client.create_dataset(f"{PROJECT}.{name}")
    yield Dataset(client, name, stand_in.url)
    client.delete_dataset(f"{PROJECT}.{name}", delete_contents=True)
    client.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("markexpr") == "bigquery_home":
        return
    for item in items:
        if item.get_closest_marker("bigquery_home"):
            item.add_marker(pytest.mark.skip(reason="bigquery_home: `make bigquery` runs it"))
