"""The PyTorch script as a process: trains, reports, checkpoints, resumes, stops, and its model predicts."""

import importlib.util
import json
import re
import shutil
import signal
import subprocess
import sys
import tarfile

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")

SCRIPT = "pytorch_digits"
EPOCHS = 12
PARENT = {"SM_TUNING_PARENT": "s-001-0123abcd"}
QUICK = ("--epochs", EPOCHS, "--lr", 0.03, "--dropout", 0.3)
PREDICT = """
import json, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1] + "/code", sys.argv[3]]
import inference, torch
from data import load, split
images, labels = load(Path(sys.argv[2]))
_, held_out = split(len(labels))
greys = torch.from_numpy(images[held_out] * 16).reshape(-1, 64)
probabilities = inference.predict_fn(greys, inference.model_fn(sys.argv[1]))
print(json.dumps({
    "accuracy": (probabilities.argmax(1).numpy() == labels[held_out]).mean(),
    "sums": [probabilities.sum(1).min().item(), probabilities.sum(1).max().item()],
    "code": str(Path(inference.__file__).parent),
}))
"""


def epochs_in(output):
    return {
        int(line.split(";")[0].removeprefix("epoch=")): line for line in output.splitlines() if "epoch=" in line[:6]
    }


def history_of(base):
    return json.loads((base / "output" / "data" / "history.json").read_text())


def weights_of(path):
    import torch

    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def unbroken(run, opt_ml, data_dir, tmp_path_factory):
    """All epochs in script mode, in one go: the process's result and its folder."""
    base = tmp_path_factory.mktemp("unbroken")
    done = run(SCRIPT, *QUICK, cwd=base, env=opt_ml(base, train=data_dir / "digits"))
    assert done.returncode == 0, done.stderr
    return done, base


@pytest.mark.whole
def test_each_epoch_is_one_line_that_the_definitions_read(unbroken, script_module):
    done, base = unbroken
    lines = epochs_in(done.stdout)
    definitions = script_module(SCRIPT, "metrics").DEFINITIONS

    assert list(lines) == list(range(1, EPOCHS + 1))
    for epoch, entry in zip(lines, history_of(base), strict=True):
        read = {d["Name"]: float(re.search(d["Regex"], lines[epoch]).group(1)) for d in definitions}
        assert {"epoch": epoch, **read} == entry


@pytest.mark.whole
def test_training_learns_the_digits(unbroken):
    _, base = unbroken
    first, *_, last = history_of(base)

    assert last["validation:accuracy"] > 0.9
    assert last["train:loss"] < first["train:loss"]


@pytest.mark.long
def test_the_model_archive_loads_and_predicts_as_the_last_epoch_was_scored(unbroken, data_dir, tmp_path, run, command):
    _, base = unbroken
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(base / "model", arcname=".")
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")

    script_folder = command(SCRIPT)[1].removesuffix("/train.py")
    arguments = [str(tmp_path / "unpacked"), str(data_dir / "digits"), script_folder]
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    answer = json.loads(done.stdout)

    assert answer["code"] == str(tmp_path / "unpacked" / "code")
    assert answer["accuracy"] == history_of(base)[-1]["validation:accuracy"]
    assert answer["sums"] == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.long
def test_a_run_killed_midway_resumes_and_ends_as_the_unbroken_one(unbroken, run, started, data_dir, tmp_path):
    whole, base = unbroken
    args = (*QUICK, "--train", data_dir / "digits", "--checkpoint-dir", tmp_path / "checkpoints")
    process = started(SCRIPT, *args, cwd=tmp_path)
    for line in process.stdout:
        if line.startswith("epoch=2;"):
            break
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    [saved] = (tmp_path / "checkpoints").glob("*.pt")
    finished = len(weights_of(saved)["history"])

    done = run(SCRIPT, *args, "--model-dir", tmp_path / "model", cwd=tmp_path)

    expected, got = weights_of(base / "model" / "model.pth"), weights_of(tmp_path / "model" / "model.pth")
    assert 1 <= finished < EPOCHS
    assert f"resuming after epoch {finished} from {saved}" in done.stdout
    assert epochs_in(done.stdout) == {n: line for n, line in epochs_in(whole.stdout).items() if n > finished}
    assert all(tensor.equal(got["state_dict"][name]) for name, tensor in expected["state_dict"].items())


@pytest.mark.long
def test_other_hyperparameters_do_not_resume_from_a_shared_checkpoint_folder(unbroken, run, data_dir, tmp_path):
    shared = shutil.copytree(unbroken[1] / "checkpoints", tmp_path / "shared")
    args = ("--train", data_dir / "digits", "--checkpoint-dir", shared)

    other = run(SCRIPT, *QUICK, "--lr", 0.02, "--epochs", 1, *args, cwd=tmp_path)
    same = run(SCRIPT, *QUICK, *args, cwd=tmp_path)

    assert list(epochs_in(other.stdout)) == [1]
    assert "resuming" not in other.stdout
    assert f"resuming after epoch {EPOCHS}" in same.stdout
    assert list(epochs_in(same.stdout)) == [EPOCHS], "a finished training reports its objective again"


@pytest.mark.long
def test_a_trial_that_continues_another_goes_on_with_its_own_hyperparameters(unbroken, run, data_dir, tmp_path):
    _, base = unbroken
    found = {}
    for name, changes in {"same": (), "rate": ("--lr", 0.02), "kind": ("--optimizer", "adam", "--lr", 0.001)}.items():
        folder = shutil.copytree(base / "checkpoints", tmp_path / name)
        args = ("--train", data_dir / "digits", "--checkpoint-dir", folder, "--epochs", EPOCHS + 1)
        done = run(SCRIPT, *QUICK, *args, *changes, cwd=tmp_path, env=PARENT)
        assert list(epochs_in(done.stdout)) == [EPOCHS + 1], done.stderr
        assert f"resuming after epoch {EPOCHS} from" in done.stdout
        found[name] = epochs_in(done.stdout)[EPOCHS + 1]
    assert len(set(found.values())) == 3


@pytest.mark.long
def test_a_trial_whose_parent_left_nothing_that_fits_says_so(unbroken, run, data_dir, tmp_path):
    (tmp_path / "empty").mkdir()
    shared = shutil.copytree(unbroken[1] / "checkpoints", tmp_path / "shared")
    args = ("--train", data_dir / "digits", "--checkpoint-dir")
    nothing = run(SCRIPT, *QUICK, *args, tmp_path / "empty", cwd=tmp_path, env=PARENT)
    assert "s-001-0123abcd has left no checkpoint in" in nothing.stderr
    other = run(SCRIPT, *QUICK, "--channels", 3, *args, shared, cwd=tmp_path, env=PARENT)
    assert "give channels and hidden one value in the study" in other.stderr


@pytest.mark.long
def test_sigterm_saves_the_last_finished_epoch_and_exits_with_0(started, data_dir, tmp_path):
    process = started(SCRIPT, "--epochs", 5000, "--train", data_dir / "digits", cwd=tmp_path)
    output = ""
    for line in process.stdout:
        output += line
        if line.startswith("epoch=1;"):
            break
    process.send_signal(signal.SIGTERM)
    output += process.communicate(timeout=60)[0]

    base = tmp_path / "output" / SCRIPT
    [checkpoint] = (base / "checkpoints").glob("*.pt")
    state, model = weights_of(checkpoint), weights_of(base / "model" / "model.pth")
    assert process.returncode == 0, output
    assert "stop requested" in output
    assert len(epochs_in(output)) == len(state["history"]) == len(history_of(base)) < 5000
    assert all(tensor.equal(model["state_dict"][name]) for name, tensor in state["network"].items())


@pytest.mark.long
def test_alone_it_trains_on_the_bundled_data_from_any_folder(run, tmp_path):
    done = run(SCRIPT, "--lr", 0.01, "--epochs", 1, "--optimizer", "adam", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output" / SCRIPT / "model" / "model.pth").is_file()
    assert [entry["epoch"] for entry in history_of(tmp_path / "output" / SCRIPT)] == [1]


@pytest.mark.long
def test_a_diverged_training_fails_with_the_reason_and_leaves_no_checkpoint(run, data_dir, tmp_path):
    done = run(SCRIPT, "--lr", 1e30, "--epochs", 2, "--train", data_dir / "digits", cwd=tmp_path)

    assert done.returncode == 1
    assert "training diverged: train:loss is nan after epoch 1 with lr=1e+30" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.long
def test_a_damaged_checkpoint_is_named_rather_than_trained_over(unbroken, script_module, tmp_path):
    import torch

    checkpoint = script_module(SCRIPT, "checkpoint")
    [good] = (unbroken[1] / "checkpoints").glob("*.pt")
    whole = good.read_bytes()

    for kept in (0, 1, 1000, len(whole) - 1):
        damaged = tmp_path / f"checkpoint-{kept}.pt"
        damaged.write_bytes(whole[:kept])
        with pytest.raises(checkpoint.CheckpointError, match=f"{damaged.name} cannot be read; delete it"):
            checkpoint.load(damaged, torch.device("cpu"))


class TestData:
    @pytest.fixture
    def data(self, script_module):
        return script_module(SCRIPT, "data")

    def test_the_committed_file_holds_the_bundled_digits(self, data, data_dir):
        from_file, bundled = data.load(data_dir / "digits"), data.load(None)

        assert from_file[0].shape == (1797, 1, 8, 8)
        assert np.array_equal(from_file[0], bundled[0])
        assert np.array_equal(from_file[1], bundled[1])

    def test_an_npz_file_gives_the_same_digits(self, data, data_dir, tmp_path):
        images, labels = data.load(data_dir / "digits" / "digits.csv")
        greys = (images * 16).astype(np.uint8)
        np.savez(tmp_path / "digits.npz", images=greys.reshape(-1, 8, 8), labels=labels)

        again = data.load(tmp_path)

        assert np.array_equal(again[0], images)
        assert np.array_equal(again[1], labels)

    def test_training_and_validation_rows_part_the_data(self, data):
        training, validation = data.split(1797)

        assert len(validation) == 359
        assert sorted([*training, *validation]) == list(range(1797))
        assert np.array_equal(data.split(1797)[1], validation)

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("digits.txt", "1,2\n", "no .csv or .npz file"),
            ("digits.csv", "label,p0\n1,2\n", "not a CSV of numbers without a header"),
            ("digits.csv", "1,2\n3,4\n", "expected two or more rows of a label and 64 pixels"),
            ("digits.csv", ("1" + ",17" * 64 + "\n") * 2, "pixels 0 to 16"),
            ("digits.csv", ("10" + ",1" * 64 + "\n") * 2, "labels must be 0 to 9"),
        ],
    )
    def test_files_that_are_not_digits_are_refused(self, data, tmp_path, name, text, message):
        (tmp_path / name).write_text(text)

        with pytest.raises(data.DataError, match=message):
            data.load(tmp_path)
