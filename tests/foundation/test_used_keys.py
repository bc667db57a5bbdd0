"""The keys that were given already."""

from __future__ import annotations

import errno
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch import used_keys
from gemini_batch.used_keys import UsedKeys

if TYPE_CHECKING:
    from pathlib import Path

KEYS = st.lists(st.sampled_from(["", "a", "a-2", "a-2-2", "b", "\ud800", "a\0"]) | st.text(max_size=3))


@pytest.fixture(params=[1, 4096])
def slots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """With the smaller one the table grows again and again."""
    monkeypatch.setattr(used_keys, "_SLOTS", request.param)
    return int(request.param)


@pytest.mark.usefixtures("slots")
class TestKeys:
    @given(keys=KEYS)
    def test_the_first_place_of_each(self, tmp_path_factory: pytest.TempPathFactory, keys: list[str]) -> None:
        with UsedKeys.on_disk(tmp_path_factory.getbasetemp()) as used:
            found = [used.first(key, place) for place, key in enumerate(keys, 1)]
        assert found == [None if keys.index(key) + 1 == at else keys.index(key) + 1 for at, key in enumerate(keys, 1)]

    @given(keys=KEYS)
    def test_numbered_keys_differ_and_keep_their_beginning(
        self, tmp_path_factory: pytest.TempPathFactory, keys: list[str]
    ) -> None:
        with UsedKeys.on_disk(tmp_path_factory.getbasetemp()) as used:
            made = [used.numbered(key, place) for place, key in enumerate(keys, 1)]
            assert all(used.first(key) is not None for key in made)
        assert len(set(made)) == len(made)
        assert all(new.startswith(key) for key, new in zip(keys, made, strict=True))

    def test_numbers_count(self, tmp_path: Path) -> None:
        with UsedKeys.on_disk(tmp_path) as used:
            assert [used.numbered("k") for _ in range(4)] == ["k", "k-2", "k-3", "k-4"]
            assert used.first("other", 1 << 39) is None
            assert used.first("other") == 1 << 39

    def test_many(self, tmp_path: Path) -> None:
        with UsedKeys.on_disk(tmp_path) as used:
            assert all(used.first(str(number), number) is None for number in range(20_000))
            assert all(used.first(str(number)) == number for number in range(20_000))


@pytest.mark.parametrize("expected", [0, 1, 10_000])
def test_nothing_stays_on_the_disk(tmp_path: Path, expected: int) -> None:
    with UsedKeys.on_disk(tmp_path, expected) as used:
        used.first("a")
    assert list(tmp_path.iterdir()) == []


def test_keys_with_the_same_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the hash decides the slot; the whole decides whether two keys are the same."""
    monkeypatch.setattr(
        used_keys, "hash", lambda text: len(text) if "\0" not in text else sum(map(ord, text)), raising=False
    )
    with UsedKeys.on_disk(tmp_path) as used:
        assert [used.first(key, place) for place, key in enumerate(("a", "b", "a", "b"), 1)] == [None, None, 1, 2]


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(OSError, match="No space"), UsedKeys.on_disk(tmp_path):
        pass
