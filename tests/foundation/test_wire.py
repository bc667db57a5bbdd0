"""The service's objects: every shape that was seen or can be expected is read, and nothing unknown is read as good."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.catalog import Method
from gemini_batch.errors import ServiceError
from gemini_batch.reading import to_int, to_time
from gemini_batch.wire import (
    BatchMetadata,
    BatchOutput,
    BatchStats,
    InputConfig,
    Operation,
    OperationList,
    Phase,
    RemoteFile,
    RemoteFileList,
    RemoteJob,
    RemoteModel,
    Status,
    hash_matches,
    inline_answers,
    read,
    remote_job,
    same_model,
    state_word,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "batches/0yew7plxupyybd7appsrq5vw7w0lp3l79lab"
KIND = "type.googleapis.com/google.ai.generativelanguage.v1main."
FILE: dict[str, Any] = {"responsesFile": "files/batch-0yew"}
ANSWERS = [
    {"response": {"candidates": []}, "metadata": {"key": "1"}},
    {"error": {"code": 3, "message": "Bad."}, "metadata": {"key": "2"}},
]
INLINE: dict[str, Any] = {"inlinedResponses": {"inlinedResponses": ANSWERS}}


#: The names of all fields of an operation, at any depth.
FIELDS = frozenset(
    name
    for kind in (Operation, BatchMetadata, BatchStats, BatchOutput, InputConfig, Status)
    for name in (field.encode_name for field in msgspec.structs.fields(kind))
) | {"inlinedResponses"}


def operation(**fields: Any) -> Operation:
    return read(json.dumps({"name": NAME, **fields}).encode(), Operation)


def job(**fields: Any) -> RemoteJob:
    return remote_job(operation(**fields))


def meta(state: str | None = "BATCH_STATE_SUCCEEDED", **fields: Any) -> dict[str, Any]:
    return {"@type": f"{KIND}GenerateContentBatch", "name": NAME, **({"state": state} if state else {}), **fields}


# A life as it was seen on the wire -------------------------------------------------------------------------------


def test_job_that_was_just_created() -> None:
    assert job(
        metadata=meta(
            "BATCH_STATE_PENDING",
            model="models/gemini-3.8-flash",
            displayName="nightly",
            createTime="2026-09-30T10:00:00.123456789Z",
            updateTime="2026-09-30T10:00:00.123456789Z",
            batchStats={"requestCount": "3", "pendingRequestCount": "3"},
        )
    ) == RemoteJob(
        name=NAME,
        state="JOB_STATE_PENDING",
        phase=Phase.ALIVE,
        model="gemini-3.8-flash",
        method=Method.GENERATE,
        display_name="nightly",
        total=3,
        pending=3,
        create_time=to_time("2026-09-30T10:00:00.123456789Z"),
    )


def test_job_that_has_succeeded() -> None:
    found = job(
        metadata=meta(
            model="models/gemini-3.8-flash",
            displayName="nightly",
            inputConfig={"fileName": "files/abc123def456"},
            output=FILE,
            createTime="2026-09-30T10:00:00Z",
            endTime="2026-09-30T10:05:00Z",
            batchStats={"requestCount": "3", "successfulRequestCount": "2", "failedRequestCount": "1"},
            priority="0",
        ),
        done=True,
        response={"@type": f"{KIND}GenerateContentBatchOutput", **FILE},
    )
    assert found.phase is Phase.SUCCEEDED
    assert found.phase.ended
    assert found.has_output
    assert found.output_file == "files/batch-0yew"
    assert not found.output_inline
    assert found.file_name == "files/abc123def456"
    assert (found.total, found.succeeded, found.failed, found.pending) == (3, 2, 1, 0)
    assert found.end_time is not None
    assert found.create_time is not None
    assert found.end_time - found.create_time == 300.0
    assert (found.error_code, found.error_message) == (None, None)


def test_job_cancelled_before_it_began_says_so_in_odd_words() -> None:
    found = job(
        metadata=meta("BATCH_STATE_CANCELLED", batchStats={"requestCount": "3", "pendingRequestCount": "3"}),
        done=True,
        error={"code": 13, "message": "Operation failed without error."},
    )
    assert (found.phase, found.error_code, found.has_output) == (Phase.CANCELLED, 13, False)


def test_job_cancelled_with_part_of_its_output_still_has_it() -> None:
    found = job(metadata=meta("BATCH_STATE_CANCELLED", output=FILE), done=True)
    assert found.phase is Phase.CANCELLED
    assert found.output_file == FILE["responsesFile"]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ({"code": 13, "message": "Internal."}, 13, "Internal."),
        ({"code": 8}, 8, None),
        ({"code": "3"}, 3, None),
        ({"code": 1.0}, 1, None),
        ({"message": "Only words."}, None, "Only words."),
        ({}, None, None),
        ({"code": 0}, None, None),
        ({"code": "RESOURCE_EXHAUSTED", "message": "Words."}, None, "Words."),
        ({"code": 13, "details": [{"@type": "x", "deep": [1, {"a": None}]}]}, 13, None),
        ({"code": 13, "details": "none"}, 13, None),
        (None, None, None),
    ],
)
def test_error_of_a_failed_job(error: Any, code: int | None, message: str | None) -> None:
    found = job(metadata=meta("BATCH_STATE_FAILED"), done=True, error=error)
    assert (found.phase, found.error_code, found.error_message) == (Phase.FAILED, code, message)


def test_operation_with_nothing_in_it_is_alive_and_unknown() -> None:
    found = remote_job(read(b"{}", Operation))
    assert found == RemoteJob(name="", state="JOB_STATE_UNSPECIFIED", phase=Phase.UNKNOWN)
    assert not found.phase.ended
    assert not found.has_output


@pytest.mark.parametrize("body", [b'{"name":"batches/b"}', b'{"name":"batches/b","metadata":null,"error":null}'])
def test_metadata_may_be_missing(body: bytes) -> None:
    assert remote_job(read(body, Operation)).name == "batches/b"


def test_name_inside_stands_in_for_the_name_outside() -> None:
    assert remote_job(read(json.dumps({"metadata": meta()}).encode(), Operation)).name == NAME


# States ----------------------------------------------------------------------------------------------------------

STATES = {
    "PENDING": Phase.ALIVE,
    "QUEUED": Phase.ALIVE,
    "RUNNING": Phase.ALIVE,
    "CANCELLING": Phase.ALIVE,
    "PAUSED": Phase.ALIVE,
    "UPDATING": Phase.ALIVE,
    "SUCCEEDED": Phase.SUCCEEDED,
    "PARTIALLY_SUCCEEDED": Phase.SUCCEEDED,
    "FAILED": Phase.FAILED,
    "CANCELLED": Phase.CANCELLED,
    "EXPIRED": Phase.EXPIRED,
    "UNSPECIFIED": Phase.UNKNOWN,
    "HIBERNATING": Phase.UNKNOWN,
}


@pytest.mark.parametrize("prefix", ["BATCH_STATE_", "JOB_STATE_"])
@pytest.mark.parametrize("word", STATES)
def test_both_spellings_of_a_state_are_one(prefix: str, word: str) -> None:
    found = job(metadata=meta(prefix + word))
    assert (found.state, found.phase) == (f"JOB_STATE_{word}", STATES[word])


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (None, "JOB_STATE_UNSPECIFIED"),
        ("", "JOB_STATE_UNSPECIFIED"),
        ("BATCH_STATE_X", "JOB_STATE_X"),
        ("JOB_STATE_X", "JOB_STATE_X"),
        ("BATCH_STATE_BATCH_STATE_X", "JOB_STATE_BATCH_STATE_X"),
        ("running", "running"),
        ("SUCCEEDED", "SUCCEEDED"),
    ],
)
def test_words_for_states(raw: str | None, word: str) -> None:
    assert state_word(raw) == word


@pytest.mark.parametrize("state", [None, "BATCH_STATE_HIBERNATING", "SUCCEEDED", "succeeded"])
@pytest.mark.parametrize(
    ("fields", "phase"),
    [
        ({}, Phase.UNKNOWN),
        ({"done": False}, Phase.UNKNOWN),
        ({"done": False, "response": FILE}, Phase.UNKNOWN),
        ({"done": True, "error": {"code": 13}}, Phase.FAILED),
        ({"done": True, "error": {"code": 13}, "response": FILE}, Phase.FAILED),
        ({"done": True, "response": FILE}, Phase.SUCCEEDED),
        ({"done": True, "response": INLINE}, Phase.SUCCEEDED),
        # Ended, and nothing speaks for it: never success, and never waited for without end.
        ({"done": True}, Phase.FAILED),
        ({"done": True, "response": {}}, Phase.FAILED),
    ],
)
def test_unknown_state_is_never_success_and_never_endless(
    state: str | None, fields: dict[str, Any], phase: Phase
) -> None:
    assert job(metadata=meta(state), **fields).phase is phase


@pytest.mark.parametrize("state", ["BATCH_STATE_PENDING", "BATCH_STATE_RUNNING"])
@pytest.mark.parametrize(
    ("fields", "phase"),
    [
        ({"done": True, "error": {"code": 13}}, Phase.FAILED),
        ({"done": True, "response": FILE}, Phase.SUCCEEDED),
        ({"done": True}, Phase.ALIVE),
        ({"error": {"code": 13}}, Phase.ALIVE),
        ({"response": FILE}, Phase.ALIVE),
    ],
)
def test_end_that_is_proven_outweighs_a_state_that_lags(state: str, fields: dict[str, Any], phase: Phase) -> None:
    assert job(metadata=meta(state), **fields).phase is phase


def test_phases_that_end() -> None:
    assert {phase for phase in Phase if not phase.ended} == {Phase.ALIVE, Phase.UNKNOWN}


# Output ----------------------------------------------------------------------------------------------------------

PLACES: list[tuple[dict[str, Any] | None, dict[str, Any] | None]] = [
    # metadata.output, response
    (None, None),
    ({}, {}),
    (FILE, None),
    (None, FILE),
    (FILE, FILE),
    (INLINE, None),
    (None, INLINE),
    (INLINE, INLINE),
    ({}, INLINE),
    (INLINE, {}),
    (INLINE, FILE),
    (FILE, INLINE),
    ({"responsesFile": ""}, INLINE),
    ({"inlinedResponses": {}}, INLINE),
    ({"inlinedResponses": {"inlinedResponses": []}}, INLINE),
    ({"inlinedResponses": {"inlinedResponses": None}}, FILE),
]


@pytest.mark.parametrize(("output", "response"), PLACES)
def test_output_is_found_wherever_it_stands(output: dict[str, Any] | None, response: dict[str, Any] | None) -> None:
    found = operation(
        metadata={**meta(), **({} if output is None else {"output": output})},
        done=True,
        **({} if response is None else {"response": {"@type": "x", **response}}),
    )
    seen = remote_job(found)
    if FILE in (output, response):
        assert (seen.output_file, seen.output_inline, seen.has_output) == (FILE["responsesFile"], False, True)
        assert inline_answers(found) == []
    elif INLINE in (output, response):
        assert (seen.output_file, seen.output_inline, seen.has_output) == (None, True, True)
        assert [json.loads(bytes(raw)) for raw in inline_answers(found)] == ANSWERS
    else:
        assert (seen.output_file, seen.output_inline, seen.has_output) == (None, False, False)
        assert inline_answers(found) == []


def test_output_may_be_inline_and_empty() -> None:
    found = operation(metadata=meta(output={"inlinedResponses": {}}), done=True)
    assert remote_job(found).output_inline
    assert inline_answers(found) == []


def test_output_of_the_other_kind_than_the_input_is_output() -> None:
    found = job(metadata=meta(inputConfig={"fileName": "files/f"}, output=INLINE), done=True)
    assert (found.file_name, found.output_inline) == ("files/f", True)


def test_success_can_be_seen_before_its_output() -> None:
    found = job(metadata=meta())
    assert (found.phase, found.has_output) == (Phase.SUCCEEDED, False)


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        (f"{KIND}GenerateContentBatch", "generate"),
        (f"{KIND}EmbedContentBatch", "embed"),
        ("type.googleapis.com/google.ai.generativelanguage.v1beta.EmbedContentBatch", "embed"),
        ("", "generate"),
        (None, "generate"),
    ],
)
def test_kind_of_requests(kind: str | None, method: str) -> None:
    assert job(metadata={**meta(), "@type": kind}).method == method


@pytest.mark.parametrize(
    ("model", "word"), [("models/m", "m"), ("m", "m"), ("tunedModels/t", "tunedModels/t"), (None, ""), ("", "")]
)
def test_model(model: str | None, word: str) -> None:
    assert job(metadata=meta(model=model)).model == word


@pytest.mark.parametrize("config", [None, {}, {"fileName": None}, {"requests": {"requests": [{}]}}])
def test_input_file_may_be_absent(config: Any) -> None:
    assert job(metadata=meta(inputConfig=config)).file_name is None


# Numbers, times, digests -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("12", 12),
        (12, 12),
        (12.0, 12),
        (12.9, 12),
        (None, 0),
        ("", 0),
        ("0", 0),
        ("many", 0),
        ("-3", 0),
        (-3, 0),
        ("12.5", 0),
        (float("nan"), 0),
        (float("inf"), 0),
        ("9" * 5000, 0),
        ("1000000000000000", 10**15),
        ("9223372036854775807", 0),  # sums of such counts would fit into no database
        (2**63, 0),
        (-(2**63), 0),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_counts(value: Any, number: int) -> None:
    assert to_int(value) == number


@pytest.mark.parametrize("stats", [None, {}, {"requestCount": None}, {"requestCount": "many", "new": {"a": 1}}])
def test_counts_may_be_absent_or_nonsense(stats: Any) -> None:
    found = job(metadata=meta(batchStats=stats))
    assert (found.total, found.succeeded, found.failed, found.pending) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-09-30T10:00:00Z", 1790762400.0),
        ("2026-09-30T10:00:00.5Z", 1790762400.5),
        ("2026-09-30T10:00:00.123Z", 1790762400.123),
        ("2026-09-30T10:00:00.123456Z", 1790762400.123456),
        ("2026-09-30T10:00:00.123456789Z", 1790762400.123456),
        ("2026-09-30T10:00:00.000000001Z", 1790762400.0),
        ("2026-09-30t10:00:00z", 1790762400.0),
        ("2026-09-30T12:00:00+02:00", 1790762400.0),
        ("2026-09-30T04:30:00.25-05:30", 1790762400.25),
        ("9999-12-31T23:59:58.9Z", 253402300798.9),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert to_time(text) == pytest.approx(seconds, abs=2e-6)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "now",
        "Z",
        ".5Z",
        "2026-09-30",
        "2026-09-30Z",
        "20260930T100000Z",
        "2026-W40-3T10:00:00Z",
        "2026-09-30T10:00Z",
        "2026-09-30T10:00:00",
        "2026-09-30T10:00:00.Z",
        "1969-12-31T23:59:59.5Z",
        "9999-12-31T23:59:59.9999999Z",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "10000-01-01T00:00:00Z",
        "2026-09-30T10:00:00.1e5Z",
        "2026-09-30T10:00:00.5",
        "2026-09-30T10:00:00ZZ",
        "2026-09-30T10:00:00Z+01:00",
        "2026-09-30T10:00:00+25:00",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-09-30T24:00:01Z",
        "2026-09-30T10:00:60Z",
        "0000-00-00T00:00:00Z",
        "٢٠٢٦-09-30T10:00:00Z",
        " 2026-09-30T10:00:00Z",
        "2026-09-30T10:00:00Z\n",
        "1790762400",
    ],
)
def test_what_is_no_time_is_none(text: str | None) -> None:
    assert to_time(text) is None


@pytest.fixture(params=["UTC", "Asia/Kolkata", "America/New_York"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Somewhere on the earth."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", request.param)
        if hasattr(time, "tzset"):
            time.tzset()
        yield
    if hasattr(time, "tzset"):
        time.tzset()


@pytest.mark.usefixtures("place")
def test_times_are_the_same_everywhere() -> None:
    assert to_time("2026-09-30T10:00:00Z") == 1790762400.0
    assert to_time("2026-09-30") is None


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_none(text: str) -> None:
    found = to_time(text)
    assert found is None or isinstance(found, float)


HEX = hashlib.sha256(b"content").hexdigest()
RAW = hashlib.sha256(b"content").digest()


@pytest.mark.parametrize(
    ("received", "matches"),
    [
        (base64.b64encode(HEX.encode()).decode(), True),  # as the service sends it
        (base64.b64encode(RAW).decode(), True),
        (HEX, True),
        (HEX.upper(), True),
        (None, True),  # absent is not wrong
        ("", True),
        (base64.b64encode(HEX.upper().encode()).decode(), False),
        (base64.b64encode(hashlib.sha256(b"other").hexdigest().encode()).decode(), False),
        (base64.b64encode(hashlib.sha256(b"other").digest()).decode(), False),
        (hashlib.sha256(b"other").hexdigest(), False),
        (HEX[:-1], False),
        ("garbage", False),
    ],
)
def test_digests(received: str | None, matches: bool) -> None:
    assert hash_matches(HEX, received) is matches


def test_digest_that_we_do_not_have_matches_nothing_but_silence() -> None:
    assert hash_matches("", None)
    assert not hash_matches("", base64.b64encode(RAW).decode())
    assert not hash_matches("not hex", base64.b64encode(RAW).decode())


# Reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Operation, OperationList, RemoteFile, RemoteFileList, RemoteModel, BatchMetadata])
def test_everything_may_be_absent_and_anything_may_be_new(kind: type[Any]) -> None:
    assert read(b"{}", kind) == kind()
    assert read(b'{"aNewField":{"deep":[1,null,{"a":"b"}]},"another":1e300}', kind) == kind()


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"5", b'"x"', b"<html>", b"\xff", b"{", b'{"a":' * 50_000])
def test_what_is_none_of_them_is_an_error_of_the_service(data: bytes) -> None:
    with pytest.raises(ServiceError, match="could not be read as Operation") as caught:
        read(data, Operation)
    assert caught.value.reason_code == "unreadable_answer"


@pytest.mark.parametrize(
    "odd",
    [
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"9" * 6000,
        b'"\\ud800"',
        b'"\\ud83d and more"',
        b'"\xff\xfe"',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"true",
    ],
    ids=lambda odd: repr(odd[:12]),
)
@pytest.mark.parametrize(
    "place",
    [
        b'"metadata":{"batchStats":{"requestCount":%s}}',
        b'"metadata":{"displayName":%s}',
        b'"metadata":{"updateTime":%s}',
        b'"metadata":{"unknown":{"field":%s}}',
        b'"error":{"code":3,"details":%s}',
        b'"metadata":{"output":{"inlinedResponses":{"inlinedResponses":[{"response":%s},{"key":"b"}]}}}',
        b'"unknown":%s',
        b'"done":%s',
    ],
)
def test_an_odd_value_in_an_operation_costs_itself_only(place: bytes, odd: bytes) -> None:
    found = read(b'{"name":"%s",' % NAME.encode() + place % odd + b"}", Operation)
    seen = remote_job(found)
    assert seen.name == NAME
    assert (seen.total, seen.error_code) == (0, 3 if b"error" in place else None)
    if b"inlined" in place:
        assert [bytes(one) for one in inline_answers(found)][1] == b'{"key":"b"}'
    if b"displayName" not in place:
        assert seen.display_name == ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("gemini-3.8-flash", "models/gemini-3.8-flash", True),
        ("gemini-3.8-flash", "gemini-3.8-flash-001", True),
        ("gemini-3.8-flash", "gemini-3.8-flash-preview-09-2025", True),
        ("gemini-3.8-flash", "gemini-3.8-flash-lite", False),
        ("gemini-3.8-flash", "gemini-3.8-flash-image-preview", False),
        ("gemini-3.8-flash", "gemini-3.8", False),
        ("gemini-flash-latest", "gemini-3.8-flash", True),
        ("tunedModels/a-1", "tunedModels/a-1", True),
        ("tunedModels/a", "tunedModels/b", False),
        ("a", "", True),
    ],
)
def test_which_names_can_mean_one_model(one: str, other: str, same: bool) -> None:
    assert same_model(one, other) is same
    assert same_model(other, one) is same


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=6) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(FIELDS)), inner, max_size=6),
    max_leaves=25,
)


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), JSON, max_size=6))
def test_any_object_is_read_as_some_operation(body: dict[str, Any]) -> None:
    """Whatever stands in its fields; and what is read fits into the ledger, on a terminal and into JSON."""
    seen = remote_job(read(json.dumps(body).encode(), Operation))
    for value in msgspec.structs.asdict(seen).values():
        assert not isinstance(value, str) or all(one.isprintable() or one in "\u200c\u200d" for one in value)
        assert not isinstance(value, int) or abs(value) < 2**63
    for at in (seen.create_time, seen.end_time):
        assert at is None or dt.datetime.fromtimestamp(at, dt.UTC)
    assert not seen.name or seen.name.startswith("batches/")
    msgspec.json.encode(seen)


def test_file_as_the_service_describes_it() -> None:
    found = read(
        json.dumps(
            {
                "name": "files/abc123def456",
                "displayName": "d",
                "mimeType": "application/jsonl",
                "sizeBytes": "1048576000",
                "createTime": "2026-09-30T10:00:00.123456Z",
                "expirationTime": "2026-10-02T10:00:00.123456789Z",
                "sha256Hash": base64.b64encode(HEX.encode()).decode(),
                "uri": "https://service.example/v1beta/files/abc123def456",
                "state": "ACTIVE",
                "source": "UPLOADED",
            }
        ).encode(),
        RemoteFile,
    )
    created, expires = to_time(found.create_time), to_time(found.expiration_time)
    assert created is not None
    assert expires is not None
    assert expires - created == pytest.approx(48 * 3600, abs=1e-3)
    assert to_int(found.size_bytes) == 1_048_576_000
    assert hash_matches(HEX, found.sha256_hash)


def test_list_keeps_every_job_of_every_shape() -> None:
    body = {
        "operations": [{"name": "batches/1"}, {"name": "batches/2", "metadata": meta(output=INLINE), "done": True}, {}]
    }
    found = read(json.dumps(body).encode(), OperationList)
    assert found.operations is not None
    assert [remote_job(read(each, Operation)).name for each in found.operations] == ["batches/1", "batches/2", ""]
    assert not found.next_page_token


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
OPERATIONS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=8),
        "done": st.booleans(),
        "error": st.none() | st.fixed_dictionaries({}, optional={"code": st.integers(), "details": VALUES}),
        "response": st.sampled_from([None, {}, FILE, INLINE, {"responsesFile": ""}]),
        "metadata": st.fixed_dictionaries(
            {},
            optional={
                "state": st.none() | st.text(max_size=8) | st.sampled_from([f"BATCH_STATE_{word}" for word in STATES]),
                "batchStats": st.none()
                | st.fixed_dictionaries({}, optional={"requestCount": st.integers() | st.text()}),
                "output": st.sampled_from([None, {}, FILE, INLINE]),
                "createTime": st.none() | st.text(max_size=30),
                "unknown": VALUES,
            },
        ),
        "unknown": VALUES,
    },
)


@given(OPERATIONS)
def test_any_operation_is_a_job_and_success_has_a_reason(body: dict[str, Any]) -> None:
    found = remote_job(read(json.dumps(body).encode(), Operation))
    assert found.total >= 0
    if found.phase is Phase.SUCCEEDED:
        assert "SUCCEEDED" in found.state or (body["done"] and found.has_output and found.error_code is None)
    if not found.phase.ended and body.get("done"):
        assert not found.has_output
