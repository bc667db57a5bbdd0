"""What the emulator refuses of a request: when a job is created, when a row is processed, and in single calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from emulator.conftest import MODEL, Api, line, results_of
from gemini_batch.catalog import load

if TYPE_CHECKING:
    from gemini_batch.testing import GeminiEmulator

TEXT: dict[str, Any] = {"contents": [{"parts": [{"text": "x"}]}]}
BOTH = {**TEXT, "generationConfig": {"thinkingConfig": {"thinkingBudget": 5, "thinkingLevel": "LOW"}}}
HOT = {**TEXT, "generation_config": {"temperature": 3}}
NEW = {**TEXT, "surprise": {"depth": 1}}


def test_rows_that_break_a_rule_fail_alone(world: Api) -> None:
    """In a file, in canonical form and not; the others are answered."""
    requests = [TEXT, BOTH, HOT, TEXT]
    found = results_of(world, [json.dumps({"key": str(n), "request": one}).encode() for n, one in enumerate(requests)])
    assert [one.get("error", {}).get("code") for one in found] == [None, 3, 3, None]
    assert "only one of thinking budget and thinking level" in found[1]["error"]["message"]
    assert found[2]["error"]["message"] == (
        "* GenerateContentRequest.generation_config.temperature: must be in the range [0, 2]\n"
    )


def test_inline_rows_that_break_a_rule(world: Api) -> None:
    """The same, with their metadata."""
    rows = [{"request": one, "metadata": {"key": str(n)}} for n, one in enumerate([TEXT, BOTH])]
    done = world.finish(world.begin(rows))
    answers = done["response"]["inlinedResponses"]["inlinedResponses"]
    assert [(one.get("error", {}).get("code"), one["metadata"]["key"]) for one in answers] == [(None, "0"), (3, "1")]


def test_a_rule_of_the_jobs_model(world: Api) -> None:
    """Not the request's."""
    data = line("a", thinkingConfig={"thinkingLevel": "MINIMAL"})
    for model, code in ((MODEL, None), ("gemini-4-argon", 3)):
        body = {"batch": {"inputConfig": {"fileName": world.upload(data)}}}
        made = world.http.post(f"/v1beta/models/{model}:batchGenerateContent", json=body)
        (answer,) = world.results(made.json()["name"])
        assert answer.get("error", {}).get("code") == code


#: What the models of the fourth generation refuse, and one setting that they alone accept.
FOURTH: list[tuple[dict[str, Any], int]] = [
    ({**TEXT, "generationConfig": {"thinkingConfig": {"thinkingBudget": 5}}}, 3),
    ({**TEXT, "generationConfig": {"thinkingConfig": {"thinkingLevel": "MINIMAL"}}}, 3),
    ({**TEXT, "generationConfig": {"frequencyPenalty": 0.5}}, 3),
    ({**TEXT, "generationConfig": {"presencePenalty": 0.5}}, 3),
    ({**TEXT, "generationConfig": {"candidateCount": 2}}, 3),
    ({**TEXT, "cachedContent": "cachedContents/x"}, 3),
    ({"contents": [*TEXT["contents"], {"role": "model", "parts": [{"text": "x"}]}]}, 3),
    ({**TEXT, "generationConfig": {"thinkingConfig": {"thinkingLevel": "XHIGH"}}}, 0),
    ({**TEXT, "generationConfig": {"temperature": 0.1, "topP": 0.5, "topK": 3}}, 0),
]


@pytest.mark.parametrize("model", [name for name in load().models if name.startswith("gemini-4-")])
def test_the_rules_of_the_fourth_generation(world: Api, model: str) -> None:
    """For every model of it, in rows of a file, inline, and in a single call."""
    wanted = [code for _, code in FOURTH]
    file = b"".join(json.dumps({"key": str(n), "request": one}).encode() + b"\n" for n, (one, _) in enumerate(FOURTH))
    inline = {"requests": {"requests": [{"request": one} for one, _ in FOURTH]}}
    for source in ({"fileName": world.upload(file)}, inline):
        body = {"batch": {"inputConfig": source}}
        made = world.http.post(f"/v1beta/models/{model}:batchGenerateContent", json=body).json()["name"]
        response = world.finish(made)["response"]
        answers = world.results(made) if source is not inline else response["inlinedResponses"]["inlinedResponses"]
        assert [answer.get("error", {}).get("code", 0) for answer in answers] == wanted
    calls = [world.http.post(f"/v1beta/models/{model}:generateContent", json=one).status_code for one, _ in FOURTH]
    assert calls == [400 if code else 200 for code in wanted]


@pytest.mark.parametrize("request_", [BOTH, HOT, NEW], ids=["both", "hot", "new"])
def test_a_single_call_is_refused(world: Api, request_: dict[str, Any]) -> None:
    """With 400, at once."""
    answer = world.http.post(f"/v1beta/models/{MODEL}:generateContent", json=request_)
    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


def test_lenient(gemini_emulator: GeminiEmulator) -> None:
    """Unknown names and likely refusals are accepted; certain ones are not."""
    with httpx2.Client(base_url=gemini_emulator.url, headers={"x-goog-api-key": "k"}) as http:
        url = f"/v1beta/models/{MODEL}"
        inline = {"batch": {"inputConfig": {"requests": {"requests": [{"request": NEW}]}}}}
        for lenient, codes in ((False, (400, 400, 400, 400)), (True, (200, 200, 400, 200))):
            gemini_emulator.refuse(lenient=lenient)
            found = [http.post(f"{url}:generateContent", json=one).status_code for one in (NEW, HOT, BOTH)]
            assert (*found, http.post(f"{url}:batchGenerateContent", json=inline).status_code) == codes
