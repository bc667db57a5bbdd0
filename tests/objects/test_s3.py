"""Whole processes against a server that speaks S3 (moto) and the emulator: killed, raced, and gone on with.

moto has an environment of its own, so nothing that it asks for is installed here. `make objects` runs these tests.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import httpx2
import obstore
import pytest
from obstore.store import S3Store

from crashes.users import User
from interop.homes import interpreter
from objects.buckets import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.objects,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.name == "nt", reason="processes are killed by signals"),
]

MOTO = "moto[server]==5.2.5"
SECRETS = ("a-secret-id-of-the-tests", "a-secret-key-of-the-tests")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of a server with an empty bucket."""
    python = interpreter("moto", MOTO)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [str(python.with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx2.Client(transport=httpx2.HTTPTransport(retries=8), base_url=url) as http:
            assert http.put("/bucket").status_code == 200
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def bucket(s3: str) -> Bucket:
    """The bucket, empty."""
    store = S3Store(
        "bucket",
        endpoint=s3,
        region="us-east-1",
        access_key_id=SECRETS[0],
        secret_access_key=SECRETS[1],
        client_options={"allow_http": True},
    )
    found = Bucket("s3://bucket", store, "")
    for name in found.names():
        obstore.delete(store, name)
    return found


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[str]:
    process = User(tmp_path / "emulator").start("emulator")
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    process.communicate(timeout=30)


@pytest.fixture
def environment(s3: str, emulator: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": s3,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": SECRETS[0],
        "AWS_SECRET_ACCESS_KEY": SECRETS[1],
        "GOOGLE_GEMINI_BASE_URL": emulator,
        "GEMINI_API_KEY": "k",
        "GEMINI_BATCH_POLL": "0.2",
    }


def paid(url: str) -> int:
    count: int = httpx2.get(f"{url}/emulator/accounting").json()["totals"]["paid"]
    return count


def put_shards(bucket: Bucket, *, count: int, rows: int) -> None:
    lines = []
    for number in range(count):
        requests = [
            {"key": f"{number}-{row}", "request": {"contents": [{"parts": [{"text": f"Row {row} of {number}."}]}]}}
            for row in range(rows)
        ]
        data = b"".join(json.dumps(request).encode() + b"\n" for request in requests)
        bucket.put(f"in/{number}.jsonl", data)
        digest = hashlib.sha256(data).hexdigest()
        lines.append({"uri": f"{number}.jsonl", "requests": rows, "bytes": len(data), "sha256": digest})
    bucket.put("in/shards.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())


SHARDS = ("run", "--shards", "s3://bucket/in/shards.jsonl", "-o", "s3://bucket/answers/", "-q")


def keys(bucket: Bucket) -> list[str]:
    """The keys of all results that the manifest of answers counts; each file is what it says."""
    found: list[str] = []
    for line in map(json.loads, bucket.get("answers/manifest.jsonl").splitlines()):
        for file in line["answers"]:
            data = bucket.get(f"answers/{file['file']}")
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
            if file["file"].endswith(".jsonl"):
                found += [json.loads(row)["key"] for row in data.splitlines()]
    return found


def each_once(bucket: Bucket, *, count: int, rows: int) -> bool:
    return sorted(keys(bucket)) == sorted(f"{number}-{row}" for number in range(count) for row in range(rows))


def keeps_no_secret(folder: Path) -> bool:
    """Whether no file below a folder holds a credential."""
    return not any(
        secret.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file() for secret in SECRETS
    )


def test_a_file_and_a_table(tmp_path: Path, bucket: Bucket, environment: dict[str, str]) -> None:
    user = User(tmp_path / "work", environment)
    bucket.put("in/r.jsonl", user.write_requests(["a", "b"]).read_bytes())
    bucket.put("in/t.csv", b"id,word\n1,oak\n2,elm\n")
    done = user.run("run", "s3://bucket/in/r.jsonl", "-o", "s3://bucket/out/results.jsonl")
    assert "Written: s3://bucket/out/results.jsonl" in done.stderr
    user.run("run", "s3://bucket/in/t.csv", "--prompt", "{{ word }}", "--key", "id", "-o", "s3://bucket/out/t.parquet")
    user.run("results", done.stdout.strip(), "-o", "s3://bucket/out/again.csv")
    assert bucket.names() == [
        "in/r.jsonl",
        "in/t.csv",
        "out/again.csv",
        "out/results.jsonl",
        "out/t.parquet",
    ]
    assert bucket.get("out/t.parquet").startswith(b"PAR1")
    refused = user.run("create", "s3://nowhere/r.jsonl", check=2)
    assert "There is no such object" in refused.stderr
    assert keeps_no_secret(user.folder)


def test_results_of_more_than_one_part(tmp_path: Path, bucket: Bucket, environment: dict[str, str]) -> None:
    """Some tens of megabytes go in parts, and appear whole."""
    user = User(tmp_path / "work", environment)
    rows = user.write_requests([f"k{number}" for number in range(40_000)])
    bucket.put("in/r.jsonl", rows.read_bytes())
    user.run("run", "s3://bucket/in/r.jsonl", "-o", "s3://bucket/out/results.jsonl", "-q")
    data = bucket.get("out/results.jsonl")
    assert len(data) > 16 * 1024 * 1024
    assert [json.loads(row)["key"] for row in data.splitlines()] == [f"k{number}" for number in range(40_000)]


def test_shards_killed_wherever_they_are(
    tmp_path: Path, bucket: Bucket, environment: dict[str, str], emulator: str
) -> None:
    """Killed at what can be seen of its progress, however fast the machine is, and some milliseconds later."""
    count, rows, chance = 6, 1000, random.Random(7)
    put_shards(bucket, count=count, rows=rows)
    user, kills = User(tmp_path / "work", environment), 0

    def runs() -> int:
        return len(list((user.folder / "home" / "runs").glob("run-*")))

    def results() -> int:
        return sum(name.startswith("answers/") and not name.endswith(".lock") for name in bucket.names())

    points: list[Callable[[], bool]] = [
        lambda: "answers/.lock" in bucket.names(),
        lambda: runs() >= 1,
        lambda: runs() >= 3,
        lambda: results() >= 1,
        lambda: results() >= 5,
    ]
    for is_there in points:
        process = user.start(*SHARDS)
        while not is_there() and process.poll() is None:
            pass
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    user.run(*SHARDS)
    assert kills >= 3
    assert each_once(bucket, count=count, rows=rows)
    assert paid(emulator) == count * rows
    assert "answers/.lock" not in bucket.names()
    assert not list(user.folder.rglob("shard.jsonl"))
    assert keeps_no_secret(user.folder)


def test_two_machines_at_once(tmp_path: Path, bucket: Bucket, environment: dict[str, str], emulator: str) -> None:
    """One of them works; the other ends before it sends anything, whenever it comes."""
    count, rows = 3, 200
    put_shards(bucket, count=count, rows=rows)
    users = [User(tmp_path / f"machine-{number}", environment) for number in range(3)]
    processes = [user.start(*SHARDS) for user in users]
    said = [process.communicate(timeout=120) for process in processes]
    codes = sorted(process.returncode for process in processes)
    assert codes[0] == 0, said
    assert set(codes[1:]) <= {2, 3}, said  # it is locked (3), or all is answered already (2)
    assert 3 in codes, said
    assert each_once(bucket, count=count, rows=rows)
    assert paid(emulator) == count * rows


def test_another_machine_waits_for_the_lock_of_one_that_was_killed(
    tmp_path: Path, bucket: Bucket, environment: dict[str, str], emulator: str
) -> None:
    """Its own state folder goes on at once; another one only when the lock is ten minutes old."""
    put_shards(bucket, count=2, rows=100)
    first, second = (User(tmp_path / name, environment) for name in ("first", "second"))
    process = first.start(*SHARDS)
    while "answers/.lock" not in bucket.names():
        assert process.poll() is None
    process.kill()
    process.communicate()
    refused = second.run(*SHARDS, check=3)
    assert "Another process works on these results" in refused.stderr
    held = json.loads(bucket.get("answers/.lock"))
    assert first.run(*SHARDS).returncode == 0
    bucket.put("answers/.lock", json.dumps({**held, "at": held["at"] - 3600}).encode())
    assert second.run(*SHARDS, check=3).returncode == 3  # the store has just written it
    assert paid(emulator) == 200
