"""Whatever happens between the nights, each row is paid for once, and every file's results are complete and right."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from memory.nights import Home, Row, answers, right

#: Each example plays whole nights over real databases.
EXAMPLES = settings(max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "25")))
KEYS = st.sampled_from([f"k{number}" for number in range(8)])
TEXTS = st.sampled_from(["red", "green", "blue"])
FILES = st.dictionaries(KEYS, TEXTS, min_size=1, max_size=8).flatmap(lambda rows: st.permutations(sorted(rows.items())))


class Draws:
    """What a person may do with the file of a night."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw

    def file(self) -> list[Row]:
        return self._draw(FILES, label="file")  # type: ignore[no-any-return]

    def number(self, least: int, most: int, label: str) -> int:
        return int(self._draw(st.integers(least, most), label=label))

    def chance(self, label: str) -> bool:
        return bool(self._draw(st.booleans(), label=label))


@EXAMPLES
@given(data=st.data())
def test_each_row_is_paid_for_once(data: st.DataObject) -> None:
    """Rows come, go, change and move; keys rotate; trials come first; processes die; other runs are alive."""
    person = Draws(data.draw)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        for _ in range(person.number(1, 4, "nights")):
            rows = person.file()
            if person.chance("another key"):
                home.key += "'"
            if person.chance("somebody else's job is alive"):
                home.create(person.file(), name="other")
            most = person.number(1, 8, "requests a job")
            if person.chance("trial first"):
                count = person.number(1, 8, "limit")
                tried = home.run(rows, most=most, limit=count)
                assert set(answers(tried)) >= set(right(rows[:count]))
            if person.chance("by create"):
                home.create(rows)
            if person.chance("killed"):
                call, after = person.number(0, 12, "call"), person.chance("after")
                home.killed(call, "after" if after else "before", lambda: home.run(rows, most=most))  # noqa: B023
            found = home.run(rows, most=most)

            assert answers(found) == right(rows)
            assert found.summary.exit_code == 0
            assert found.summary.not_sent == 0
        paid = home.service.sent()
        assert set(paid.values()) == {1}, paid


@EXAMPLES
@given(data=st.data())
def test_identical_requests_are_sent_once_on_request(data: st.DataObject) -> None:
    person = Draws(data.draw)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        for _ in range(person.number(1, 3, "nights")):
            rows = person.file()
            if person.chance("trial first"):
                home.run(rows, limit=person.number(1, 8, "limit"), dedupe=True)
            found = home.run(rows, dedupe=True)

            assert answers(found) == right(rows)
            by_key = dict(rows)
            for row in found:
                if (leader := row.get("copied_from")) is not None:
                    assert leader != row["key"]
                    assert by_key[leader] == by_key[row["key"]]
        assert set(home.service.sent().values()) <= {1}
