"""Guards at the edges: streams that cannot be written, exit codes, names that are not text, half-made folders."""

from __future__ import annotations

from mutation.breakage import Breakage

STREAMS = "tests/cli/test_streams.py"
COMMANDS = f"{STREAMS}::test_every_command_with_streams_that_cannot_be_written"
HALF_MADE = "tests/cli/test_half_made.py"
ENCODINGS = "tests/cli/test_encodings.py"
SKILL = "tests/cli/test_skill_install.py"

EDGES = (
    Breakage(
        guard="a stderr that cannot be written ends no work",
        file="start.py",
        old="with contextlib.suppress(OSError, ValueError):",
        new="with contextlib.suppress(ValueError):",
        tests=(COMMANDS, f"{STREAMS}::test_the_answer_is_the_same_without_stderr"),
    ),
    Breakage(
        guard="a closed stream gets its number back",
        file="start.py",
        old="opened = os.open(os.devnull, flags)",
        new="continue",
        tests=(COMMANDS, f"{STREAMS}::test_every_way_in_survives_its_streams"),
    ),
    Breakage(
        guard="nothing is sent for an answer that nobody can read",
        file="cli/common.py",
        old="if uses_stdout(as_json=as_json, **options):",
        new="if not uses_stdout(as_json=as_json, **options):",
        tests=(COMMANDS,),
    ),
    Breakage(
        guard="whatever fails at the start ends with 3",
        file="start.py",
        old="    except BaseException as error:",
        new="    except ValueError as error:",
        tests=(
            f"{STREAMS}::test_whatever_fails_at_the_start_is_3",
            f"{STREAMS}::test_a_broken_installation_is_named",
        ),
    ),
    Breakage(
        guard="a library that leaves the process does not choose the exit code",
        file="cli/__init__.py",
        old="except (Exception, KeyboardInterrupt, SystemExit) as error:",
        new="except (Exception, KeyboardInterrupt) as error:",
        tests=(f"{STREAMS}::test_a_fault_of_ours_is_3",),
    ),
    Breakage(
        guard="stdout takes every character",
        file="start.py",
        old='sys.stdout.reconfigure(errors="backslashreplace")',
        new="pass",
        tests=(f"{ENCODINGS}::test_what_every_command_prints",),
    ),
    Breakage(
        guard="JSON takes every name",
        file="cli/outcome.py",
        old="return utf8_text(content)",
        new="return content",
        tests=(f"{ENCODINGS}::test_json_is_utf_8_whatever_the_encoding",),
    ),
    Breakage(
        guard="the ledger takes the name of every request file",
        file="intake/submission.py",
        old="else utf8_text(named(submission.source.absolute()))",
        new="else named(submission.source.absolute())",
        tests=(f"{ENCODINGS}::test_a_file_whose_name_is_not_text_has_its_results",),
    ),
    Breakage(
        guard="a run that is not in the ledger leaves no folder",
        file="intake/submission.py",
        old="if ledger.run(run.id) is None:",
        new="if ledger.run(run.id) is not None:",
        tests=(f"{HALF_MADE}::test_a_failure_leaves_no_run_folder",),
    ),
    Breakage(
        guard="an adoption that is not in the ledger leaves no folder",
        file="engine/collector.py",
        old="        if not is_new:\n            folder.path.rmdir()",
        new="        pass",
        tests=(f"{HALF_MADE}::test_an_adoption_that_fails_leaves_no_run_folder",),
    ),
    Breakage(
        guard="a run that cannot be read does not hide the others",
        file="commands/list_jobs.py",
        old="    except StateError as error:  # it costs",
        new="    except ZeroDivisionError as error:  # it costs",
        tests=(f"{HALF_MADE}::test_an_odd_run_folder_costs_itself_only",),
    ),
    Breakage(
        guard="raw lines keep the service's bytes",
        file="report/outcome.py",
        old="    return outcome.data\n",
        new="    return outcome.data.lower()\n",
        tests=("tests/cli/test_raw_results.py::test_the_lines_are_those_of_the_service",),
    ),
    Breakage(
        guard="a record from elsewhere removes no other file",
        file="commands/skill.py",
        old="for name, digest in record.files.items() if _is_ours(name)}",
        new="for name, digest in record.files.items()}",
        tests=(f"{SKILL}::test_a_record_removes_nothing_but_files_of_the_skill",),
    ),
    Breakage(
        guard="a file of the skill that was edited is not replaced unasked",
        file="commands/skill.py",
        old="if in_the_way and not force:",
        new="if obstacles and not force:",
        tests=(f"{SKILL}::test_a_record_that_cannot_be_read_protects_the_files",),
    ),
    Breakage(
        guard="the skill is not written through a link",
        file="commands/skill.py",
        old="if path.is_symlink() or (path.exists() and not path.is_dir()):",
        new="if path.exists() and not path.is_dir():",
        tests=(f"{SKILL}::test_nothing_is_written_through_a_link",),
    ),
    Breakage(
        guard="an old file of the skill that was edited is not removed",
        file="commands/skill.py",
        old="[name for name in gone if there.get(name) == recorded[name]]",
        new="[name for name in gone if name in there]",
        tests=(f"{SKILL}::test_an_old_file_that_was_edited_stays", f"{SKILL}::test_the_plan"),
    ),
)
