"""The public names of views, exports and gate: cheap to import, complete, and the same for type checkers."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sm_tuning import gate, views
from sm_tuning.views import exports


@pytest.mark.parametrize(
    "module", ["sm_tuning.views", "sm_tuning.views.exports", "sm_tuning.gate"], ids=["views", "exports", "gate"]
)
def test_importing_the_package_loads_nothing_heavy(module: str) -> None:
    heavy = ["boto3", "jinja2", "mlflow", "numpy", "optuna", "pandas", "plotly", "rich", "sklearn", "yaml"]
    program = f"import json, sys, {module}; print(json.dumps([name for name in {heavy} if name in sys.modules]))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("module", [views, exports, gate], ids=["views", "exports", "gate"])
def test_public_names_are_sorted_importable_and_the_same_for_type_checkers(module: ModuleType) -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = [alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names]

    assert sorted(module.__all__) == dir(module) == sorted(typed)
    assert all(getattr(module, name) is not None for name in module.__all__)
    assert not hasattr(module, "draw_history")
