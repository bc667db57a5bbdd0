"""Labels that stand for keys: permitted by Google Cloud, certain, and found again in any order."""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.store.rows.labels import LABEL_BYTES, for_vertex, hash_in, label_of
from gemini_batch.store.rows.row_records import RequestRow, key_hash
from gemini_batch.store.rows.rows import Rows
from gemini_batch.vertex_place import LABEL

if TYPE_CHECKING:
    from pathlib import Path

KEYS = st.text(min_size=1)
#: cloud.google.com, *Requirements for labels*.
VALUE = re.compile(r"[a-z0-9_-]{0,63}")
NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


@given(KEYS)
def test_a_label_is_one_and_leads_to_the_row(key: str) -> None:
    label = label_of(key)
    assert VALUE.fullmatch(label)
    assert hash_in(label) == key_hash(key)
    assert NAME.fullmatch(LABEL)


@given(KEYS, KEYS)
def test_two_keys_have_two_labels(one: str, other: str) -> None:
    assert (label_of(one) == label_of(other)) == (one == other)


@pytest.mark.parametrize("label", ["", "row-1", "0" * 47, "0" * 49, "G" * 48, label_of("a").upper()])
def test_what_is_no_label_of_ours(label: str) -> None:
    assert hash_in(label) is None


@given(KEYS, st.dictionaries(st.text(), st.integers()), st.none() | st.dictionaries(st.text(), st.text()))
def test_a_line_keeps_all_that_it_has(key: str, request: dict[str, Any], labels: dict[str, str] | None) -> None:
    asked = {**request, "labels": labels}
    line = json.dumps({"key": key, "request": asked}).encode()
    made = json.loads(for_vertex(line))
    assert made == {"key": key, "request": {**asked, "labels": {**(labels or {}), LABEL: label_of(key)}}}


def test_what_a_label_adds_is_bounded() -> None:
    line = b'{"key":"a","request":{}}'
    assert len(for_vertex(line)) - len(line) < LABEL_BYTES


def test_rows_are_found_by_label(tmp_path: Path) -> None:
    keys = ["a", "b", "ä/1", "x" * 500]
    with closing(Rows(tmp_path / "rows.db")) as rows:
        rows.load(RequestRow(n, n + 1, key, key_hash(key), 10 * n, 9, False, None, 1) for n, key in enumerate(keys))
        rows.take(1, requests=9, bytes=99, tokens=None)
        for seq, key in enumerate(keys):
            found = rows.labelled(label_of(key), 1)
            assert found is not None
            assert found == rows.wanted(key, 1)
            assert found.seq == seq
        assert rows.labelled(label_of("c"), 1) is None
        assert rows.labelled(label_of("a"), 2) is None
        # The same index, another key: not this row.
        assert rows.labelled(label_of("a")[:16] + label_of("b")[16:], 1) is None


@pytest.mark.parametrize(
    ("contents", "sent"),
    [
        ([{"parts": [{"text": "a"}]}], [{"parts": [{"text": "a"}], "role": "user"}]),
        ({"parts": [], "role": None}, {"parts": [], "role": "user"}),
        ([{"role": "model", "parts": []}], [{"role": "model", "parts": []}]),
        (None, None),
    ],
)
def test_contents_have_a_role(contents: object, sent: object) -> None:
    line = json.dumps({"key": "a", "request": {"contents": contents, "generationConfig": {"temperature": 0.10}}})
    request = json.loads(for_vertex(line.encode()))["request"]
    assert request["contents"] == sent
    assert request["generationConfig"] == {"temperature": 0.1}
