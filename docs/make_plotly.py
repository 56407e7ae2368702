"""Fetch the part of plotly.js that the report embeds: bars, lines, points, contours and heatmaps.

The whole of plotly.js, which the Python package plotly brings, has 4.8 MB, maps and 3D plots included. The file is the
own build of https://github.com/plotly/plotly.js (MIT), unchanged, from its npm package. Needs npm.
"""

import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "plotly.js-cartesian-dist-min"
VERSION = "4.1.1"
ASSETS = Path(__file__).parents[1] / "sm_tuning" / "views" / "assets"
FILES = {"plotly-cartesian.min.js": "plotly-cartesian.min.js", "LICENSE": "plotly-cartesian.LICENSE"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--json", f"{PACKAGE}@{VERSION}"]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        # npm compares the archive with the integrity hash of its registry.
        with tarfile.open(Path(folder) / json.loads(done.stdout)[0]["filename"]) as archive:
            for name, target in FILES.items():
                member = archive.extractfile(f"package/{name}")
                assert member is not None, name
                (ASSETS / target).write_bytes(member.read())
    print(f"{PACKAGE} {VERSION} is in {ASSETS}")


if __name__ == "__main__":
    main()
