"""What an error means: the whole table, that it is total, and that nobody else judges a status."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import gemini_batch
from gemini_batch.api.error_answers import api_error
from gemini_batch.api.files import SessionLost
from gemini_batch.api.trouble import Trouble, exit_code, meaning
from gemini_batch.errors import (
    ApiError,
    Error,
    Interrupted,
    InvalidInput,
    JobError,
    NetworkError,
    NotFinished,
    Problem,
    ServiceError,
    StateError,
    Terminated,
    UsageError,
)

T = Trouble
SOURCE = Path(gemini_batch.__file__).parent

#: Status of the answer: what it means with the service's own reason, and what without one.
STATUSES = {
    200: (T.UNREADABLE, T.UNREADABLE),  # a 200 where another status was expected
    302: (T.UNREADABLE, T.UNREADABLE),
    400: (T.BAD_REQUEST, T.BAD_REQUEST),
    401: (T.KEY, T.KEY),
    402: (T.BILLING, T.BILLING),
    403: (T.WITHDRAWN, T.UNREADABLE),
    404: (T.ABSENT, T.UNREADABLE),
    405: (T.BAD_REQUEST, T.BAD_REQUEST),
    407: (T.PROXY, T.PROXY),
    408: (T.PASSING, T.PASSING),
    409: (T.PASSING, T.PASSING),
    410: (T.ABSENT, T.ABSENT),
    412: (T.BAD_REQUEST, T.BAD_REQUEST),
    413: (T.BAD_REQUEST, T.BAD_REQUEST),
    416: (T.BAD_REQUEST, T.BAD_REQUEST),
    429: (T.OVER_QUOTA, T.OVER_QUOTA),
    499: (T.BAD_REQUEST, T.BAD_REQUEST),
    500: (T.PASSING, T.PASSING),
    501: (T.UNREADABLE, T.UNREADABLE),
    502: (T.PASSING, T.PASSING),
    503: (T.PASSING, T.PASSING),
    504: (T.PASSING, T.PASSING),
    599: (T.UNREADABLE, T.UNREADABLE),
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_with_and_without_the_services_reason(status: int) -> None:
    with_reason, without = STATUSES[status]
    assert meaning(ApiError("", status=status, reason="A_REASON")) is with_reason
    assert meaning(ApiError("", status=status)) is without


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ApiError("", status=400, reason="FAILED_PRECONDITION"), T.BILLING),
        (ApiError("", status=400, reason="INVALID_ARGUMENT", code="api_key_refused"), T.KEY),
        (ApiError("", status=404, reason="NOT_FOUND", code="model_refused"), T.MODEL),
        (ApiError("", status=404, reason="NOT_FOUND", code="job_not_found"), T.ABSENT),
        (ApiError("", status=403, reason="PERMISSION_DENIED", code="job_not_found"), T.WITHDRAWN),
        (ApiError("", status=404, reason="NOT_FOUND", code="other_key"), T.KEY),
        (ApiError("", status=403, reason="PERMISSION_DENIED", code="other_key"), T.KEY),
        (ApiError("", status=429, reason="RESOURCE_EXHAUSTED", code="resource_exhausted"), T.OVER_QUOTA),
        (ApiError("", status=429, reason="RESOURCE_EXHAUSTED", code="over_quota"), T.OVER_QUOTA),
        (ApiError("", status=429, reason="RESOURCE_EXHAUSTED", code="storage_full"), T.STORE_FULL),
        (ApiError("", status=302, code="redirected"), T.UNREADABLE),
        (NetworkError("no such host", sent=False), T.NOT_SENT),
        (NetworkError("reset", sent=True), T.PASSING),
        (SessionLost("unknown"), T.PASSING),
        (ServiceError("", code="unreadable_answer"), T.UNREADABLE),
        (ServiceError("", code="upload_refused"), T.UNREADABLE),
        (ServiceError("", code="upload_failed"), T.PASSING),
        (ServiceError("", code="upload_damaged"), T.PASSING),
        (ServiceError("", code="create_unanswered"), T.PASSING),
        (ServiceError("", code="create_ambiguous"), T.LOCAL),
        (ServiceError("", code="refused_for_hours"), T.OVER_QUOTA),
        (ServiceError("", code="refused_at_all"), T.OVER_QUOTA),
        (ServiceError("a code that nobody has thought of", code="new"), T.UNREADABLE),
        (JobError("", job="batches/x", state="JOB_STATE_SUCCEEDED", code="results_gone"), T.ABSENT),
        (JobError("", job="batches/x", state="JOB_STATE_FAILED"), T.ABSENT),
        (NotFinished("", job="batches/x", state="JOB_STATE_RUNNING"), T.PASSING),
        (UsageError("", code="bad_name"), T.LOCAL),
        (InvalidInput("in.jsonl", [Problem(message="bad")]), T.LOCAL),
        (StateError("", code="file_changed"), T.LOCAL),
        (Interrupted(""), T.LOCAL),
        (Terminated(""), T.LOCAL),
        (Error(""), T.LOCAL),
    ],
)
def test_what_an_error_means(error: Error, expected: Trouble) -> None:
    assert meaning(error) is expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, b'{"error":{"code":404,"message":"Not found.","status":"NOT_FOUND"}}', T.ABSENT),
        (404, b"<html>nginx</html>", T.UNREADABLE),
        (404, b"", T.UNREADABLE),
        (404, b'{"error":{"message":"Not Found","type":"proxy"}}', T.UNREADABLE),
        (403, b'[{"error":{"code":403,"message":"No.","status":"PERMISSION_DENIED"}}]', T.WITHDRAWN),
        (403, b"Blocked by the company's firewall", T.UNREADABLE),
        (400, b'{"error":{"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}', T.KEY),
        (429, b'{"error":{"status":"RESOURCE_EXHAUSTED","message":"file_storage_bytes is over"}}', T.STORE_FULL),
        (429, b'{"error":{"status":"RESOURCE_EXHAUSTED","message":"Quota."}}', T.OVER_QUOTA),
        (302, b"", T.UNREADABLE),
        (407, b"<html>Squid</html>", T.PROXY),
        # A key, or its project, that is refused says nothing of the object that was asked for.
        (403, b'{"error":{"status":"PERMISSION_DENIED","message":"Your API key was reported as leaked."}}', T.KEY),
        (403, b'{"error":{"status":"PERMISSION_DENIED","details":[{"reason":"API_KEY_SERVICE_BLOCKED"}]}}', T.KEY),
        (403, b'{"error":{"status":"PERMISSION_DENIED","details":[{"reason":"CONSUMER_SUSPENDED"}]}}', T.KEY),
        (403, b'{"error":{"status":"PERMISSION_DENIED","details":[{"reason":"SERVICE_DISABLED"}]}}', T.BILLING),
        (403, b'{"error":{"status":"PERMISSION_DENIED","details":[{"reason":"BILLING_DISABLED"}]}}', T.BILLING),
        (
            403,
            b'{"error":{"status":"PERMISSION_DENIED","message":"No access to File x, or it is absent"}}',
            T.WITHDRAWN,
        ),
        # One odd value costs itself only.
        (404, b'{"error":{"code":false,"message":"Not found.","status":"NOT_FOUND"}}', T.ABSENT),
        (404, b'{"error":{"code":404,"message":["a"],"status":"NOT_FOUND"}}', T.ABSENT),
        (404, b'{"error":{"code":404,"message":"\\ud83d","status":"NOT_FOUND"}}', T.ABSENT),
        (404, b'{"error":{"code":404,"message":NaN,"status":"NOT_FOUND"}}', T.ABSENT),
        (404, b'[{"error":{"code":[],"status":"NOT_FOUND"}},7]', T.ABSENT),
        (404, b'{"error":{"code":404,"status":["NOT_FOUND"]}}', T.UNREADABLE),
        (404, b'{"error":["NOT_FOUND"]}', T.UNREADABLE),
        (404, b"[]", T.UNREADABLE),
        (404, b"[[[]]]", T.UNREADABLE),
        (404, b'{"error":null}', T.UNREADABLE),
    ],
)
def test_what_an_answer_means(status: int, body: bytes, expected: Trouble) -> None:
    assert meaning(api_error(status, body, {})) is expected


def _all_classes(kind: type[Error]) -> set[type[Error]]:
    return {kind}.union(*(_all_classes(child) for child in kind.__subclasses__()))


def test_every_error_class_has_a_meaning_that_stays_when_its_code_is_unknown() -> None:
    """Whatever a later version raises: no KeyError, and nothing of the service is taken for certain."""
    for kind in _all_classes(Error):
        error = kind.__new__(kind, "")
        error.__dict__.update(reason_code="of tomorrow", status=418, reason="", sent=True)
        trouble = meaning(error)
        if issubclass(kind, ServiceError) and kind is not ApiError:
            assert trouble.may_have_worked
        assert isinstance(trouble, Trouble)


#: The four questions, for each meaning: does it pass, may the same be repeated, may it have worked, is nothing shown?
QUESTIONS = {
    T.BAD_REQUEST: (False, False, False, False),
    T.KEY: (False, False, False, False),
    T.BILLING: (False, False, False, False),
    T.PROXY: (False, False, False, False),
    T.MODEL: (False, False, False, False),
    T.OVER_QUOTA: (True, True, True, False),
    T.STORE_FULL: (True, False, True, False),
    T.ABSENT: (True, False, False, True),
    T.WITHDRAWN: (False, False, False, True),
    T.PASSING: (True, True, True, False),
    T.UNREADABLE: (True, False, True, False),
    T.NOT_SENT: (True, True, False, False),
    T.LOCAL: (False, False, False, False),
}


@pytest.mark.parametrize("trouble", Trouble)
def test_what_is_asked_of_a_meaning(trouble: Trouble) -> None:
    asked = (trouble.passes, trouble.repeatable, trouble.may_have_worked, trouble.not_shown)
    assert asked == QUESTIONS[trouble]


@pytest.mark.parametrize(
    ("error", "certain"),
    [
        (NetworkError("dns", sent=False), True),
        (NetworkError("reset", sent=True), False),
        (ApiError("", status=400), True),
        (ApiError("", status=403, reason="PERMISSION_DENIED"), True),
        (ApiError("", status=404, reason="NOT_FOUND"), True),
        (ApiError("", status=403), False),
        (ApiError("", status=404), False),
        (ApiError("", status=407), True),
        (ApiError("", status=408), False),
        (ApiError("", status=409), False),
        (ApiError("", status=429), False),
        (ApiError("", status=500), False),
        (ApiError("", status=503), False),
        (ApiError("", status=302), False),
        (ServiceError("unreadable"), False),
    ],
)
def test_a_create_that_certainly_made_no_job(error: ServiceError, certain: bool) -> None:
    """A 4xx that can only be the service's own; whatever else came, the job is looked for before it is made again."""
    assert meaning(error).may_have_worked is not certain


def _judges_a_status(tree: ast.AST) -> list[int]:
    """Lines in which an error's ``status`` is compared with a number."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(
            isinstance(part, ast.Attribute) and part.attr == "status" for part in [node.left, *node.comparators]
        ):
            numbers = [part for part in ast.walk(node) if isinstance(part, ast.Constant) and type(part.value) is int]
            found += [node.lineno] if numbers else []
    return found


def test_nobody_else_judges_a_status() -> None:
    """One table: whoever compares a status with a number has begun a second one."""
    assert _judges_a_status(ast.parse("error.status in {403, 404}")) == [1]
    judges = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if "emulator" not in path.parts and _judges_a_status(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert judges == {"api/trouble.py"}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ApiError("", status=400, reason="INVALID_ARGUMENT"), 2),
        (ApiError("", status=400, reason="FAILED_PRECONDITION"), 2),
        (ApiError("", status=400, reason="INVALID_ARGUMENT", code="api_key_refused"), 2),
        (ApiError("", status=401, reason="UNAUTHENTICATED"), 2),
        (ApiError("", status=402, reason="PAYMENT"), 2),
        (ApiError("", status=403, reason="PERMISSION_DENIED"), 2),
        (ApiError("", status=403, reason="PERMISSION_DENIED", code="job_not_found"), 5),
        (ApiError("", status=404, reason="NOT_FOUND"), 2),
        (ApiError("", status=404, reason="NOT_FOUND", code="model_refused"), 2),
        (ApiError("", status=413), 2),
        (ApiError("", status=403), 4),
        (ApiError("", status=404), 4),
        (ApiError("", status=302, code="redirected"), 4),
        (ApiError("", status=407), 2),
        (ApiError("", status=408), 4),
        (ApiError("", status=409), 4),
        (ApiError("", status=429, reason="RESOURCE_EXHAUSTED"), 4),
        (ApiError("", status=429, reason="RESOURCE_EXHAUSTED", code="storage_full"), 4),
        (ApiError("", status=500), 4),
        (ApiError("", status=503, reason="UNAVAILABLE"), 4),
        (NetworkError("", sent=False), 4),
        (NetworkError("", sent=True), 4),
        (ServiceError("", code="create_ambiguous"), 2),
        (ServiceError("", code="create_unanswered"), 4),
        (ServiceError("", code="new"), 4),
        (JobError("", job="", state=""), 5),
        (NotFinished("", job="", state=""), 6),
        (UsageError(""), 2),
        (StateError(""), 3),
        (Interrupted(""), 130),
        (Terminated(""), 143),
    ],
)
def test_how_a_command_ends(error: Error, expected: int) -> None:
    """2: the same again cannot help. 4: it can."""
    assert exit_code(error) == expected
