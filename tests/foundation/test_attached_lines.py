"""Request lines that name attachments by placeholders: only our own do, and only in one place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch.catalog import Method
from gemini_batch.errors import InvalidInput
from gemini_batch.intake.staging import stage
from gemini_batch.memory.fingerprint import Origin
from gemini_batch.store.state_folder import RunFolder
from gemini_batch.tables.making.attachments import Stored, read_manifest
from gemini_batch.validation.conform import Terms
from gemini_batch.validation.file_uri import attached_to, is_placeholder, placeholder, with_uris
from gemini_batch.validation.request_traits import estimate_tokens
from gemini_batch.validation.validate import Checked, check_line

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = "1" * 64, "2" * 64
PREPARED = Terms(prepared=True)


def line(*parts: dict[str, Any], key: str = "k", **fields: Any) -> bytes:
    request = {"contents": [{"role": "user", "parts": list(parts)}], **fields}
    return json.dumps({"key": key, "request": request}, separators=(",", ":"), ensure_ascii=False).encode()


def file(uri: str, field: str = "fileUri") -> dict[str, Any]:
    return {"fileData": {"mimeType": "image/png", field: uri}}


TEXT = {"text": "what is it?"}
BOTH = line(file(placeholder(ONE)), file(placeholder(TWO)), file(placeholder(ONE)), TEXT)


def test_each_placeholder_is_replaced_and_nothing_else() -> None:
    made = with_uris(BOTH, {ONE: "https://x/v1beta/files/one", TWO: 'odd "uri"\n'})

    assert attached_to(BOTH) == [ONE, TWO, ONE]
    one, two = file("https://x/v1beta/files/one"), file('odd "uri"\n')
    assert json.loads(made) == json.loads(line(one, two, one, TEXT))
    with pytest.raises(KeyError):
        with_uris(BOTH, {ONE: "https://x/v1beta/files/one"})


@pytest.mark.parametrize(
    "parts",
    [
        [TEXT],
        [{"text": placeholder(ONE)}],
        [{"text": f'"fileUri":"{placeholder(ONE)}"'}],
        [{"text": f'{{"fileUri":"{placeholder(ONE)}"}}'}],
        [{"text": f'\\",\\"fileUri":"{placeholder(ONE)}"'}],
        [{"text": f'x\\\\","fileUri":"{placeholder(ONE)}","'}],
        [file("https://example.org/" + placeholder(ONE))],
    ],
    ids=range(7),
)
def test_text_that_looks_like_a_placeholder_stays(parts: list[dict[str, Any]]) -> None:
    data = line(*parts)

    assert attached_to(data) == []
    assert with_uris(data, {ONE: "https://x/v1beta/files/one"}) == data


def test_every_other_byte_is_kept() -> None:
    """Numbers beyond what a float holds, escapes and unknown letters stay as they were."""
    rest = b'"n":123456789012345678901234567890,"z":-0.0,"e":1E400,"s":"\\u00e4\\/\xc3\xa4"}'
    data = b'{"key":"k","request":{"fileData":{"mimeType":"a/b","fileUri":"' + placeholder(ONE).encode() + b'"},' + rest

    assert with_uris(data, {ONE: "u"}) == data.replace(placeholder(ONE).encode(), b"u")


@pytest.mark.parametrize("field", ["fileUri", "file_uri"])
@pytest.mark.parametrize("lenient", [False, True])
def test_a_request_file_cannot_name_attachments(field: str, lenient: bool) -> None:
    data = line(file(placeholder(ONE), field), TEXT)

    found = check_line(data, 1, Terms(lenient=lenient))

    assert not isinstance(found, Checked)
    assert "--attach" in str(found[0].next)
    assert isinstance(check_line(data, 1, PREPARED._replace(lenient=lenient)), Checked)


@pytest.mark.parametrize("uri", [placeholder(ONE)[:-1], placeholder("x" * 64), "attachment:", "attachment:sha256-"])
def test_other_words_are_no_placeholders(uri: str) -> None:
    assert not is_placeholder(uri)
    assert not isinstance(check_line(line(file(uri), TEXT), 1, PREPARED), Checked)


def stored(sha256: str) -> Stored:
    return Stored(sha256, "image/png", 7, f"/data/{sha256[0]}.png")


def staged(folder: Path, data: bytes, *files: str) -> RunFolder:
    (folder / "in.jsonl").write_bytes(data + b"\n")
    (folder / "run").mkdir()
    run = RunFolder(folder / "run")
    found = stage(folder / "in.jsonl", run, max_bytes=None, attachments=[stored(one) for one in files])
    assert found.requests == 1
    return run


def test_prepared_requests_are_staged_as_they_are(tmp_path: Path) -> None:
    run = staged(tmp_path, BOTH, ONE, TWO)

    assert run.requests.read_bytes() == BOTH + b"\n"
    assert read_manifest(run.attachments) == {ONE: stored(ONE), TWO: stored(TWO)}
    assert run.attachments.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "data",
    [
        BOTH,
        line(file(placeholder(ONE)), file(placeholder("3" * 64)), TEXT),
        json.dumps(json.loads(line(file(placeholder(ONE)), TEXT))).encode(),  # not where it would be replaced
    ],
    ids=["another one", "one of two", "with blanks"],
)
def test_only_prepared_attachments_are_known(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        staged(tmp_path, data, ONE)

    assert "attachment" in caught.value.problems[0].message


def test_an_attachment_counts_by_its_content() -> None:
    """The same row for every key and in every project; another content is another row."""
    one, two = (line(file(placeholder(sha256)), TEXT) for sha256 in (ONE, TWO))
    mine, yours = Origin("https://x", "hs1:mine", "m"), Origin("https://x", "hs1:yours", "m")

    assert mine.marks(one, Method.GENERATE) == yours.marks(one, Method.GENERATE)
    assert not mine.marks(one, Method.GENERATE).owned
    assert not mine.marks(one, Method.GENERATE).outside
    assert mine.marks(one, Method.GENERATE).body != mine.marks(two, Method.GENERATE).body
    both = line(file(placeholder(ONE)), file("files/abc"), TEXT)
    assert mine.marks(both, Method.GENERATE).owned


def test_an_attachment_counts_as_media_in_estimates() -> None:
    assert estimate_tokens(BOTH) > 3 * 300
