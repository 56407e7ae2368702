"""Which imports of a script a warm process executes ahead: those before any effect, and what packages import later."""

import pytest

from sm_tuning.executor._imports import later_imports, leading_imports


@pytest.mark.parametrize(
    ("source", "imports"),
    [
        ("'doc'\nfrom __future__ import annotations\nimport a, b.c as d\nfrom e import *", ["a", "b.c", "e"]),
        ("import a\nimport os\nos.environ['X'] = '1'\nimport b", ["a", "os"]),
        ("import a\nprint()\nimport b", ["a"]),
        ("import a\ntry:\n    import b\nexcept ImportError:\n    pass\nimport c", ["a"]),
        ("import a\nX: int = 3\ndef f(x: a.T = None): import z\nclass C(a.B):\n    y = [1]\nimport b", ["a", "b"]),
        ("import a\n@a.decorator\ndef f(): pass\nimport b", ["a"]),
        ("import a\nfrom dataclasses import dataclass\n@dataclass\nclass C: pass\nimport b", ["a", "dataclasses", "b"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\nimport b", ["typing", "b"]),
        ("import a\nimport local\nimport b", ["a", "inner", "b"]),
        ("import a\nimport effect\nimport b", ["a", "inner"]),
        ("import a\nimport package.b\nimport c", ["a"]),
        ("import a\nfrom . import b\nimport c", ["a"]),
        ("import sagemaker_training\nimport c", []),
        ("x = = 1", []),
    ],
)
def test_only_imports_before_any_effect_are_executed_ahead(tmp_path, source, imports):
    (tmp_path / "local.py").write_text("import inner\nX = 1")
    (tmp_path / "effect.py").write_text("import inner\nprint()\nimport other")
    (tmp_path / "package").mkdir()
    (tmp_path / "train.py").write_text(source)
    found = leading_imports(tmp_path / "train.py")
    assert [statement.split()[1] for statement in found] == imports


@pytest.mark.parametrize(
    ("sources", "later"),
    [
        ({"train.py": "import torch\ntorch.optim.SGD"}, ["import torch._dynamo"]),
        ({"train.py": "from torch import nn\nimport fit", "fit.py": "optimizer = 1"}, ["import torch._dynamo"]),
        ({"train.py": "import torch", "fit.py": "model = environ['X'] == 'optim'"}, ["import torch._dynamo"]),
        ({"train.py": "import torch\nprint(torch.rand(3))"}, []),
        ({"train.py": "import json\noptim = 1"}, []),
        ({"train.py": "print()\nimport torch\ntorch.optim.SGD"}, []),
        ({"train.py": "import torch\nimport os\nos.environ['TORCH_LOGS'] = 'optim'"}, []),
        ({"train.py": "import torch\ntorch.optim.SGD", "helper.py": "os.environ.update(x)"}, []),
        ({"train.py": "import torch\ntorch.optim.SGD", "helper.py": "del os.environ['X']"}, []),
        ({"train.py": "import torch\ntorch.optim.SGD", "helper.py": "os.putenv('X', 'y')"}, []),
    ],
)
def test_what_packages_import_later_is_imported_ahead_if_the_script_sets_no_variables(tmp_path, sources, later):
    for name, source in sources.items():
        (tmp_path / name).write_text(source)
    program = tmp_path / "train.py"
    assert list(later_imports(program, leading_imports(program))) == later
