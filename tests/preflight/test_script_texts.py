"""What the text of a script shows: its syntax, its imports, and channels and metrics that it does not use."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path
from typing import Any

import _preflight_specs as specs
import pytest
from _preflight_specs import changed

import sm_tuning as smt
from sm_tuning.preflight import refuse_missing_imports


def found_in(tmp_path: Path, code: str, changes: dict[str, Any], wanted: str) -> list[smt.Finding]:
    """The findings of one code about a script, for a spec with a channel and two metrics."""
    path = specs.write(tmp_path, changed(specs.script(), changes), code)
    return [one for one in smt.check(path) if one.code == wanted]


READS = 'import os\nprint(f"score={len(os.listdir(%s))}")\n'


@pytest.mark.parametrize(
    "code",
    [
        READS % "'data'",
        READS % "os.environ['SM_CHANNEL_TEST']",
        "import torch, numpy\nprint('score=1')\n",
        "import transformers\nprint('score=1')\n",
    ],
)
def test_a_channel_that_the_script_never_reads_is_advice(code: str, tmp_path: Path) -> None:
    (found,) = found_in(tmp_path, code, {}, "channel-unread")
    assert (found.severity, found.where) == ("advice", "inputs.train")
    assert "SM_CHANNEL_TRAIN" in found.message


@pytest.mark.parametrize(
    "code",
    [
        READS % "os.environ['SM_CHANNEL_TRAIN']",
        READS % "os.environ['SM_CHANNEL_' + 'train'.upper()]",
        READS % "os.environ[f\"SM_CHANNEL_{'train'.upper()}\"]",
        READS % "os.environ['SM_CHANNEL_%s' % 'TRAIN']",
        "import os\nfor name in os.environ:\n    if name.startswith('SM_CHANNEL'):\n        print(name)\n",
        READS % "'/opt/ml/input/data/train'",
        READS % "os.environ['SM_INPUT_DIR']",
        "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--train')\n",
        "class Settings:\n    prefix = 'SM_'\n    channel_train: str\n",
        "import sagemaker_training\n",
        "import company_library\ncompany_library.train()\n",
        "from company_library.train import main\nmain()\n",
        "import subprocess\nsubprocess.run(['train'])\n",
        "import os\nos.execvp('train', ['train'])\n",
        "exec(open('x').read())\n",
        "def this is broken(:\n",
    ],
)
def test_a_script_that_may_read_its_channel_is_no_finding(code: str, tmp_path: Path) -> None:
    assert found_in(tmp_path, code, {}, "channel-unread") == []


@pytest.mark.parametrize(
    ("regex", "code"),
    [
        ("accuracy=([0-9.]+)", "print('score=1')\n"),
        (r"\bval_score=([0-9.]+);", "print(f'score={1};')\n"),
        (r"^step .* score: ([0-9.]+)", "import torch\nprint('score: 1')\n"),
        (r"\[score\] (?:is )?([0-9.]+)", "import numpy\nprint('accuracy 1')\n"),
    ],
)
def test_a_metric_of_which_the_script_has_no_word_is_advice(regex: str, code: str, tmp_path: Path) -> None:
    changes = {"estimator/metric_definitions": {"score": regex}}
    (found,) = found_in(tmp_path, code, changes, "metric-unprinted")
    assert (found.severity, found.where) == ("advice", "estimator.metric_definitions.score")
    assert repr(regex) in found.message


@pytest.mark.parametrize(
    ("regex", "code"),
    [
        ("score=([0-9.]+)", "print('score=1')\n"),
        ("val_score=([0-9.]+)", "for part in ('train', 'val'):\n    print(f'{part}_score=1')\n"),
        ("Validation score: ([0-9.]+)", "print('validation'.capitalize(), 'score: 1')\n"),
        ("(?i)SCORE=([0-9.]+)", "print('points=1')\n"),
        ("score=([0-9.]+)|accuracy=([0-9.]+)", "print('accuracy=1')\n"),
        ("(?:score|accuracy)=([0-9.]+)", "print('accuracy=1')\n"),
        ("s=([0-9.]+)", "print('points=1')\n"),
        ("val_loss: ([0-9.]+)", "import keras\nkeras.fit()\n"),
        ("eval_loss': ([0-9.]+)", "from transformers import Trainer\nTrainer().train()\n"),
        ("score=([0-9.]+)", "import company_library\n"),
        ("score=([0-9.]+)", "import importlib\nimportlib.import_module('x')\n"),
        ("colour=([0-9.]+)", "import sys\nprint(f'{sys.argv[2]}=1')\n"),
    ],
)
def test_a_script_that_may_print_its_metric_is_no_finding(regex: str, code: str, tmp_path: Path) -> None:
    hyperparameters = {"name": "colour"}  # the script gets it as an argument
    changes = {"estimator/metric_definitions": {"score": regex}, "estimator/hyperparameters": hyperparameters}
    assert found_in(tmp_path, code, changes, "metric-unprinted") == []


def test_words_and_channels_may_be_in_any_file_that_is_uploaded(tmp_path: Path) -> None:
    source = tmp_path / "code"
    source.mkdir()
    (source / "train.py").write_text("import helper, json\nfrom package import settings\n")
    (source / "helper.py").write_text("import os\nos.environ['SM_CHANNEL_TRAIN']\n")
    (source / "package").mkdir()
    (source / "package" / "settings.py").write_text("import json\n")
    with tarfile.open(tmp_path / "code.tar.gz", "w:gz") as archive:
        archive.add(source, ".")
    changes = {"estimator/metric_definitions": {"score": "accuracy=([0-9.]+)"}}
    for place in ("code", "code.tar.gz"):
        (source / "names.json").unlink(missing_ok=True)
        placed = {**changes, "estimator/source_dir": place}
        assert found_in(tmp_path, "", placed, "channel-unread") == []
        assert len(found_in(tmp_path, "", placed, "metric-unprinted")) == 1
    (source / "names.json").write_text('["accuracy"]')
    assert found_in(tmp_path, "", {**changes, "estimator/source_dir": "code"}, "metric-unprinted") == []


@pytest.mark.parametrize("place", ["estimator/hyperparameters", "hyperparameter_ranges"])
@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("import argparse\nargparse.ArgumentParser().add_argument('--x')\n", 1),
        ("import argparse\nargparse.ArgumentParser().add_argument('-x', '--x')\n", 0),
        ("import os, json\njson.loads(os.environ['SM_HPS'])\n", 0),
    ],
)
def test_a_hyperparameter_of_one_letter_reaches_a_script_with_one_hyphen(
    place: str, code: str, count: int, tmp_path: Path
) -> None:
    value = 1 if place == "estimator/hyperparameters" else specs.CONTINUOUS
    found = found_in(tmp_path, code, {place: {"x": value, "wd": value}}, "short-hyperparameter")
    assert [(one.severity, one.where) for one in found] == [("advice", f"{place.replace('/', '.')}.x")] * count


def test_a_script_that_does_not_exist_is_an_error_of_a_launch_here(tmp_path: Path) -> None:
    path = specs.write(tmp_path, specs.script())
    (tmp_path / "train.py").unlink()
    with pytest.raises(smt.SpecError, match="a missing script"):
        refuse_missing_imports(smt.load(path))


OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
BROKEN = "import sys\ndef f(:\n    pass\n"


@pytest.mark.parametrize("newer", [0, 1])
def test_a_script_that_python_cannot_compile_is_an_error_with_its_line(newer: int, tmp_path) -> None:
    version = f"py3{sys.version_info.minor + newer}"
    path = specs.write(tmp_path, changed(specs.script(), {"estimator/py_version": version}))
    (tmp_path / "train.py").write_text(BROKEN)
    (found,) = [one for one in smt.check(path) if one.code == "script-syntax"]
    assert found.where == "estimator.entry_point"
    assert found.message.startswith(f"line 2 of train.py cannot be compiled by Python {OWN}: ")
    # A newer Python than this one may accept it.
    assert found.severity == ("advice" if newer else "error")


@pytest.mark.parametrize("code", [b"x = 1\0", b"\xff = 1", b"(" * 5000, b"-" * 100_000 + b"1"])
def test_odd_scripts_are_findings(code: bytes, tmp_path) -> None:
    path = specs.write(tmp_path, specs.script())
    (tmp_path / "train.py").write_bytes(code)
    assert [one.code for one in smt.check(path) if one.code == "script-syntax"] == ["script-syntax"]


def test_scripts_of_folders_and_archives_are_compiled(tmp_path) -> None:
    source = tmp_path / "code"
    source.mkdir()
    (source / "train.py").write_text(BROKEN)
    with tarfile.open(tmp_path / "code.tar.gz", "w:gz") as archive:
        archive.add(source / "train.py", "./train.py")
    for place in ("code", "code.tar.gz"):
        path = specs.write(tmp_path, changed(specs.script(), {"estimator/source_dir": place}))
        assert "script-syntax" in {one.code for one in smt.check(path)}
    (source / "train.py").write_text("print('\\d')\nreturn_value = 1\n")  # an invalid escape is no error
    path = specs.write(tmp_path, changed(specs.script(), {"estimator/source_dir": "code"}))
    assert "script-syntax" not in {one.code for one in smt.check(path)}


def test_a_package_that_is_not_installed_here_is_named_with_its_extra(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    path = specs.write(tmp_path, specs.script())
    (tmp_path / "train.py").write_text("import json, torch.nn as nn\nfrom no_such_package.a import b\n")
    found = [one for one in smt.check(path) if one.code == "local-imports"]
    assert [one.severity for one in found] == ["not-checked", "not-checked"]
    assert "pip install 'sm-tuning[torch]'" in str(found[0])
    assert "pip install no_such_package" in str(found[1])
    with pytest.raises(smt.SpecError, match=r"train.py imports torch, .*sm-tuning\[torch\]"):
        refuse_missing_imports(smt.load(path))


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("helper.py", "import helper"),
        ("requirements.txt", "import no_such_package"),
        ("other.py", "try:\n    import no_such_package\nexcept ImportError:\n    pass"),
        ("other.py", "def f():\n    import no_such_package"),
        ("other.py", "from . import other\nimport xgboost, numpy.linalg"),
    ],
)
def test_imports_that_a_run_here_can_do_without_are_no_finding(file: str, code: str, tmp_path) -> None:
    path = specs.write(tmp_path, specs.script())
    (tmp_path / file).write_text("x = 1\n")
    (tmp_path / "train.py").write_text(code + "\n")
    assert "local-imports" not in {one.code for one in smt.check(path)}
