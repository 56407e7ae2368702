"""Use the wheel as a user does: ``python wheel.py BIN``, where BIN has the programs of an environment of its own.

The environment has no extra, the folder is empty, and no AWS settings are there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROLE = "arn:aws:iam::123456789012:role/Tuning"


def main(programs: str) -> int:
    """Run the commands, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("estimators", "entrypoints"):
            shutil.copytree(ROOT / name, Path(folder, name))

        def run(*arguments: str) -> str:
            done = subprocess.run(
                [Path(programs, "sm-tuning"), *arguments],
                cwd=folder,
                env={"HOME": folder, "PATH": "/usr/bin:/bin", "AWS_REGION": "us-east-1", "SM_TUNING_ROLE": ROLE},
                capture_output=True,
                text=True,
                check=False,
            )
            print(f"sm-tuning {' '.join(arguments)}: exit {done.returncode}")
            if done.returncode != 0:
                sys.exit(done.stdout + done.stderr)
            return done.stdout

        assert "launch" in run("--help")
        for spec in sorted(Path(folder, "estimators").glob("*.yaml")):
            run("check", str(spec.relative_to(folder)))
            request = json.loads(run("render", str(spec.relative_to(folder)), "--as", "request"))
            assert request["HyperParameterTuningJobConfig"]
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
