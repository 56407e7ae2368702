"""Print how complete the types of the public names are, and fail below a share: ``python type_completeness.py PYTHON``.

PYTHON is the interpreter of an environment in which the wheel is installed, so that what is judged is what users get.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

LEAST = 0.99


def main(python: str) -> int:
    """Run the type checker on the installed package, and return the exit code."""
    command = [sys.executable, "-m", "basedpyright", "--verifytypes", "sm_tuning", "--ignoreexternal", "--outputjson"]
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as elsewhere:  # in the checkout its own sm_tuning would be found first
        run = subprocess.run(
            command,
            cwd=elsewhere,
            env={**os.environ, "PYTHONPATH": packages},  # the checker finds packages there, not by --pythonpath
            capture_output=True,
            text=True,
            check=False,
        )
    symbols = [
        symbol
        for symbol in json.loads(run.stdout)["typeCompleteness"]["symbols"]
        # The templates are programs of other projects, which nobody imports.
        if symbol["isExported"] and not symbol["name"].startswith("sm_tuning.templates.")
    ]
    if not symbols:
        sys.exit(f"the type checker found no symbols: {run.stdout[-2000:]}")
    unknown = [symbol["name"] for symbol in symbols if not symbol["isTypeKnown"]]
    share = 1 - len(unknown) / len(symbols)
    print(f"types: {share:.1%} of {len(symbols)} exported symbols are complete")
    if share >= LEAST:
        return 0
    for name in unknown:
        print(f"  {name}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
