"""Guards of schemas: what they fetch, how large they grow, and which answers are compared with them."""

from __future__ import annotations

from mutation.breakage import Breakage

_ANSWERS = "tests/answers/test_schema.py"
_RUNS = "tests/engine/test_answer_schemas.py"
_RECALL = "tests/memory/test_recall.py::test_an_answer_is_compared_with_the_schema_of_the_row_that_takes_it"
SCHEMAS = (
    Breakage(
        guard="a reference in a schema fetches nothing",
        file="protocol/schema_checker.py",
        old=", offline=True)",
        new=")",
        tests=("tests/protocol/test_schema_checker.py::test_no_file_is_read",),
    ),
    Breakage(
        guard="an answer is compared with the schema of its request",
        file="answers/verdict.py",
        old="    flaw = None if form.checker is None else form.checker.flaw(value)\n",
        new="    flaw = None\n",
        tests=(
            f"{_ANSWERS}::test_a_schema_only_decides_about_answers_that_would_succeed",
            f"{_RUNS}::test_answers_are_compared_with_the_schema_of_the_request",
        ),
    ),
    Breakage(
        guard="an answer from another run is compared with the schema",
        file="memory/borrowing.py",
        old="            checker = checker_of(rows.schema(schema))\n",
        new="            checker = None\n",
        tests=(_RECALL,),
    ),
    Breakage(
        guard="an answer from another run is compared with the schema, also if it is no JSON",
        file="memory/borrowing.py",
        old='"OR r.schema IS NOT NULL) ',
        new='") ',
        tests=(_RECALL,),
    ),
    Breakage(
        guard="the value of an answer stands on one line",
        file="answers/result_line.py",
        old='text.strip().replace("\\r", " ").replace("\\n", " ").encode()',
        new="text.strip().encode()",
        tests=(f"{_ANSWERS}::test_the_value_stands_next_to_the_text_as_it_was_written",),
    ),
    Breakage(
        guard="a few references cannot ask for a schema of any size",
        file="tables/making/schema_parts.py",
        old="        if self._taken > _MOST_PARTS:\n",
        new="        if False:\n",
        tests=("tests/tables/test_schema.py::test_a_few_references_can_ask_for_billions_of_parts",),
    ),
    Breakage(
        guard="the schema of one request is not taken for that of another",
        file="store/rows/rows.py",
        old="        if row.schema is not self._last[0]:",
        new="        if not self._last[0]:",
        tests=(
            f"{_RUNS}::test_each_schema_is_kept_once",
            f"{_RUNS}::test_every_request_can_have_a_schema_of_its_own",
        ),
    ),
)
