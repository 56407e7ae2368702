"""``local env`` and ``local run``: programs that know nothing of this package use the local SageMaker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from _program import PROGRAM, Server

from sm_tuning.local import status, stop


def run(state_dir: Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """``sm-tuning local run`` in a process of its own: a fork of the tests would not become the command."""
    env = {**os.environ, "SM_TUNING_STATE_DIR": str(state_dir), **environ}
    argv = [*PROGRAM, "local", "run", *args]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


def test_the_environment_of_a_shell_is_changed_and_a_comment_names_the_clients_that_are_too_old(server: Server) -> None:
    environ = {**os.environ, "AWS_PROFILE": "mine"}
    argv = [*PROGRAM, "local", "env", "--state-dir", str(server.state_dir)]
    lines = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout
    script = 'eval "$LINES"\necho $AWS_ENDPOINT_URL ${AWS_PROFILE-none} $AWS_DATA_PATH'
    done = subprocess.run(["/bin/sh", "-euc", script], env={**environ, "LINES": lines}, capture_output=True, check=True)

    assert done.stdout.decode().split() == [server.info["endpoint_url"], "none", str(server.state_dir / "botocore")]
    last = lines.splitlines()[-1]
    assert last.startswith("# AWS CLI before 2.13 (version 1: before 1.29) and boto3 before 1.28")
    assert last.endswith(f"--endpoint-url {server.info['endpoint_url']}")


def test_a_command_uses_the_server_and_its_exit_code_and_output_are_its_own(server: Server) -> None:
    program = "import os, sys; print(os.environ['AWS_ENDPOINT_URL'], sys.argv[1:]); sys.exit(7)"
    done = run(server.state_dir, "--", sys.executable, "-c", program, "--state-dir", "-x")

    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout == f"{server.info['endpoint_url']} ['--state-dir', '-x']\n"


def test_a_command_gets_signals_itself_and_those_that_python_ignores_have_their_defaults(server: Server) -> None:
    assert run(server.state_dir, "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM
    assert run(server.state_dir, "sh", "-c", "kill -PIPE $$").returncode == -signal.SIGPIPE


def test_a_server_is_started_if_none_runs_and_keeps_running(processes: None, tmp_path: Path) -> None:
    try:
        done = run(tmp_path, "sh", "-c", "echo $AWS_ENDPOINT_URL")
        info = status(tmp_path)
        assert info is not None, done.stderr
        assert done.stdout.strip() == info.endpoint_url
    finally:
        stop(tmp_path)


@pytest.mark.parametrize("name", ["no-such-program", "./no-such-file"])
def test_a_command_that_does_not_exist_is_an_error_and_starts_no_server(
    processes: None, tmp_path: Path, name: str
) -> None:
    done = run(tmp_path / "state", "--", name, "x")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"sm-tuning: error: there is no program '{name}'")
    assert not (tmp_path / "state").exists()


def test_a_file_that_is_not_a_program_is_an_error(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"\x00\x01")
    file.chmod(0o755)
    done = run(server.state_dir, str(file))

    assert done.returncode == 2
    assert done.stderr.startswith(f"sm-tuning: error: the program '{file}' cannot be run: Exec format error")
