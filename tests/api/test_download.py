"""Downloads: the file on disk is the service's, byte for byte, or there is an error; what came is not fetched again."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.script import BASE, KEY, Body, Script, Waits, ask, error, reset
from gemini_batch.api import files
from gemini_batch.api.bounds import DEFAULT
from gemini_batch.errors import ApiError, NetworkError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TEXT = bytes(range(97, 122))
#: What can happen to one request. ``cut``: the body breaks off in the middle; ``short``: it ends early and quietly;
#: ``no range``: the whole file comes, asked for or not; ``capped``: at most five bytes of what was asked for;
#: ``unplaced``: a part that does not say which; ``gzip``: compressed against our wish.
Fault = Literal[
    "fine", "cut", "short", "reset", "503", "no range", "no range, cut", "capped", "unplaced", "gzip", "416"
]
FAULTS: tuple[Fault, ...] = (
    "fine",
    "cut",
    "short",
    "reset",
    "503",
    "no range",
    "no range, cut",
    "capped",
    "unplaced",
    "gzip",
    "416",
)


@dataclass
class Store:
    """The service's side: one result file, and what happens to each request for it in turn; then all goes well."""

    faults: list[Fault] = field(default_factory=list)
    content: bytes = TEXT
    asked: list[str] = field(default_factory=list)
    served: int = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        self.asked.append(request.headers.get("range", ""))
        assert len(self.asked) < 200, "this download does not end"
        fault = self.faults.pop(0) if self.faults else "fine"
        if fault == "reset":
            raise reset()
        if fault == "503":
            return error(503, "UNAVAILABLE")
        if fault == "416":
            return httpx2.Response(416, headers={"content-range": "bytes */999"}, stream=Body())
        start = self._start(request, fault)
        if start is not None and start >= len(self.content):
            return httpx2.Response(416, headers={"content-range": f"bytes */{len(self.content)}"}, stream=Body())
        return self._serve(start, fault)

    def _start(self, request: httpx2.Request, fault: Fault) -> int | None:
        asked = request.headers.get("range")
        return None if asked is None or "no range" in fault else int(asked.removeprefix("bytes=").removesuffix("-"))

    def _serve(self, start: int | None, fault: Fault) -> httpx2.Response:
        begin, end = start or 0, len(self.content)
        if fault == "capped" and start is not None:
            end = min(end, begin + 5)
        data = self.content[begin:end]
        if fault == "gzip":
            data = gzip.compress(data)
        headers = {"content-length": str(len(data)), **({"content-encoding": "gzip"} if fault == "gzip" else {})}
        if start is not None and fault != "unplaced":
            headers["content-range"] = f"bytes {begin}-{end - 1}/{len(self.content)}"
        if fault in {"cut", "no range, cut", "short"}:
            data = data[: len(data) // 2]
        self.served += len(data)
        pieces: tuple[bytes | Exception, ...] = tuple(data[at : at + 4] for at in range(0, len(data), 4))
        if "cut" in fault:
            pieces = (*pieces, reset())
        return httpx2.Response(200 if start is None else 206, headers=headers, stream=Body(*pieces))


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "answers.part"


def fetch(
    store: Callable[[httpx2.Request], httpx2.Response], part: Path, *, waits: Waits | None = None
) -> tuple[int, list[int]]:
    """Download into ``part``: the size that was returned, and the bytes that were told on the way."""
    size, told = fetch_telling(store, part, waits=waits)
    return size, [done for done, _ in told]


def fetch_telling(
    store: Callable[[httpx2.Request], httpx2.Response], part: Path, *, waits: Waits | None = None
) -> tuple[int, list[tuple[int, int | None]]]:
    """The same with the size of the whole file that was told each time."""
    told: list[tuple[int, int | None]] = []

    def progress(done: int, total: int | None) -> None:
        told.append((done, total))

    size = ask(store, lambda client: files.download(client, "files/batch-b", part, progress=progress), waits=waits)
    return size, told


def test_file_is_written_as_it_comes(part: Path) -> None:
    store = Store()
    size, told = fetch(store, part)
    assert size == len(TEXT)
    assert part.read_bytes() == TEXT
    assert told == [4, 8, 12, 16, 20, 24, 25]
    assert store.asked == [""]


@pytest.mark.parametrize(
    ("faults", "totals"),
    [([], {len(TEXT)}), (["cut"], {len(TEXT)}), (["gzip"], {None})],
    ids=["stated", "cut off", "compressed"],
)
def test_the_size_of_the_whole_is_told_where_it_is_stated(
    part: Path, faults: list[Fault], totals: set[int | None]
) -> None:
    """By the first answer's length, by the range of what comes after a cut; a compressed body's length is none."""
    _, told = fetch_telling(Store(faults), part)
    assert {total for _, total in told} == totals
    assert all(total is None or done <= total for done, total in told)


def test_empty_file_is_a_file(part: Path) -> None:
    assert fetch(Store(content=b""), part) == (0, [])
    assert part.read_bytes() == b""


def test_cut_download_goes_on_where_it_broke(part: Path) -> None:
    store, waits = Store(["cut", "cut"]), Waits()
    assert fetch(store, part, waits=waits)[0] == len(TEXT)
    assert part.read_bytes() == TEXT
    assert store.asked == ["", "bytes=12-", "bytes=18-"]
    assert store.served == len(TEXT)
    assert waits.seconds == [1.0, 1.0]


def test_part_of_an_earlier_process_is_not_fetched_again(part: Path) -> None:
    part.write_bytes(TEXT[:10])
    store = Store()
    size, told = fetch(store, part)
    assert size == len(TEXT)
    assert part.read_bytes() == TEXT
    assert store.asked == ["bytes=10-"]
    assert store.served == 15
    assert told[0] == 14


def test_part_that_is_all_there_is_not_fetched_again(part: Path) -> None:
    part.write_bytes(TEXT)
    store = Store()
    assert fetch(store, part)[0] == len(TEXT)
    assert part.read_bytes() == TEXT
    assert store.served == 0


def test_part_that_is_longer_than_the_file_is_not_ours(part: Path) -> None:
    part.write_bytes(b"x" * 99)
    store = Store()
    assert fetch(store, part)[0] == len(TEXT)
    assert part.read_bytes() == TEXT
    assert store.asked == ["bytes=99-", ""]


def test_service_that_ignores_range_starts_over(part: Path) -> None:
    part.write_bytes(b"!" * 10)
    store = Store(["no range"])
    assert fetch(store, part)[0] == len(TEXT)
    assert part.read_bytes() == TEXT


@pytest.mark.parametrize("fault", ["short", "capped"])
def test_body_that_ends_early_is_not_the_file(fault: Fault, part: Path) -> None:
    part.write_bytes(TEXT[:10])
    store = Store([fault])
    assert fetch(store, part)[0] == len(TEXT)
    assert part.read_bytes() == TEXT
    assert len(store.asked) == 2


def test_body_that_ends_early_from_the_start_is_not_the_file(part: Path) -> None:
    """Where all was asked for, its length alone tells: no place in the file is stated."""
    store = Store(["short"])
    assert fetch(store, part)[0] == len(TEXT)
    assert part.read_bytes() == TEXT
    assert store.asked == ["", "bytes=12-"]


def test_body_longer_than_it_says_is_not_the_file(part: Path) -> None:
    def long() -> httpx2.Response:
        return httpx2.Response(200, headers={"content-length": "10"}, stream=Body(TEXT))

    with pytest.raises(NetworkError):
        fetch(Script(*[long() for _ in range(20)]), part)


def test_part_that_does_not_say_where_it_belongs_is_not_put_anywhere(part: Path) -> None:
    part.write_bytes(TEXT[:10])
    assert fetch(Store(["unplaced"]), part)[0] == len(TEXT)
    assert part.read_bytes() == TEXT


def test_other_part_than_was_asked_for_is_not_taken(part: Path) -> None:
    part.write_bytes(TEXT[:10])
    wrong = httpx2.Response(206, headers={"content-range": "bytes 20-24/25"}, stream=Body(TEXT[20:]))
    script = Script(wrong, httpx2.Response(200, stream=Body(TEXT)))
    assert fetch(script, part)[0] == len(TEXT)
    assert part.read_bytes() == TEXT
    assert script.sent("range") == ["bytes=10-", None]


@pytest.mark.parametrize("held", [b"", TEXT[:10]])
def test_compressed_body_is_written_as_the_file_it_means(held: bytes, part: Path) -> None:
    part.write_bytes(held)
    assert fetch(Store(["gzip", "gzip"]), part)[0] == len(TEXT)
    assert part.read_bytes() == TEXT


@pytest.mark.parametrize("damage", [b"", b"\0\xff\0", b"\xff" * 40])
def test_a_damaged_compressed_body_leaves_nothing_behind(damage: bytes, part: Path) -> None:
    """What was unpacked before the damage showed may be wrong already: the download begins anew."""
    text = b"".join(b'{"key": "k%d", "text": "%d"}\n' % (number, number**5) for number in range(400))
    packed = gzip.compress(text)
    headers = {"content-encoding": "gzip"}
    script = Script(
        httpx2.Response(200, headers=headers, stream=Body(packed[: len(packed) // 2] + damage)),
        httpx2.Response(200, stream=Body(text)),
    )
    assert fetch(script, part)[0] == len(text)
    assert part.read_bytes() == text
    assert script.sent("range") == [None, None]
    assert list(part.parent.iterdir()) == [part]


def test_length_may_be_absent(part: Path) -> None:
    assert fetch(Script(httpx2.Response(200, stream=Body(TEXT))), part)[0] == len(TEXT)
    assert part.read_bytes() == TEXT


@pytest.mark.parametrize("length", ["²", "many", "-5"])
def test_length_that_is_none_is_not_believed(length: str, part: Path) -> None:
    headers = [(b"content-length", length.encode("latin-1"))]
    assert fetch(Script(httpx2.Response(200, headers=headers, stream=Body(TEXT))), part)[0] == len(TEXT)


def test_not_found_is_asked_for_on_the_documented_path(part: Path) -> None:
    script = Script(error(404), error(503), httpx2.Response(200, stream=Body(TEXT)))
    assert fetch(script, part)[0] == len(TEXT)
    assert [request.url.path for request in script.requests] == [
        "/v1beta/files/batch-b:download",
        "/download/v1beta/files/batch-b:download",
        "/download/v1beta/files/batch-b:download",
    ]
    assert {request.url.query for request in script.requests} == {b"alt=media"}
    assert set(script.sent("x-goog-api-key")) == {KEY}


def test_not_found_on_both_paths_is_not_found(part: Path) -> None:
    script = Script(error(404), error(404, "NOT_FOUND", "Gone."))
    with pytest.raises(ApiError, match="Gone") as caught:
        fetch(script, part)
    assert caught.value.status == 404
    assert not part.exists()


@pytest.mark.parametrize("status", [400, 401, 403])
def test_refusal_is_not_repeated(status: int, part: Path) -> None:
    with pytest.raises(ApiError):
        fetch(Script(error(status)), part)


def test_redirect_is_not_followed(part: Path) -> None:
    script = Script(httpx2.Response(302, headers={"location": "https://storage.example/signed"}))
    with pytest.raises(ApiError, match="Redirects are not followed"):
        fetch(script, part)
    assert [str(request.url) for request in script.requests] == [f"{BASE}/v1beta/files/batch-b:download?alt=media"]


# Patience ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["reset", "503"])
def test_no_progress_many_times_is_an_error(fault: Fault, part: Path) -> None:
    store, waits = Store([fault] * 50), Waits()
    with pytest.raises(ServiceError):
        fetch(store, part, waits=waits)
    assert len(store.asked) == DEFAULT.failures
    assert waits.seconds == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_what_came_is_kept_when_the_download_is_given_up(part: Path) -> None:
    with pytest.raises(ServiceError):
        fetch(Store(["cut", *["503"] * 50]), part)  # type: ignore[list-item]
    assert part.read_bytes() == TEXT[:12]
    store = Store()
    assert fetch(store, part)[0] == len(TEXT)
    assert store.served == 13


def test_progress_starts_the_count_of_failures_again(part: Path) -> None:
    storm: list[Fault] = ["503"] * (DEFAULT.failures - 1)
    waits = Waits()
    assert fetch(Store([*storm, "cut", *storm, "cut", *storm[1:]]), part, waits=waits)[0] == len(TEXT)
    assert part.read_bytes() == TEXT
    assert waits.seconds == [1.0, 2.0, 4.0, 8.0, 16.0, *[1.0, 1.0, 2.0, 4.0, 8.0, 16.0], *[1.0, 1.0, 2.0, 4.0, 8.0]]


def test_long_file_in_many_cuts_needs_no_patience(part: Path) -> None:
    store, waits = Store(["cut"] * 10, content=b"x" * 4000), Waits()
    assert fetch(store, part, waits=waits)[0] == 4000
    assert store.served == 4000
    assert waits.seconds == [1.0] * 10


@pytest.mark.parametrize(
    "weather",
    [
        ["no range, cut"],
        ["no range, cut", "reset"],
        ["no range, cut", "416"],
        ["cut", "416"],
        ["416"],
        ["cut", "unplaced"],
        ["cut", "no range, cut"],
    ],
)
def test_going_round_in_circles_is_not_progress(weather: list[Fault], part: Path) -> None:
    part.write_bytes(TEXT[:3])
    with pytest.raises(ServiceError):
        fetch(Store(weather * 100), part)


@settings(deadline=None)
@given(
    content=st.binary(max_size=60),
    held=st.integers(min_value=0, max_value=60),
    faults=st.lists(st.sampled_from(FAULTS), max_size=12),
)
def test_any_weather_ends_with_the_whole_file_or_an_error(content: bytes, held: int, faults: Sequence[Fault]) -> None:
    with TemporaryDirectory() as folder:
        part = Path(folder) / "part"
        if held:
            part.write_bytes(content[:held])
        store = Store(list(faults), content=content)
        try:
            size, _ = fetch(store, part)
        except ServiceError:
            assert len(faults) >= DEFAULT.failures or "416" in faults
        else:
            assert part.read_bytes() == content
            assert size == len(content)
