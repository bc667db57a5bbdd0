"""Attachments over the wire: the emulator has each file, in the state and under the type that it was told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch.intake import tabular

if TYPE_CHECKING:
    from scenarios.conftest import Stage

PROMPT = ("--prompt", "What is {{ id }}?", "--attach", "img/{{ pic }}")
HOUR = 3600.0


@pytest.fixture(autouse=True)
def everything_is_uploaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "INLINE_MAX", 0)


@pytest.fixture
def shop(stage: Stage) -> Stage:
    """Four rows with a picture, a document and a text."""
    (stage.shell.folder / "img").mkdir()
    for name, start in (("a.png", b"\x89PNG\r\n\x1a\n"), ("b.pdf", b"%PDF-1.7\n\xe2"), ("c", b"It is a cup. ")):
        (stage.shell.folder / "img" / name).write_bytes(start + name.encode() * 9)
    (stage.shell.folder / "in.csv").write_text("id,pic\n1,a.png\n2,b.pdf\n3,c\n4,a.png\n5,../../../home/ledger.db\n")
    return stage


def run(stage: Stage, *words: str) -> Any:
    return stage.run("run", "in.csv", *PROMPT, "-o", "results.jsonl", *words)


def held(stage: Stage) -> dict[str, str]:
    """The type of each attachment that the service has, by its name."""
    files = stage.ask("GET", "files?pageSize=100").get("files", [])
    return {file["name"]: file["mimeType"] for file in files if file["displayName"].startswith("attachment-")}


@pytest.mark.parametrize("scenario", ["U0", "U2", "U3", "U4", "U7"])
def test_every_row_is_answered(shop: Stage, scenario: str) -> None:
    """A row is answered only if the service has its file (the emulator sees to that)."""
    shop.arm(scenario)

    done = run(shop)

    assert done.code == 1, done.err
    assert [row["verdict"] for row in shop.read()] == ["succeeded"] * 4 + ["skipped"]
    assert sorted(held(shop).values()) == ["application/pdf", "image/png", "text/plain"]
    assert shop.made() == 1
    assert "ATTACHMENT_OUTSIDE" in done.err


def test_a_file_that_cannot_be_processed_is_named(shop: Stage) -> None:
    """U7b: the first file of media fails here."""
    shop.arm("U7b")

    done = run(shop)

    # Files are uploaded at the same time, so any of them may be the first.
    assert f"The service cannot process {shop.shell.folder / 'img'}" in done.err
    assert shop.made() == 1


def test_a_refused_type_is_said_with_the_file(shop: Stage) -> None:
    """Nothing is sent; the words are the service's, and the file is named."""
    body = '{"error":{"code":400,"message":"Unsupported MIME type: image/png","status":"INVALID_ARGUMENT"}}'
    shop.arm(operation="files.upload.chunk", status=400, body=body, times=0)

    done = run(shop)

    assert done.code == 2
    assert "img" in done.err
    assert "Unsupported MIME type" in done.err
    assert shop.made() == 0


def test_waiting_for_days_and_cleaning(shop: Stage) -> None:
    """Two days later another run needs them again; `clean` deletes what no job needs."""
    assert run(shop).code == 1  # a row was skipped
    first = held(shop)
    shop.time.jump(40 * HOUR)

    assert shop.run("run", "in.csv", "--prompt", "And {{ id }}?", *PROMPT[2:], "-o", "more.jsonl").code == 1

    assert len(held(shop)) == 6
    assert held(shop).keys() > first.keys()
    assert shop.run("clean", "--yes").code == 0
    assert not held(shop)


def test_create_uploads_as_well(shop: Stage) -> None:
    done = shop.run("create", "in.csv", *PROMPT)

    assert done.code == 0, done.err
    assert len(held(shop)) == 3
    assert shop.made() == 1


def test_prepare_writes_every_file_into_its_request(shop: Stage) -> None:
    done = shop.run("prepare", "in.csv", *PROMPT, "-o", "requests.jsonl")

    assert done.code == 0, done.err
    lines = (shop.shell.folder / "requests.jsonl").read_bytes().splitlines()
    assert len(lines) == 4
    assert all(b'"inlineData"' in line and b"attachment:" not in line for line in lines)
    assert shop.run("validate", "requests.jsonl").code == 0
    assert not held(shop)
