"""Whether a script model can be served: its code is read before machines are paid for that could not load it."""

from __future__ import annotations

import ast
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

from sm_tuning._errors import ServiceError, SpecError
from sm_tuning._images import XGBOOST_REPOSITORIES, parse_image
from sm_tuning._wire import SERVING_CODE, SERVING_PROGRAM
from sm_tuning.aws import Aws, split_uri

_LARGEST = 256 * 2**20  # bytes of an archive that is read to its end
_LONGEST = 2**20  # bytes of a script that is parsed
_PROGRAM = "inference.py"  # the PyTorch image's default [aws/sagemaker-inference-toolkit, environment.py]


def refuse_unservable(aws: Aws, container: Mapping[str, Any]) -> None:
    """Refuse a model whose script, or whose image's default, would fail in the container.

    What cannot be read is not refused: a large archive, an image of the user, code behind other permissions.

    Args:
        aws: the connection.
        container: the container definition of CreateModel.

    Raises:
        SpecError: there is no ``model_fn``, or nothing that the image could load without one.
    """
    image = parse_image(str(container.get("Image", "")))
    environment = container.get("Environment") or {}
    name, archive = "" if image is None else image.repository, container.get("ModelDataUrl")
    try:
        if name == "pytorch-inference" and archive:
            _check_pytorch(dict(_files(aws, archive)), environment.get(SERVING_PROGRAM, _PROGRAM))
        elif name == "sagemaker-scikit-learn" or (name in XGBOOST_REPOSITORIES and SERVING_PROGRAM in environment):
            _check_program(aws, environment)
    except (ServiceError, tarfile.TarError, OSError):
        return  # the container may be allowed to read what the caller may not


def _check_pytorch(files: Mapping[str, bytes | None], program: str) -> None:
    if not files:
        return
    source = files.get(f"code/{program}")
    weights = [name for name in files if "/" not in name and name.endswith((".pt", ".pth"))]
    if source is None and f"code/{program}" not in files:
        what = f"the model's archive has no code/{program}"
    elif not _lacks_model_fn(source):
        return
    else:
        what = f"code/{program} of the model's archive has no model_fn"
    if len(weights) != 1:
        found = f"{len(weights)} of them ({', '.join(sorted(weights)[:5])})" if weights else "none"
        raise SpecError(
            f"{what}, and the PyTorch image itself loads only an archive with a single TorchScript file .pt or .pth, "
            f"but this has {found}: let the training script save code/{program} with a function model_fn(model_dir)"
        )


def _check_program(aws: Aws, environment: Mapping[str, str]) -> None:
    program, place = environment.get(SERVING_PROGRAM), environment.get(SERVING_CODE, "")
    if program is None:
        raise SpecError(
            "the scikit-learn image serves a script only: give environment with "
            f"{SERVING_PROGRAM} (a script with a function model_fn(model_dir)) and {SERVING_CODE} (its s3://….tar.gz)"
        )
    if not place.startswith("s3://"):
        return
    files = dict(_files(aws, place))
    if files and program not in files:
        raise SpecError(f"{SERVING_PROGRAM}={program} is not in {place}: name a script of that archive")
    if _lacks_model_fn(files.get(program)):
        raise SpecError(f"{program} in {place} has no model_fn(model_dir), which the image needs to load a model")


def _files(aws: Aws, uri: str) -> Iterator[tuple[str, bytes | None]]:
    """Give the files of an archive with the content of its scripts; nothing for a large archive."""
    bucket, key = split_uri(uri)
    answer = aws.call("s3", "get_object", Bucket=bucket, Key=key)
    body = answer["Body"]
    try:
        if answer.get("ContentLength", 0) > _LARGEST:
            return
        with tarfile.open(fileobj=body, mode="r|gz") as archive:
            for member in archive:
                if member.isfile():
                    is_script = member.name.endswith(".py") and member.size <= _LONGEST
                    content = archive.extractfile(member) if is_script else None
                    yield member.name.removeprefix("./"), content.read() if content else None
    finally:
        body.close()


def _lacks_model_fn(source: bytes | None) -> bool:
    """Return whether a script surely has no ``model_fn``: another module may bring it by ``import *``."""
    if source is None:
        return False
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == "model_fn":
            return False
        names = [alias.asname or alias.name for alias in getattr(node, "names", ()) if isinstance(alias, ast.alias)]
        if {"model_fn", "*"} & set(names):
            return False
        if isinstance(node, ast.Name) and node.id == "model_fn" and isinstance(node.ctx, ast.Store):
            return False
    return True
