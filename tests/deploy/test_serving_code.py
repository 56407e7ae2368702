"""Script models that their container could not load are refused before anything is created."""

from __future__ import annotations

import io
import tarfile

import pytest

import sm_tuning as smt
from sm_tuning.deploy._serving_code import refuse_unservable

PYTORCH = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6-cpu-py312"
SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
LOADS = "def model_fn(model_dir):\n    return 1\n"
PREDICTS = "def predict_fn(data, model):\n    return data\n"


@pytest.fixture(scope="module")
def bucket(near: smt.Aws) -> str:
    near.call("s3", "create_bucket", Bucket="serving-codes")
    return "serving-codes"


def put(near: smt.Aws, bucket: str, files: dict[str, str]) -> str:
    """Put an archive into a bucket, and return its URI."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    near.call("s3", "put_object", Bucket=bucket, Key="code.tar.gz", Body=content.getvalue())
    return f"s3://{bucket}/code.tar.gz"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"code/inference.py": LOADS, "a.txt": ""}, None),
        ({"./code/inference.py": "from serving import *\n"}, None),
        ({"code/inference.py": "from serving import load as model_fn\n"}, None),
        ({"code/inference.py": "model_fn = print\n"}, None),
        ({"code/inference.py": "this is (no python"}, None),
        ({"model.pth": ""}, None),
        ({"code/inference.py": PREDICTS, "model.pt": ""}, None),
        ({"code/inference.py": PREDICTS, "model.bin": ""}, r"has no model_fn, .* but this has none: let"),
        ({"model.json": ""}, r"the model's archive has no code/inference.py, .* but this has none"),
        ({"a.pth": "", "b.pt": ""}, r"this has 2 of them \(a.pth, b.pt\)"),
    ],
)
def test_a_pytorch_model_needs_a_function_or_one_file(
    near: smt.Aws, bucket: str, files: dict[str, str], message: str | None
) -> None:
    container = {"Image": PYTORCH, "ModelDataUrl": put(near, bucket, files)}
    if message is None:
        refuse_unservable(near, container)
    else:
        with pytest.raises(smt.SpecError, match=message):
            refuse_unservable(near, container)
    refuse_unservable(near, {**container, "Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/own:1"})


@pytest.mark.parametrize("image", [SKLEARN, XGBOOST])
def test_other_scripts_come_from_their_own_archive(near: smt.Aws, bucket: str, image: str) -> None:
    def container(files: dict[str, str], program: str = "serve.py") -> dict[str, object]:
        environment = {"SAGEMAKER_PROGRAM": program, "SAGEMAKER_SUBMIT_DIRECTORY": put(near, bucket, files)}
        return {"Image": image, "ModelDataUrl": "s3://nowhere/m.tar.gz", "Environment": environment}

    refuse_unservable(near, container({"serve.py": LOADS}))
    with pytest.raises(smt.SpecError, match=r"serve.py in s3://.* has no model_fn\(model_dir\)"):
        refuse_unservable(near, container({"serve.py": PREDICTS}))
    with pytest.raises(smt.SpecError, match=r"SAGEMAKER_PROGRAM=other.py is not in s3://"):
        refuse_unservable(near, container({"serve.py": LOADS}, "other.py"))


def test_scikit_learn_serves_a_script_only(near: smt.Aws) -> None:
    with pytest.raises(smt.SpecError, match="the scikit-learn image serves a script only: give environment with"):
        refuse_unservable(near, {"Image": SKLEARN, "ModelDataUrl": "s3://nowhere/m.tar.gz"})


@pytest.mark.parametrize("uri", ["s3://no-such-bucket-of-ours/m.tar.gz", "s3://serving-codes/absent.tar.gz"])
def test_what_cannot_be_read_is_not_refused(near: smt.Aws, bucket: str, uri: str) -> None:
    refuse_unservable(near, {"Image": PYTORCH, "ModelDataUrl": uri})


def test_an_archive_that_is_none_is_not_refused(near: smt.Aws, bucket: str) -> None:
    near.call("s3", "put_object", Bucket=bucket, Key="broken.tar.gz", Body=b"no archive")
    refuse_unservable(near, {"Image": PYTORCH, "ModelDataUrl": f"s3://{bucket}/broken.tar.gz"})
