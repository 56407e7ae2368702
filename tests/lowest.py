"""Print the lowest versions that pyproject.toml allows, as pip constraints.

python tests/lowest.py > lowest.txt
pip install --constraint lowest.txt '.[local,parquet,report,test]'
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
#: Tools of developers: their bounds only say what the newest versions need.
TOOLS = ("test", "dev")


def lowest() -> list[str]:
    """Return a constraint for each package that the base install or an extra of users names."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(text for name in extras if name not in TOOLS for text in extras[name])]
    found = [re.fullmatch(r"([\w.-]+)(?:\[.*\])?>=([\d.]+)(?:,<[\d.]+)?", text) for text in wanted]
    return sorted({f"{match[1]}=={match[2]}" for match in found if match})


if __name__ == "__main__":
    print("\n".join(lowest()))
