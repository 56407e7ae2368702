"""Use the wheel as a user does: ``python wheel.py BIN WHEEL``, where BIN has the programs of an environment of its own.

The environment has no extra, the folder is empty, and no AWS settings are there.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ("xgboost", "pytorch", "container", "ci", "cdk")
ROLE = "arn:aws:iam::123456789012:role/Tuning"

#: What the base install must do without its extras: check a spec, and name the extra that is missing.
PROGRAM = """import importlib.util, logging, sys
import sm_tuning as smt

root = logging.getLogger()
before = (list(root.handlers), root.level)
for path in sys.argv[1:]:
    errors = [finding for finding in smt.check(path) if finding.severity == "error"]
    assert not errors, errors
assert (list(root.handlers), root.level) == before, root.handlers
assert "pandas" not in sys.modules, "check loads pandas"

for name in smt.__all__:
    getattr(smt, name)

extras = ("moto", "optuna", "plotly", "sagemaker", "scipy", "sklearn")
assert not [name for name in extras if importlib.util.find_spec(name)], "the base install has a package of an extra"

try:
    with smt.local.connect():
        pass
except smt.MissingExtraError as error:
    assert "sm-tuning[local]" in str(error), error
else:
    raise AssertionError("the local SageMaker starts without its extra")

try:
    smt.to_ray(sys.argv[1])
except smt.MissingExtraError as error:
    assert "sm-tuning[ray]" in str(error), error
else:
    raise AssertionError("a run on Ray starts without its extra")
"""


def installs(folder: Path) -> set[str]:
    """Return the commands by which the workflows of projects install the package."""
    lines = [line for path in folder.rglob("*.yml") for line in path.read_text("utf-8").splitlines()]
    found = {line[line.index("pip install") :] for line in lines if "pip install" in line}
    assert len(found) == 3, found  # of a pipeline, of a check, of a check with torch
    return found


def main(programs: str, wheel: str) -> int:
    """Run the commands, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("estimators", "entrypoints"):
            shutil.copytree(ROOT / name, Path(folder, name))

        def run(program: str, *arguments: str) -> str:
            done = subprocess.run(
                [Path(programs, program), *arguments],
                cwd=folder,
                env={"HOME": folder, "PATH": "/usr/bin:/bin", "AWS_REGION": "us-east-1", "SM_TUNING_ROLE": ROLE},
                capture_output=True,
                text=True,
                check=False,
            )
            print(f"{program} {' '.join(arguments).splitlines()[0]}: exit {done.returncode}")
            if done.returncode != 0:
                sys.exit(done.stdout + done.stderr)
            return done.stdout

        assert "launch" in run("sm-tuning", "--help")
        specs = [str(path.relative_to(folder)) for path in sorted(Path(folder, "estimators").glob("*.yaml"))]
        for spec in specs:
            run("sm-tuning", "check", spec)
            request = json.loads(run("sm-tuning", "render", spec, "--as", "request"))
            assert request["HyperParameterTuningJobConfig"]
        run("python", "-c", PROGRAM, *specs)
        url = Path(wheel).resolve().as_uri()
        for template in TEMPLATES:
            project = f"a {template}"
            run("sm-tuning", "init", project, "--template", template)
            run("sm-tuning", "check", f"{project}/tuning.yaml", "--strict")
        for command in sorted(installs(Path(folder))):
            words = [word.replace("$SM_TUNING", url) for word in shlex.split(command)[2:]]
            run("python", "-m", "pip", "install", "--dry-run", "--no-deps", *words)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
