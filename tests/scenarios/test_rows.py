"""Jobs that succeed and rows that do not: blocked, cut, empty, refused, strange. Each gets the verdict it deserves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from scenarios.story import KEYS, SUCCEEDED, Case, Step, asking, embedding, play

if TYPE_CHECKING:
    from scenarios.conftest import Stage

ASKING_JSON = tuple(
    {
        "key": key,
        "request": {
            "contents": [{"parts": [{"text": f"Say {key}"}]}],
            "generationConfig": {
                "responseMimeType": "application/json",
                "responseSchema": {"type": "OBJECT", "properties": {"name": {"type": "STRING"}}},
            },
        },
    }
    for key in KEYS
)
CACHED = tuple(asking(key, cachedContent="cachedContents/gone") for key in KEYS)
VECTORS = tuple(embedding(key) for key in KEYS)


def some(*verdicts: str, code: int = 1, says: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """The first rows end so; the job has succeeded all the same."""
    found = {key: verdict for key, verdict in zip(KEYS, verdicts, strict=False) if verdict}
    return {"results": Step(code=code, says=says), "verdicts": found, **more}


CASES = [
    Case(
        scenario="G1",
        title="a prompt is blocked",
        faults=("G1",),
        **some("blocked PROMPT_PROHIBITED_CONTENT", says=("1 blocked: PROMPT_PROHIBITED_CONTENT (keys: a)",)),
    ),
    Case(scenario="G2", title="stopped for safety", faults=("G2",), **some("blocked SAFETY")),
    Case(
        scenario="G3",
        title="recitation and only citations",
        faults=("G3",),
        **some("blocked RECITATION", "blocked RECITATION"),
    ),
    Case(
        scenario="G3", title="only citations and STOP", faults=({"row": "citations"},), **some("empty CITATIONS_ONLY")
    ),
    Case(
        scenario="G4",
        title="no usable text",
        faults=("G4a", "G4b", "G4d"),
        **some("truncated MODEL_MAX_TOKENS", "truncated MODEL_MAX_TOKENS", "empty EMPTY_TEXT"),
    ),
    Case(scenario="G4", title="thoughts and signatures", faults=("G4c", "G4e")),
    Case(scenario="G5", title="nothing at all", faults=("G5",), **some("empty NO_CANDIDATES")),
    Case(
        scenario="G6",
        title="JSON that does not parse",
        faults=("G6",),
        lines=ASKING_JSON,
        own_text=False,
        **some("invalid NOT_JSON"),
    ),
    Case(
        scenario="G7",
        title="JSON in a fence",
        faults=("G7",),
        lines=ASKING_JSON,
        own_text=False,
        **some("invalid JSON_IN_FENCES"),
    ),
    Case(
        scenario="G10",
        title="usage missing",
        faults=("G10",),
        results=Step(says=("4 succeeded", "1 answer without token counts", "at least $")),
    ),
    Case(scenario="G11", title="a new finish reason", faults=("G11",), **some("failed UNKNOWN_FINISH_REASON")),
    Case(
        scenario="G14",
        title="newer finish reasons",
        faults=("G14",),
        **some("truncated CONTINUATION", "blocked MODEL_ARMOR", "blocked PUP_LIMITED_DISABLED"),
    ),
    Case(scenario="G12", title="a function call", faults=("G12",), own_text=False),
    Case(
        scenario="G13",
        title="errors of every kind",
        faults=("G13",),
        lines=tuple(asking(key) for key in "abcdefg"),
        results=Step(code=1, says=("1 succeeded, 6 failed",)),
        verdicts=dict(
            zip(
                "abcdef",
                (
                    "failed INTERNAL",
                    "failed RESOURCE_EXHAUSTED",
                    "failed DEADLINE_EXCEEDED",
                    "failed UNAVAILABLE",
                    "failed INVALID_ARGUMENT",
                    "failed INTERNAL",
                ),
                strict=True,
            )
        ),
    ),
    Case(
        scenario="G13",
        title="a status instead of an error",
        faults=({"row": "status", "code": 8},),
        **some("failed RESOURCE_EXHAUSTED"),
    ),
    Case(scenario="G13", title="neither response nor error", faults=({"row": "nothing"},), **some("empty NO_RESPONSE")),
    Case(
        scenario="G13",
        title="every row fails",
        faults=({"row": "error", "times": 0},),
        **some(*["failed INTERNAL"] * 4, says=("4 failed: INTERNAL",)),
    ),
    Case(
        scenario="C13",
        title="a cache that is gone",
        faults=("C13",),
        results=Step(code=1),
        verdicts={"a": "failed PERMISSION_DENIED"},
    ),
    Case(
        scenario="C13",
        title="a cache that never was",
        lines=CACHED,
        **some(*["failed PERMISSION_DENIED"] * 4, says=("4 failed: PERMISSION_DENIED",)),
    ),
    Case(scenario="E1", title="embeddings", lines=VECTORS, own_text=False),
    Case(scenario="E1", title="embeddings inline", lines=VECTORS, options=("--inline",), own_text=False),
    Case(
        scenario="E2",
        title="a short vector and one that is none",
        faults=("E2",),
        lines=VECTORS,
        own_text=False,
        **some("invalid DIMENSION", "invalid BAD_VECTOR"),
    ),
    Case(
        scenario="E4",
        title="all embeddings fail",
        faults=("E4",),
        lines=VECTORS,
        own_text=False,
        **some(*["failed INTERNAL"] * 4),
    ),
    Case(
        scenario="E4",
        title="all embeddings fail inline",
        faults=("E4",),
        lines=VECTORS,
        options=("--inline",),
        own_text=False,
        **some(*["failed INTERNAL"] * 4),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows(case: Case, stage: Stage) -> None:
    play(case, stage)


def test_a_model_that_makes_no_embeddings(stage: Stage) -> None:
    """E3: refused here or by the service; nothing is made."""
    stage.shell.write("requests.jsonl", *VECTORS)
    known = stage.run("create", "requests.jsonl", "--model", "gemini-3-flash-preview")
    assert (known.code, known.out) == (2, "")
    assert "does not create embeddings" in known.err
    stage.arm(operation="batches.create", status=404)

    done = stage.run("create", "requests.jsonl")

    assert (done.code, done.out) == (2, "")
    assert "cannot run a batch with gemini-embedding-2" in done.err
    assert stage.made() == 0


def test_the_job_is_green_and_a_third_is_not(stage: Stage) -> None:
    """G13: status speaks of the job, results of the rows; every failed line has an error, the rest has none."""
    keys = [f"k{number}" for number in range(30)]
    stage.arm(row="error", key="/[048]$/", times=0, code=14)
    stage.shell.write("requests.jsonl", *map(asking, keys))
    job = stage.run("create", "requests.jsonl").out.strip()

    assert stage.run("status", job, "--wait").code == 0
    done = stage.run("results", job, "-o", "results.jsonl")

    assert done.code == 1
    assert "9 failed: UNAVAILABLE: The service is currently unavailable. (keys: k0, k4, k8, …)" in done.err
    lines = stage.read()
    assert [line["key"] for line in lines] == keys
    assert sum("error" in line for line in lines) == 9
    assert stage.run("status", job).out == f"{SUCCEEDED}\n"
