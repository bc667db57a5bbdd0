"""Whatever comes as a request file: clear words and exit code 2, or a job; never a traceback, nothing half-written."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from gemini_batch.errors import InvalidInput, UsageError
from gemini_batch.runs.home import RunFolder
from gemini_batch.runs.stage import Staged, stage
from gemini_batch.wire import read

GOOD = b'{"key":"a","request":{"contents":[{"parts":[{"text":"Hello"}]}]}}'

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
words = st.sampled_from(
    ["key", "request", "contents", "content", "parts", "text", "role", "generationConfig", "generation_config",
     "systemInstruction", "tools", "model", "config", "inlineData", "fileData", "responseSchema", "temperature"]
) | st.text(max_size=5)  # fmt: skip
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=5), max_leaves=12
)
request_lines = st.fixed_dictionaries(
    {"key": st.text(min_size=1, max_size=5) | scalars, "request": json_values},
).map(msgspec.json.encode)
junk = st.binary(max_size=60)
pieces = st.one_of(request_lines, junk, json_values.map(msgspec.json.encode), st.just(GOOD))


def staged(data: bytes) -> tuple[Staged, bytes] | UsageError:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in.jsonl").write_bytes(data)
        run = RunFolder(folder / "run")
        run.path.mkdir()
        try:
            return stage(folder / "in.jsonl", run, max_bytes=10**9), run.requests.read_bytes()
        except UsageError as error:
            assert (folder / "in.jsonl").read_bytes() == data
            return error


@given(st.lists(pieces, max_size=6).map(b"\n".join))
@example(b"")
@example(b"\xef\xbb\xbf" + GOOD)
@example(GOOD + b"\r\n" + b"\x0c\n")
@example(b"\xff\xfe" + GOOD)
@example(b"[" * 200_000)
@example(b'{"key":"' + b"a" * 100_000 + b'","request":{}}')
def test_any_bytes_as_a_request_file(data: bytes) -> None:
    """A job whose canonical copy holds each request once, or an error with words for every line."""
    found = staged(data)

    if isinstance(found, UsageError):
        assert found.exit_code == 2
        assert str(found)
        if isinstance(found, InvalidInput):
            assert all(problem.message and problem.line for problem in found.problems)
            assert found.total >= len(found.problems) > 0
        return
    work, copy = found
    keys = [read(line, dict[str, object])["key"] for line in copy.rstrip(b"\n").split(b"\n")]
    assert len(keys) == len(set(keys)) == work.requests > 0
    assert len(copy) == work.bytes


@given(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=8))
def test_keys_must_differ(keys: list[str]) -> None:
    """Any set of keys is taken as it is; any repetition is found, with both lines."""
    data = b"".join(
        msgspec.json.encode({"key": key, "request": {"contents": [{"parts": [{"text": "x"}]}]}}) + b"\n" for key in keys
    )
    found = staged(data)

    repeated = [n for n, key in enumerate(keys, 1) if key in keys[: n - 1]]
    if repeated:
        assert isinstance(found, InvalidInput)
        assert [problem.line for problem in found.problems] == repeated
    else:
        assert not isinstance(found, UsageError), found
        assert found[0].requests == len(keys)
