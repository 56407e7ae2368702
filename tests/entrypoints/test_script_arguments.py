"""A script's arguments: what a platform hands over is read, and what is wrong is said in one sentence."""

import json

import pytest

SCRIPTS = ["pytorch_digits", "xgboost_breast_cancer"]


@pytest.fixture(params=SCRIPTS)
def arguments(request, script_module):
    return script_module(request.param, "arguments")


@pytest.fixture
def digits(script_module):
    return script_module("pytorch_digits", "arguments")


@pytest.fixture
def cancer(script_module):
    return script_module("xgboost_breast_cancer", "arguments")


def complaint(capsys, parse, *args, environ=None):
    """The message of a parse that ends the process with status 2."""
    with pytest.raises(SystemExit) as ended:
        parse(args, environ or {})
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--lr", "0"], "argument --lr: must be finite and greater than 0, but is 0"),
        (["--lr", "nan"], "argument --lr: must be finite and greater than 0, but is nan"),
        (["--lr", "inf"], "argument --lr: must be finite and greater than 0, but is inf"),
        (["--lr", "fast"], "argument --lr: must be a number, but is 'fast'"),
        (["--epochs", "0"], "argument --epochs: must be at least 1, but is 0"),
        (["--epochs", "2.5"], "argument --epochs: must be a whole number, but is '2.5'"),
        (["--dropout", "1"], "argument --dropout: must be at least 0 and less than 1, but is 1"),
        (["--weight-decay=-1"], "argument --weight-decay: must be finite and not less than 0, but is -1"),
        (["--optimizer", "lbfgs"], "argument --optimizer: invalid choice: 'lbfgs'"),
        (["--learning-rate", "0.1"], "unrecognized arguments: --learning-rate 0.1"),
        (["--epoch", "3"], "unrecognized arguments: --epoch 3"),
        (["--train", "/no/such/folder"], "argument --train: '/no/such/folder' does not exist"),
    ],
)
def test_digits_says_what_is_wrong_with_an_argument(digits, capsys, args, message):
    assert message in complaint(capsys, digits.parse, *args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--eta", "1.5"], "argument --eta: must be finite and greater than 0 and at most 1, but is 1.5"),
        (["--subsample", "nan"], "argument --subsample: must be finite and greater than 0 and at most 1, but is nan"),
        (["--lambda=-1"], "argument --lambda: must be finite and at least 0, but is -1"),
        (["--num_round", "0"], "argument --num_round: must be at least 1, but is 0"),
        (["--max_depth", "deep"], "argument --max_depth: must be a whole number, but is 'deep'"),
        (["--grow_policy", "wide"], "argument --grow_policy: invalid choice: 'wide'"),
        (["--validation", "/no/such/folder"], "argument --validation: '/no/such/folder' does not exist"),
    ],
)
def test_breast_cancer_says_what_is_wrong_with_an_argument(cancer, capsys, args, message):
    assert message in complaint(capsys, cancer.parse, *args)


def test_a_validation_channel_without_a_train_channel_is_refused(cancer, capsys, tmp_path):
    assert "needs --train" in complaint(capsys, cancer.parse, "--validation", str(tmp_path))


def test_sm_hps_gives_the_hyperparameters_and_the_command_line_wins(digits):
    environ = {"SM_HPS": json.dumps({"lr": 0.25, "optimizer": "adam", "batch-size": "16"})}

    args = digits.parse(["--lr", "1e-05"], environ)

    assert (args.lr, args.optimizer, args.batch_size) == (1e-05, "adam", 16)


def test_a_wrong_value_in_sm_hps_is_refused_as_on_the_command_line(digits, capsys):
    environ = {"SM_HPS": json.dumps({"optimizer": "lbfgs"})}

    assert "invalid choice: 'lbfgs'" in complaint(capsys, digits.parse, environ=environ)


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_sm_hps_that_is_no_object_is_refused(arguments, capsys, text):
    assert "SM_HPS" in complaint(capsys, arguments.parse, environ={"SM_HPS": text})


def test_the_platforms_own_hyperparameters_are_left_aside(arguments):
    words = ["--_tuning_objective_metric", "validation:loss", "--sagemaker_program=train.py", "--seed", "4"]
    environ = {"SM_HPS": json.dumps({"sagemaker_submit_directory": "s3://bucket/code.tar.gz"})}

    assert arguments.parse(words, environ).seed == 4


def test_folders_follow_the_platform(arguments, tmp_path):
    environ = {"SM_MODEL_DIR": "/m/model", "SM_OUTPUT_DATA_DIR": "/d", "SM_CHANNEL_TRAIN": str(tmp_path)}

    args = arguments.parse([], environ)

    assert [str(args.model_dir), str(args.output_data_dir), args.train] == ["/m/model", "/d", tmp_path]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "output/pytorch_digits/checkpoints"),
        ({"SM_MODEL_DIR": "/opt/ml/model"}, "/opt/ml/checkpoints"),
        ({"SM_MODEL_DIR": "/opt/ml/model", "SAGEMAKER_BASE_DIR": "/job"}, "/job/checkpoints"),
        ({"SM_CHECKPOINT_DIR": "/c", "SAGEMAKER_BASE_DIR": "/job"}, "/c"),
    ],
)
def test_checkpoints_follow_the_platform(digits, environ, expected):
    assert str(digits.parse([], environ).checkpoint_dir) == expected


@pytest.mark.parametrize("folder", SCRIPTS)
def test_the_script_itself_ends_with_status_2_and_no_traceback(run, tmp_path, folder):
    done = run(folder, "--seed", "-1", cwd=tmp_path)

    assert done.returncode == 2
    assert "argument --seed: must be at least 0, but is -1" in done.stderr
    assert "Traceback" not in done.stderr
