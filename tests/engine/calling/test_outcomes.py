"""What the end of a call means: an answer to one request, or the end of all of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gemini_batch.api.error_answers import api_error
from gemini_batch.engine.calling.outcomes import End, end_of

INFO = "type.googleapis.com/google.rpc.ErrorInfo"
NO_KEY = {"@type": INFO, "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
COUNTRY = "User location is not supported for the API use."
BILLING = "Gemini API free tier is not available in your country. Please enable billing on your project."
ALL: list[tuple[int, str, str, list[Any], End]] = [
    (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", [NO_KEY], End.STOP),
    (400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", [NO_KEY], End.STOP),
    (400, "FAILED_PRECONDITION", COUNTRY, [], End.STOP),
    (400, "FAILED_PRECONDITION", BILLING, [], End.STOP),
    (400, "INVALID_ARGUMENT", "Flex API is not supported for model: gemini-x.", [], End.STOP),
    (400, "INVALID_ARGUMENT", "The input token count exceeds the maximum number of tokens allowed.", [], End.ANSWER),
    (401, "UNAUTHENTICATED", "Request had invalid authentication credentials.", [], End.STOP),
    (402, "", "Payment required.", [], End.STOP),
    (403, "PERMISSION_DENIED", "Your API key was reported as leaked.", [], End.STOP),
    (404, "NOT_FOUND", "models/gemini-x is not found.", [], End.STOP),
    (413, "", "Request Entity Too Large", [], End.ANSWER),
    (429, "RESOURCE_EXHAUSTED", "Quota exceeded.", [], End.REFUSED),
    (500, "INTERNAL", "An internal error has occurred.", [], End.ANSWER),
    (502, "", "Bad Gateway", [], End.BROKEN),
    (503, "UNAVAILABLE", "The model is overloaded.", [], End.REFUSED),
    (504, "DEADLINE_EXCEEDED", "Deadline expired.", [], End.BROKEN),
]


@pytest.mark.parametrize(("status", "reason", "message", "details", "end"), ALL)
def test_what_an_error_means_for_the_other_requests(
    status: int, reason: str, message: str, details: list[Any], end: End
) -> None:
    """What every other call would get ends the job with the service's own words; no row gets it as its answer."""
    body = {"error": {"code": status, "status": reason, "message": message, "details": details}}
    assert end_of(api_error(status, msgspec.json.encode(body), {}), names_files=False) is end


@pytest.mark.parametrize("status", [403, 404])
def test_a_file_that_may_not_be_read_is_one_row_s_trouble_unless_the_key_is_refused(status: int) -> None:
    body = {"error": {"code": status, "status": "PERMISSION_DENIED", "message": "You may not access the File."}}
    assert end_of(api_error(status, msgspec.json.encode(body), {}), names_files=True) is End.ANSWER
    body["error"]["message"] = "Your API key was reported as leaked."
    if status == 403:
        assert end_of(api_error(status, msgspec.json.encode(body), {}), names_files=True) is End.STOP
