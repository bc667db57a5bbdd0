"""Guards of tables out: every row with its own answer, nothing that a spreadsheet runs, nothing half written."""

from __future__ import annotations

from mutation.breakage import Breakage

_TESTS = "tests/tables/outputs"

_OUTPUTS = "tests/cli/test_table_outputs.py"

TABLES_OUT = (
    Breakage(
        guard="an output is no part of its input",
        file="commands/run.py",
        old="    if submission.table is not None and output is not None:\n",
        new="    if submission.table is None and output is not None:\n",
        tests=(f"{_OUTPUTS}::test_an_output_never_becomes_a_part_of_its_input",),
    ),
    Breakage(
        guard="a table that could not be written is refused before anything is sent",
        file="commands/run.py",
        old="        if made.prepared is not None:\n",
        new="        if made.prepared is None:\n",
        tests=(f"{_OUTPUTS}::test_a_name_that_is_taken_is_refused_before_anything_is_sent",),
    ),
    Breakage(
        guard="a row that is not sent has a key of its own",
        file="tables/making/prepare.py",
        old="            if own is not None and (key := self._own(own, at, keys)) is None:\n",
        new="            if own and type(body) is bytes and (key := self._own(own, at, keys)) is None:\n",
        tests=(
            f"{_OUTPUTS}::test_a_row_that_is_not_sent_has_a_key_of_its_own",
            "tests/tables/test_making.py::test_a_row_that_is_not_sent_has_a_key_of_its_own_too",
        ),
    ),
    Breakage(
        guard="numbers beyond 32 bits do not stop a table",
        file="tables/outputs/kinds.py",
        old="return _number(value, _LARGEST_SINGLE)",
        new="return _number(value)",
        tests=(f"{_TESTS}/test_cells.py::test_an_embedding_has_its_length",),
    ),
    Breakage(
        guard="there are as many answers as rows",
        file="tables/outputs/join.py",
        old="if source is not None and source.rows != spool.rows:",
        new="if source is not None and source.rows < 0:",
        tests=(f"{_TESTS}/test_wrong.py::test_as_many_answers_as_rows",),
    ),
    Breakage(
        guard="the spool of answers is private",
        file="tables/outputs/join.py",
        old="with part_of(near, private=True) as file:",
        new="with part_of(near) as file:",
        tests=(f"{_TESTS}/test_formats.py::test_the_temporary_files_are_private_and_where_they_are_wanted",),
    ),
    Breakage(
        guard="text that a spreadsheet would run gets an apostrophe",
        file="tables/outputs/lines.py",
        old="            if spreadsheet:",
        new="            if spreadsheet and at < 0:",
        tests=(f"{_TESTS}/test_spreadsheets.py::test_text_that_a_spreadsheet_would_run_gets_an_apostrophe",),
    ),
    Breakage(
        guard="text in a workbook is no formula",
        file="tables/outputs/workbook.py",
        old="        cell.data_type = kind\n",
        new="",
        tests=(f"{_TESTS}/test_spreadsheets.py::test_text_in_a_workbook_is_text",),
    ),
    Breakage(
        guard="a text that is too long for a sheet is not cut off",
        file="tables/outputs/workbook.py",
        old="> CHARACTERS:\n            where",
        new="> 9 * CHARACTERS:\n            where",
        tests=(f"{_TESTS}/test_wrong.py::test_a_text_that_is_too_long_for_a_sheet",),
    ),
    Breakage(
        guard="no new column takes the name of another",
        file="tables/outputs/columns.py",
        old="    if theirs:\n",
        new="    if theirs and not taken:\n",
        tests=(f"{_TESTS}/test_columns.py::test_a_name_that_would_be_used_twice_is_refused",),
    ),
    Breakage(
        guard="a whole number beyond 64 bits is a problem of its cell",
        file="tables/outputs/kinds.py",
        old="if not -(2**63) <= whole < 2**63:",
        new="if not whole:",
        tests=(f"{_TESTS}/test_cells.py::test_what_does_not_fit_is_an_empty_cell_and_a_problem",),
    ),
    Breakage(
        guard="nothing is fetched from the network",
        file="tables/outputs/engine.py",
        old='db.execute("SET autoload_known_extensions = false")',
        new="pass",
        tests=(f"{_TESTS}/test_wrong.py::test_no_extension_is_fetched_and_none_is_loaded",),
    ),
    Breakage(
        guard="folders called key=value add no columns to the table of a run",
        file="tables/outputs/join.py",
        old=", hive_partitioning = false)",
        new=")",
        tests=(f"{_TESTS}/test_formats.py::test_folders_with_equals_signs_add_no_columns",),
    ),
    Breakage(
        guard="a row that is not kept leaves the others with their answers",
        file="tables/outputs/join.py",
        old=" WHERE coalesce(a.{_KEEP}, true)",
        new=" LIMIT {spool.kept}",
        tests=(f"{_TESTS}/test_formats.py::test_rows_that_are_not_kept_are_left_out_and_no_other_moves",),
    ),
    Breakage(
        guard="a field of CSV with a line end is quoted",
        file="tables/outputs/lines.py",
        old='for sign in (separator, \'"\', "\\n", "\\r"))\n    names',
        new="for sign in (separator, '\"'))\n    names",
        tests=(f"{_TESTS}/test_formats.py::test_when_a_field_of_csv_is_quoted",),
    ),
    Breakage(
        guard="the empty text of CSV is not null",
        file="tables/outputs/lines.py",
        old="WHEN {field} = '' OR {special",
        new="WHEN {special",
        tests=(f"{_TESTS}/test_formats.py::test_when_a_field_of_csv_is_quoted",),
    ),
    Breakage(
        guard="a table takes no place of a file that holds something else",
        file="report/result_set.py",
        old="        check_output(self._state_folder, path, failures=False)\n",
        new="",
        tests=("tests/cli/test_tables.py::test_a_table_takes_no_place_of_anything_else",),
    ),
)
