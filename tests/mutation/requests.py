"""Guards of what a request can hold, on both sides of the wire."""

from __future__ import annotations

from mutation.breakage import Breakage

RULES = "tests/protocol/test_rules.py"
KEPT = f"{RULES}::test_a_rule_is_kept_on_both_sides"

REQUESTS = (
    Breakage(
        guard="an unknown name in a request",
        file="protocol/reading.py",
        old="if not self.lenient or message.name in rules.CLOSED:",
        new="if message.name in rules.CLOSED:",
        tests=(KEPT, "tests/protocol/test_differential.py::test_what_validation_passes_the_emulator_accepts"),
    ),
    Breakage(
        guard="a word of JSON Schema is refused leniently, too",
        file="protocol/rules.py",
        old='CLOSED = frozenset({"Schema"})',
        new="CLOSED = frozenset[str]()",
        tests=(KEPT,),
    ),
    Breakage(
        guard="two values of a oneof",
        file="protocol/reading.py",
        old="self._twice(inner, field)",
        new="pass",
        tests=("tests/emulator/messages/test_protojson.py::test_refusals",),
    ),
    Breakage(
        guard="base64 of an impossible length",
        file="protocol/reading.py",
        old="return (len(text) - padding) % 4 != 1 and",
        new="return",
        tests=(KEPT,),
    ),
    Breakage(
        guard="messages nested deeper than protobuf reads",
        file="protocol/reading.py",
        old="if self._depth == DEEPEST:",
        new="if self._depth == -1:",
        tests=(f"{RULES}::test_nesting_has_a_limit",),
    ),
    Breakage(
        guard="the range of a number",
        file="protocol/judging.py",
        old="value not in check.limit.range:",
        new="value is None:",
        tests=(KEPT, "tests/emulator/service/test_refusals.py::test_rows_that_break_a_rule_fail_alone"),
    ),
    Breakage(
        guard="thinking level together with budget",
        file="protocol/setting_checks.py",
        old="if budget is not None and level is not None:",
        new="if budget is None and level is None:",
        tests=(KEPT, f"{RULES}::test_the_emulator_says_it_in_the_services_words"),
    ),
    Breakage(
        guard="Gemini 4 refuses a thinking budget",
        file="protocol/setting_checks.py",
        old="if budget is not None and generation >= rules.NO_BUDGET_FROM:",
        new="if budget is not None and generation < 0:",
        tests=(KEPT,),
    ),
    Breakage(
        guard="a verdict on settings is for one model",
        file="protocol/checks.py",
        old="tuple(broken_settings(message, jsonl.decode(settings), model=model))",
        new='tuple(broken_settings(message, jsonl.decode(settings), model=""))',
        tests=(f"{RULES}::test_a_verdict_on_settings_is_remembered_for_the_same_settings_only", KEPT),
    ),
    Breakage(
        guard="validation compares settings with the tables",
        file="validation/generate.py",
        old='{name: value for name, value in request.items() if name != "content" or value is None},',
        new="{},",
        tests=("tests/protocol/test_differential.py::test_what_validation_passes_the_emulator_accepts", KEPT),
    ),
    Breakage(
        guard="validation compares contents with the tables",
        file="validation/generate.py",
        old="if not plain or (",
        new="if (not said) or (",
        tests=("tests/protocol/test_differential.py::test_what_validation_passes_the_emulator_accepts", KEPT),
    ),
    Breakage(
        guard="warnings come with errors",
        file="intake/staging.py",
        old="[*findings.errors, *findings.warnings]",
        new="[*findings.errors]",
        tests=("tests/validation/test_cases.py::test_warnings_come_with_errors",),
    ),
    Breakage(
        guard="a warning does not take the place of an error on the screen",
        file="cli/outcome.py",
        old='key=lambda same: same[0].severity != "error"',
        new="key=lambda same: 0",
        tests=("tests/cli/test_rules.py::test_errors_are_shown_before_warnings",),
    ),
    Breakage(
        guard="a row that breaks a rule fails in the emulator",
        file="emulator/engine/work.py",
        old="        if not plain:\n            respond",
        new="        if plain:\n            respond",
        tests=("tests/emulator/service/test_refusals.py::test_rows_that_break_a_rule_fail_alone",),
    ),
    Breakage(
        guard="a refused row is not sent ahead to a responder",
        file="emulator/engine/work.py",
        old="lambda data: fit(model, read(data).request)",
        new="lambda data: read(data).request",
        tests=("tests/emulator/responders/test_functions.py::test_refused_rows_do_not_reach_a_function",),
    ),
    Breakage(
        guard="create and run check the rules of their model",
        file="intake/submission.py",
        old="model_of(submission, Method.GENERATE), check=refuse,",
        new="model_of(submission, Method.GENERATE), check=False,",
        tests=("tests/cli/test_rules.py::test_the_rules_of_the_model",),
    ),
    Breakage(
        guard="a suggested command never overwrites a file",
        file="validation/repairs.py",
        old="while target == path or target.exists():",
        new="while not target:",
        tests=("tests/validation/test_check_file.py::test_no_printed_command_would_overwrite_a_file",),
    ),
    Breakage(
        guard="--fix does not write over the original",
        file="commands/fixing.py",
        old="if real(output) == real(source) or (output.exists() and output.samefile(source)):",
        new="if output == source.parent:",
        tests=("tests/cli/test_validate_fix.py::test_the_original_is_not_replaced_by_force",),
    ),
    Breakage(
        guard="--fix keeps the digits of numbers",
        file="validation/fixing/exact.py",
        old="Decoder(float_hook=Decimal)",
        new="Decoder(float_hook=float)",
        tests=("tests/validation/test_fixers.py::test_numbers_and_texts_stay_exact",),
    ),
    Breakage(
        guard="--fix overwrites no other value",
        file="validation/fixing/notes.py",
        old="return bool(obj[name] == value)",
        new="break",
        tests=("tests/validation/test_fixers.py::test_what_is_not_certain_stays",),
    ),
    Breakage(
        guard="a line that is cut off does not swallow the next one",
        file="validation/fixing/reading.py",
        old="begins_another = line is not first and",
        new="begins_another = line is None and",
        tests=("tests/validation/test_fix_reading.py::test_lines_after_a_cut_are_not_read_again",),
    ),
    Breakage(
        guard="an escape at the end of a chunk",
        file="validation/fixing/splitting.py",
        old="start = max(start, len(self._buffer))",
        new="start = len(self._buffer)",
        tests=("tests/validation/test_fix_reading.py::test_an_escape_at_the_end_of_a_chunk",),
    ),
    Breakage(
        guard="a numbered key is one that no line has",
        file="used_keys.py",
        old="while self.first(wanted, place) is not None:",
        new="if self.first(wanted, place) is not None:",
        tests=(
            "tests/cli/test_validate_fix.py::test_a_number_that_another_line_has",
            "tests/cli/test_validate_fix.py::test_keys",
        ),
    ),
)
