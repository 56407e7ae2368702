"""The public door: cheap to open, complete, and the same for people and type checkers."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

import sm_tuning
from sm_tuning import _errors
from sm_tuning.spec import Spec

DOOR = Path(sm_tuning.__file__)
HEAVY = ["boto3", "botocore", "pandas", "pydantic", "rich", "yaml", "sagemaker", "plotly", "sklearn", "moto", "xgboost"]


def loaded_by(program: str) -> list[str]:
    """Which of the heavy packages a program loads, in a process of its own."""
    check = f"{program}; import json, sys; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


def test_importing_loads_nothing_heavy() -> None:
    assert loaded_by("import sm_tuning") == []


def test_errors_and_the_list_of_names_load_nothing_heavy() -> None:
    assert loaded_by("import sm_tuning; dir(sm_tuning); sm_tuning.SpecError; sm_tuning.__version__") == []


def test_only_a_connection_loads_boto3_and_only_a_frame_pandas() -> None:
    program = "import sm_tuning as smt; smt.IntegerParameter(1, 2); smt.launch; smt.TuningJob; smt.connect; smt.local"

    assert not {"boto3", "botocore", "pandas", "sagemaker", "plotly", "moto"} & set(loaded_by(program))


def test_every_name_is_there() -> None:
    for name in sm_tuning.__all__:
        assert getattr(sm_tuning, name) is not None, name


def test_the_names_are_sorted_and_all_that_dir_shows() -> None:
    assert sm_tuning.__all__ == sorted(sm_tuning.__all__)
    assert dir(sm_tuning) == sorted(sm_tuning.__all__)


def test_type_checkers_see_the_same_names() -> None:
    """Under TYPE_CHECKING the names are imported from where they live; at run time, on demand."""
    tree = ast.parse(DOOR.read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {
        alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }

    assert set(imported) == set(sm_tuning.__all__)
    for name, module in imported.items():
        if name != "local":
            assert getattr(sm_tuning, name) is getattr(sys.modules[str(module)], name)


#: What these pass on has names of its own: the parameters of an operation of the API, the fields of a spec.
PASS_ON = {"Aws.call", "Aws.pages", "from_ray", "from_wandb_sweep"}


def public_functions() -> Iterator[tuple[str, Callable[..., object]]]:
    """Return each public function and method; constructors and methods of specs have the fields of the spec."""
    for package in (sm_tuning, sm_tuning.views, sm_tuning.deploy, sm_tuning.local):
        for name in package.__all__:
            value = getattr(package, name)
            if inspect.isfunction(value):
                yield name, value
            elif inspect.isclass(value) and not issubclass(value, Spec | BaseException):
                methods = inspect.getmembers(value, inspect.isfunction)
                yield from ((f"{name}.{key}", method) for key, method in methods if not key.startswith("_"))


def test_arguments_have_names_that_a_notebook_completes() -> None:
    functions = dict(public_functions())
    open_ended = {
        name
        for name, function in functions.items()
        if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())
    }

    assert {"launch", "TuningJob.register", "BestTrial.retrain", "plot", "Connection.close"} <= set(functions)
    assert open_ended == PASS_ON


def test_every_argument_and_result_has_a_type() -> None:
    for name, function in public_functions():
        signature = inspect.signature(function)
        for parameter in signature.parameters.values():
            assert parameter.name == "self" or parameter.annotation is not parameter.empty, (name, parameter.name)
        assert signature.return_annotation is not signature.empty, name


LAZY = [
    "",
    ".deploy",
    ".fleet",
    ".gate",
    ".jobs",
    ".preflight",
    ".results",
    ".results.analysis",
    ".spec",
    ".views",
    ".views.exports",
]


@pytest.mark.parametrize("name", [f"sm_tuning{path}" for path in LAZY])
def test_lazy_packages_load_nothing_heavy_and_list_each_name_in_the_three_places(name: str) -> None:
    assert loaded_by(f"import {name}") == []
    package = importlib.import_module(name)
    tree = ast.parse(Path(str(package.__file__)).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert sorted(imported) == sorted(package.__all__) == dir(package)
    for public in package.__all__:
        assert getattr(package, public) is not None


def test_every_error_is_public() -> None:
    errors = {name for name, kind in inspect.getmembers(_errors, inspect.isclass) if issubclass(kind, Exception)}

    assert errors <= set(sm_tuning.__all__)


def test_every_public_class_and_function_says_what_it_is() -> None:
    for name in sm_tuning.__all__:
        if name != "__version__":
            assert inspect.getdoc(getattr(sm_tuning, name)), name


def test_the_version_is_the_packages() -> None:
    assert sm_tuning.__version__ == metadata.version("sm-tuning")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'sm_tuning' has no attribute 'lanuch'"):
        sm_tuning.lanuch  # noqa: B018
