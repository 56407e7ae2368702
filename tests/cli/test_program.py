"""The program as a whole: cheap help, commands that are documented, one table of exit codes."""

import json
import logging
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest
from command_line import separate_runner
from forks import run_program, start_program

from sm_tuning import _errors
from sm_tuning.cli import main
from sm_tuning.cli._main import EXIT_CODES, MEANINGS, exit_code

ROOT = Path(__file__).parents[2]
PROGRAM = "from sm_tuning.cli import main; main()"


def all_commands(group=main, path="sm-tuning"):
    """Every command with its full path, and the entry of the table that led to it."""
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield f"{path} {name}", command, group.entries[name]
        if isinstance(command, click.Group):
            yield from all_commands(command, f"{path} {name}")


COMMANDS = list(all_commands())
PATHS = [path for path, _, _ in COMMANDS]


def subclasses(kind):
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def run(code: str, *args: str, preload: str = "nothing") -> subprocess.CompletedProcess[str]:
    return run_program([sys.executable, "-c", code, *args], preload=preload, cwd=ROOT, env=os.environ)


def test_the_commands_are_those_that_exist_and_no_more():
    names = (
        *("init", "check", "render", "launch", "list", "status", "wait", "track", "stop", "restore"),
        *("trials", "curves", "logs"),
        *(
            "errors",
            "utilization",
            "cost",
            "report",
            "compare",
            "export",
            "advise",
            "replay",
            "automl",
            "sync",
            "mcp",
            "cache",
            "cache clear",
            "evaluate",
            "gate",
        ),
        *("import", "register", "show", "schema"),
        *("study", "study run", "study step", "study front", "study lineage", "study list"),
        *("local", "local start", "local env", "local run", "local status", "local prune", "local stop"),
    )
    assert [path.partition(" ")[2] for path in PATHS] == list(names)


@pytest.mark.parametrize(("path", "command", "entry"), COMMANDS, ids=PATHS)
def test_each_command_says_what_it_does_as_the_table_says(path, command, entry):
    assert command.help
    assert command.help.partition("\n\n")[0].replace("\n", " ") == entry.short_help
    assert command.name == path.rpartition(" ")[2]
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or parameter.help, f"{parameter.name} has no help"


@pytest.mark.parametrize(("path", "command"), [c[:2] for c in COMMANDS if not isinstance(c[1], click.Group)])
def test_each_command_shows_an_example_of_itself(path, command):
    example = re.search(r"Example: (.*)", command.help)
    assert example
    assert path in example.group(1)


def test_the_page_of_commands_has_every_command():
    headings = re.findall(r"^## (.*)$", (ROOT / "docs/cli.md").read_text(encoding="utf-8"), re.M)
    assert headings == ["sm-tuning", *PATHS]


HELP_OF_ALL = """
import contextlib, io, json, sys
from sm_tuning.cli import main

found = {}
for path in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main([*path.split()[1:], "--help"])
    found[path] = [out.getvalue(), list(sys.modules)]
print(json.dumps(found))
"""


def test_help_loads_none_of_the_heavy_libraries(processes):
    """One process for all commands: what one has loaded, each later one has as well."""
    result = run(HELP_OF_ALL, "sm-tuning", *PATHS)
    assert (result.returncode, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    heavy = {"boto3", "botocore", "pandas", "numpy", "pydantic", "sagemaker", "rich", "yaml", "moto"}
    assert {path: said for path, (said, _) in found.items() if not said.startswith(f"Usage: {path} ")} == {}
    assert {path: names for path, (_, names) in found.items() if heavy & set(names)} == {}


def test_help_takes_less_than_300_ms_of_cpu(processes):
    def takes() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", PROGRAM, "--help"], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert any(takes() < 0.3 for _ in range(3))


def test_a_call_without_arguments_shows_the_help(processes):
    assert run(PROGRAM).stdout == run(PROGRAM, "--help").stdout


@pytest.mark.parametrize("kind", sorted(subclasses(_errors.SmTuningError), key=lambda k: k.__name__))
def test_each_of_our_errors_has_the_exit_code_of_its_branch(kind):
    error = kind.__new__(kind)
    expected = 2 if issubclass(kind, _errors.SpecError) else 3 if issubclass(kind, _errors.ServiceError) else 1
    assert exit_code(error) == expected == kind.exit_code


@pytest.mark.parametrize(
    ("error", "code"), [(click.UsageError("no"), 2), (click.Abort(), 130), (KeyboardInterrupt(), 130)]
)
def test_what_the_shell_does_wrong_or_interrupts_has_an_exit_code(error, code):
    assert exit_code(error) == code


def test_an_error_that_is_not_expected_has_no_exit_code():
    with pytest.raises(LookupError):
        exit_code(ZeroDivisionError())


def test_every_exit_code_has_a_meaning_in_the_help(cli):
    assert {code for _, code in EXIT_CODES} | {0} == set(MEANINGS)
    text = " ".join(cli("--help").stdout.split())
    for code, meaning in MEANINGS.items():
        assert f"{code} {meaning}" in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["launhc"], "sm-tuning: error: No such command 'launhc': did you mean 'launch'? (see sm-tuning --help)"),
        (["local", "strat"], "sm-tuning: error: No such command 'strat': did you mean 'start'? (see sm-tuning local"),
        (["qqq"], "sm-tuning: error: No such command 'qqq'. (see sm-tuning --help)"),
        (["list", "--json", "--format", "csv"], "sm-tuning: error: --json cannot be combined with --format csv"),
        (
            ["wait", "j", "--json", "--format", "table"],
            "sm-tuning: error: --json cannot be combined with --format table",
        ),
        (["status"], "sm-tuning: error: Missing argument 'JOB'. (see sm-tuning status --help)"),
        (["launch", "x.yaml", "--wiat"], "sm-tuning: error: No such option"),
        (["trials", "j", "--format", "xml"], "sm-tuning: error: Invalid value for '--format'"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_code_2(processes, args, message):
    result = run(PROGRAM, *args)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1


def test_all_commands_that_print_results_take_the_same_options_of_output():
    """Reports, exports and other files have their own -o; ``render`` and ``schema`` print one format alone."""
    takes = {
        path.partition(" ")[2]: {name for option in command.params for name in option.opts}
        for path, command, _ in COMMANDS
    }
    printing = {path for path, options in takes.items() if options & {"--json", "--format"}}
    assert {path for path in printing if not {"--json", "--format"} <= takes[path]} == set()
    assert {"list", "trials", "launch", "status", "wait", "check", "gate", "register"} <= printing
    assert {path for path in printing if "--safe-csv" in takes[path]} >= {"list", "trials", "logs", "errors", "cost"}


def test_a_bug_keeps_its_traceback(processes):
    code = (
        "import click\nfrom sm_tuning.cli import main\nfrom sm_tuning.cli._main import Entry\nimport sys, types\n"
        "module = types.ModuleType('faulty')\n"
        "module.command = click.Command('faulty', callback=lambda: 1 / 0)\n"
        "sys.modules['faulty'] = module\n"
        "main.entries['faulty'] = Entry('faulty:command', '')\n"
        "main()\n"
    )
    result = run(code, "faulty")
    assert result.returncode == 1
    assert result.stderr.startswith("Traceback")
    assert "ZeroDivisionError" in result.stderr


def test_the_schema_is_json_on_stdout(processes):
    result = run(PROGRAM, "schema", preload="client")
    assert result.returncode == 0
    assert result.stderr == ""
    assert "estimator" in json.loads(result.stdout)["properties"]


def test_a_reader_that_leaves_early_ends_the_program_in_silence():
    command = f"set -o pipefail; {sys.executable} -c '{PROGRAM}' schema | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.stderr == ""
    assert result.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize(
    "args", [["--help"], ["check", "--help"], ["local", "--help"], ["--version"], [], ["schema"]], ids=" ".join
)
def test_output_on_a_full_disk_is_an_error_without_a_traceback(processes, tmp_path, args):
    preload = "client" if args == ["schema"] else "nothing"
    with Path("/dev/full").open("wb") as full, (tmp_path / "stderr").open("wb") as err:
        command = [sys.executable, "-c", PROGRAM, *args]
        process = start_program(command, preload=preload, cwd=ROOT, env=os.environ, stdout=full, stderr=err)
        assert process.wait(60) == 2
    said = (tmp_path / "stderr").read_text()
    assert said == "sm-tuning: error: cannot write to stdout: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_what_the_interpreter_writes_at_its_end_says_no_more_on_a_full_disk():
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-c", PROGRAM, "--version"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "sm-tuning: error: cannot write to stdout: No space left on device\n"


def test_a_verbose_command_leaves_the_logger_of_its_process_as_it_was(tmp_path):
    logger = logging.getLogger("sm_tuning")
    before = logger.level, list(logger.handlers), list(logging.getLogger().handlers)
    result = separate_runner().invoke(main, ["--verbose", "check", str(tmp_path / "missing.yaml")])
    assert result.exit_code == 2
    assert (logger.level, list(logger.handlers), list(logging.getLogger().handlers)) == before
