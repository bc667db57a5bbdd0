"""Whatever comes as a request file: clear words and exit code 2, or a job; never a traceback, nothing half-written."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import msgspec
import obstore
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from gemini_batch import blocks, workers
from gemini_batch.cli.outcome import clean, problem_line
from gemini_batch.errors import InvalidInput, UsageError
from gemini_batch.intake.staging import Staged, stage
from gemini_batch.jsonl import UTF8_BOM
from gemini_batch.memory.fingerprint import Origin
from gemini_batch.objects import stores
from gemini_batch.objects.address import parse
from gemini_batch.objects.reading import ObjectFile
from gemini_batch.store.state_folder import RunFolder
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

damage = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, 120)),
    st.tuples(st.just("flip"), st.integers(0, 120)),
    st.tuples(st.just("insert"), st.integers(0, 120)),
    st.tuples(st.just("repeat"), st.integers(0, 9)),
    st.tuples(st.just("blank"), st.integers(0, 9)),
    st.tuples(st.just("crlf"), st.integers(0, 9)),
)


def good_line(number: int) -> bytes:
    return msgspec.json.encode({"key": f"k{number}", "request": {"contents": [{"parts": [{"text": "Hello"}]}]}})


def damaged(count: int, steps: list[tuple[str, int, int]]) -> bytes:
    """A file of ``count`` good lines after everything in ``steps`` has happened to it."""
    lines = [good_line(n) for n in range(count)]
    for what, at, input_kind in steps:
        i = at % len(lines)
        line = lines[i]
        place = input_kind % (len(line) + 1)
        match what:
            case "cut":
                lines[i] = line[:place]
            case "flip":
                lines[i] = line[:place] + bytes(byte ^ 0x15 for byte in line[place : place + 1]) + line[place + 1 :]
            case "insert":
                lines[i] = line[:place] + bytes([input_kind, 255 - input_kind]) + line[place:]
            case "repeat":
                lines.append(line)
            case "blank":
                lines.insert(i, b" \t")
            case _:
                lines[i] = line + b"\r"
    return b"\n".join(lines)


def staged(data: bytes) -> tuple[Staged, bytes] | UsageError:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in.jsonl").write_bytes(data)
        run = RunFolder(folder / "run")
        run.path.mkdir()
        try:
            return stage(folder / "in.jsonl", run, max_bytes=10**9), run.requests.read_bytes()
        except UsageError as error:
            return error
        finally:
            assert (folder / "in.jsonl").read_bytes() == data


def check(data: bytes) -> None:
    """What must hold of any file: a job whose canonical copy holds each request once and as it stood, or an error
    with words for every line.
    """
    found = staged(data)
    lines = [line for line in (line.strip(b" \t\r") for line in data.removeprefix(UTF8_BOM).split(b"\n")) if line]

    if isinstance(found, UsageError):
        assert found.exit_code == 2
        shown = [str(found)]
        if isinstance(found, InvalidInput):
            assert all(problem.message and problem.line for problem in found.problems)
            assert {problem.line for problem in found.problems} <= set(range(1, data.count(b"\n") + 2))
            assert found.total + found.warnings >= len(found.problems) > 0
            assert any(problem.severity == "error" for problem in found.problems)
            shown += [problem_line(problem, "in.jsonl") for problem in found.problems]
        for words in shown:
            assert words.strip()
            assert all(sign in "\n\t" or sign.isprintable() for sign in clean(words))
        return
    work, copy = found
    assert copy == b"".join(line + b"\n" for line in lines)
    keys = [read(line, dict[str, object])["key"] for line in lines]
    assert len(keys) == len(set(keys)) == work.requests > 0
    assert len(copy) == work.bytes
    assert hashlib.sha256(copy).hexdigest() == work.sha256


@given(st.lists(pieces, max_size=6).map(b"\n".join))
@example(b"")
@example(b"\xef\xbb\xbf" + GOOD)
@example(GOOD + b"\r\n" + b"\x0c\n")
@example(b"\xff\xfe" + GOOD)
@example(b"[" * 200_000)
@example(b'{"key":"' + b"a" * 100_000 + b'","request":{}}')
def test_any_bytes_as_a_request_file(data: bytes) -> None:
    """Bytes, JSON and requests that are invented."""
    check(data)


@given(st.booleans(), st.integers(1, 5), st.lists(st.tuples(st.integers(0, 9), damage), max_size=4))
def test_any_damage(mark: bool, count: int, steps: list[tuple[int, tuple[str, int]]]) -> None:
    """A good file that was cut, flipped, repeated, broken into: taken as it is where it is still good, else refused."""
    data = (UTF8_BOM if mark else b"") + damaged(count, [(what, at, input_kind) for at, (what, input_kind) in steps])

    check(data)
    if not any(what in {"cut", "flip", "insert", "repeat"} for _, (what, _) in steps):
        assert not isinstance(staged(data), UsageError)


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


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), min_size=2, max_size=8))
def test_a_key_of_a_line_that_is_refused_is_used_up(lines: list[tuple[str, bool]]) -> None:
    """Mending one line must not bring up a repetition that nobody spoke of: all is said at once."""
    contents = {"contents": [{"parts": [{"text": "x"}]}]}
    data = b"".join(
        msgspec.json.encode({"key": key, "request": contents if good else {}}) + b"\n" for key, good in lines
    )

    found = staged(data)

    keys = [key for key, _ in lines]
    refused = [n for n, (_, good) in enumerate(lines, 1) if not good]
    repeated = [n for n, key in enumerate(keys, 1) if key in keys[: n - 1]]
    if refused or repeated:
        assert isinstance(found, InvalidInput)
        assert [problem.line for problem in found.problems if "is already used" in problem.message] == repeated
        assert [problem.line for problem in found.problems if problem.field != "key"] == refused
    else:
        assert not isinstance(found, UsageError), found


def everything(data: bytes, *, shard: bool = False, remote: bool = False) -> tuple[object, ...]:
    """What entering a file, a shard or an object gives: the facts, the requests and all rows; or each problem."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        source, run = Path(name, "in.jsonl"), RunFolder(Path(name, "run"))
        run.path.mkdir()
        there = None
        if remote:
            store = MemoryStore()
            patch.setattr(stores, "opened", lambda _: store)
            obstore.put(store, "in.jsonl", data)
            address = parse("s3://bucket/in.jsonl")
            there = ObjectFile(address, stores.look_at(address))
        else:
            source.write_bytes(data)
        origin = Origin("here", "key", "model")
        try:
            found = stage(source, run, origin=lambda _: origin, max_bytes=10**9, in_place=shard, remote=there)
        except InvalidInput as error:
            return error.total, error.warnings, repr(error.problems).replace(name, "")
        except UsageError as error:
            return (str(error).replace(name, ""),)
        with run.rows() as rows:
            kept = rows.connection.execute("SELECT * FROM requests ORDER BY seq").fetchall()
        with run.open_requests() as requests:
            return found, requests.read(), [tuple(row) for row in kept]


mixed = request_lines | st.sampled_from(
    [GOOD, b"", b" \t", b'{"key":"e","request":{"content":{"parts":[{"text":"x"}]}}}', GOOD + b"\r", b"{", good_line(1)]
) | st.integers(2, 9).map(good_line)  # fmt: skip


@given(st.lists(mixed, max_size=8), st.booleans(), st.booleans(), st.integers(1, 200))
def test_blocks_of_any_size_give_the_same(lines: list[bytes], mark: bool, ended: bool, size: int) -> None:
    data = (UTF8_BOM if mark else b"") + b"\n".join(lines) + (b"\n" if ended else b"")
    expected = everything(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", size)
        assert everything(data) == expected


@given(st.lists(mixed, max_size=8), st.booleans(), st.booleans(), st.integers(1, 200))
@example(lines=[GOOD, good_line(1)], mark=False, ended=True, size=1)
def test_an_object_is_read_as_a_file_is(lines: list[bytes], mark: bool, ended: bool, size: int) -> None:
    data = (UTF8_BOM if mark else b"") + b"\n".join(lines) + (b"\n" if ended else b"")
    expected = everything(data, shard=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK", size)
        assert everything(data, shard=True, remote=True) == expected


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_line_that_is_too_long_is_named(remote: bool, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 50)
    monkeypatch.setattr(blocks, "MAX_LINE", 1000)
    monkeypatch.setattr("gemini_batch.jsonl.read_lines.__kwdefaults__", {"offset": 0, "number": 1, "limit": 1000})
    lines = [good_line(1), good_line(2)]
    lines.insert(place, good_line(3).replace(b"Hello", b"o" * 3000))
    found = everything(b"\n".join(lines) + b"\n", shard=True, remote=remote)
    assert found[0] == 1
    assert f"line={place + 1}," in str(found[2])
    assert "The line is too long" in str(found[2])


@pytest.mark.skipif(os.name != "posix", reason="elsewhere, there are no workers")
@pytest.mark.parametrize(
    "bad", [b"", b"{", good_line(3), b'{"key":"e","request":{"content":{"parts":[{"text":"x"}]}}}']
)
def test_workers_give_the_same(bad: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [good_line(n) for n in range(300)]
    data = b"\n".join([*lines[:200], bad, *lines[200:]])
    expected = everything(data)
    monkeypatch.setattr(blocks, "BLOCK", 500)
    monkeypatch.setattr(workers, "worth", lambda _: 2)
    assert everything(data) == expected
