"""What an address of an object is, and what it must not hold."""

from __future__ import annotations

import pytest

from gemini_batch.errors import UsageError
from gemini_batch.objects.address import Address, is_address, needs_name, parse


@pytest.mark.parametrize(
    ("text", "root", "name"),
    [
        ("s3://bucket/a/b.jsonl", "s3://bucket", "a/b.jsonl"),
        ("S3://bucket/a", "s3://bucket", "a"),
        ("gs://my_bucket.example.com/x y/ä.csv", "gs://my_bucket.example.com", "x y/ä.csv"),
        ("az://container/a%20b", "az://container", "a%20b"),
        ("abfs://container/a", "az://container", "a"),
        ("s3://bucket/answers/", "s3://bucket", "answers"),
        ("s3://bucket", "s3://bucket", ""),
        ("file:///data/a%20b.jsonl", "file://", "data/a b.jsonl"),
        ("file://localhost/data/a", "file://", "data/a"),
    ],
)
def test_an_address_has_a_root_and_a_name(text: str, root: str, name: str) -> None:
    assert is_address(text)
    assert parse(text) == Address(root, name)


@pytest.mark.parametrize("text", ["a.jsonl", "/data/a.jsonl", "https://example.com/a", "run-k7m2q9x4", "s3:/b/a", 3])
def test_other_things_are_no_addresses(text: object) -> None:
    assert not is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://user:SECRET@bucket/a",
        "az://container/a?sig=SECRET",
        "gs://bucket/a#SECRET",
        "s3:///a",
        "s3://bu cket/a",
        "s3://bucket//a",
        "s3://bucket/a//b",
        "s3://bucket/a/../b",
        "s3://bucket/./b",
        "s3://bucket/a\nb",
        "file://elsewhere/a",
    ],
)
def test_a_wrong_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(text, field="--output")
    assert refused.value.reason_code == "bad_address"
    assert refused.value.exit_code == 2
    assert "SECRET" not in str(refused.value)
    assert text.partition(":")[0] + "://" in str(refused.value.next)


def test_a_bucket_alone_is_no_object() -> None:
    with pytest.raises(UsageError, match="no object in it"):
        needs_name(parse("s3://bucket/"))


def test_places_next_to_an_object_and_in_it() -> None:
    assert str(parse("s3://b/a/x.jsonl").sibling("x.failures.jsonl")) == "s3://b/a/x.failures.jsonl"
    assert str(parse("s3://b/x").sibling("y")) == "s3://b/y"
    assert str(parse("s3://b/answers/").inside(".lock")) == "s3://b/answers/.lock"
    assert str(parse("s3://b").inside("x")) == "s3://b/x"
