"""What is decided about tables of BigQuery, without any library for them."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from gemini_batch.errors import UsageError
from gemini_batch.objects.address import is_address, is_table, parse
from gemini_batch.objects.bigquery.policy import (
    JobSeen,
    Loaded,
    TableAddress,
    TableSeen,
    check_names,
    content_of,
    job_id,
    judge,
    parse_table,
    snapshot_time,
    wrote,
)

AT = 1_790_000_000_000
TABLE = TableSeen(created=AT, modified=AT + 5000, rows=3, kind="TABLE", streaming=False, columns=2, location="EU")
JOB = JobSeen(done=True, error="", begun=AT + 4000, ended=AT + 6000, rows=3)


def changed(what: TableSeen | JobSeen, **fields: object) -> object:
    return msgspec.structs.replace(what, **fields)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("bq://my-project.shop.products", ("my-project", "shop", "products")),
        ("BQ://my-project.shop.products", ("my-project", "shop", "products")),
        ("bq://example.com:my-project.shop.products", ("example.com:my-project", "shop", "products")),
        ("bq://my-project.shop.new products-2", ("my-project", "shop", "new products-2")),
        ("bq://my-project.shop.größen", ("my-project", "shop", "größen")),
    ],
)
def test_addresses(text: str, parts: tuple[str, str, str]) -> None:
    assert is_address(text)
    assert is_table(text)
    assert parse_table(text) == TableAddress(*parts)
    assert str(parse_table(text)) == f"bq://{'.'.join(parts)}"


@pytest.mark.parametrize(
    "text",
    [
        *("bq://a.b", "bq://", "bq://project.dataset.", "bq://project..table", "bq://project.dataset.table$20260101"),
        *("bq://project.dataset.table@1", "bq://project.dataset.events_*", "bq://project/dataset/table"),
        *("bq://u:secret@project.dataset.table", "bq://project.data-set.table", "bq://project.dataset.table/"),
        "bq://project.dataset.table\n",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_table(text, field="--output")
    assert (refused.value.reason_code, refused.value.field) == ("bad_address", "--output")
    assert "bq://project.dataset.table" in str(refused.value.as_json()["next"])
    assert "secret" not in str(refused.value.as_json())


def test_a_table_is_no_object() -> None:
    with pytest.raises(UsageError, match="is no file") as refused:
        parse("bq://project.dataset.table")
    assert refused.value.reason_code == "bad_address"
    assert "retry, results and adopt" in str(refused.value.next)


@pytest.mark.parametrize("now", [0, AT / 1000, AT / 1000 + 400, AT / 1000 + 10_000_000])
def test_the_moment_of_a_table(now: float) -> None:
    """It is not before the table was as it was seen, nor after now, though a clock may be five minutes ahead."""
    moment = snapshot_time(TABLE, now)
    assert moment > TABLE.modified
    assert moment == TABLE.modified + 1 or moment <= now * 1000 - 300_000


def test_the_same_file_into_the_same_table_is_the_same_job() -> None:
    ids = {job_id("bq://a.b.c", "1" * 64, 0), job_id("bq://a.b.c", "1" * 64, 1), job_id("bq://a.b.c", "2" * 64, 0)}
    assert len({*ids, job_id("bq://a.b.d", "1" * 64, 0)}) == 4
    assert job_id("bq://a.b.c", "1" * 64, 0) in ids
    assert all(one.replace("-", "").isalnum() for one in ids)


def test_a_job_that_wrote_the_table_as_it_is() -> None:
    assert wrote(JOB, TABLE)
    assert not wrote(JOB, None)
    for job in (changed(JOB, done=False), changed(JOB, error="no"), changed(JOB, rows=2)):
        assert not wrote(job, TABLE)  # type: ignore[arg-type]
    for modified in (AT, AT + 60_000):
        assert not wrote(JOB, changed(TABLE, modified=modified))  # type: ignore[arg-type]


def test_what_comes_of_a_job() -> None:
    assert judge(None, TABLE) == judge(None, None) == "load"
    assert judge(changed(JOB, done=False), None) == "wait"  # type: ignore[arg-type]
    assert judge(JOB, TABLE) == "written"
    assert judge(JOB, None) == "next"
    assert judge(changed(JOB, error="no"), TABLE) == "next"  # type: ignore[arg-type]


def test_whose_a_table_is() -> None:
    ours, other = hashlib.sha256(b"ours").hexdigest(), hashlib.sha256(b"other").hexdigest()
    assert content_of(Loaded(sha256=ours, modified=TABLE.modified), TABLE, None) == ours
    assert content_of(Loaded(sha256=ours, modified=TABLE.modified - 1), TABLE, None) is None
    assert content_of(Loaded(), TABLE, None) is None
    # A process was killed before it could record what its job did.
    before = Loaded(sha256=other, modified=AT, loading=ours)
    assert content_of(before, TABLE, JOB) == ours
    assert content_of(before, TABLE, None) is None
    assert content_of(before, changed(TABLE, modified=AT), None) == other  # type: ignore[arg-type]


def test_names_of_columns() -> None:
    check_names(["sku", "Größe", "two words", "a-b", "_x", "x" * 300])
    for names in (["a.b"], ["name (EUR)"], ["x" * 301], [" "], ["_PARTITIONTIME"], ["_table_x"], ["text", "Text"]):
        with pytest.raises(UsageError) as refused:
            check_names(names)
        assert (refused.value.reason_code, refused.value.field) == ("bad_output", "--output")
