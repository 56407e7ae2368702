"""The files, the environment and the command of a model process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sm_tuning._wire import SERVING_CODE, SERVING_PROGRAM
from sm_tuning.executor._command import inherited_environment
from sm_tuning.executor._data import ObjectStore, extract, prefix_folder
from sm_tuning.executor._hosts import Folder, TrainingFailedError
from sm_tuning.executor._process import Command, count_cpus
from sm_tuning.executor._supervisors import Preload, shared_variables
from sm_tuning.executor.serving._images import ServingImage

_DEFAULT_PROGRAM = "inference.py"  # the framework image's default [aws/sagemaker-inference-toolkit, environment.py]
_CODE = "code"
#: What ``server`` imports in algorithm mode and in script mode. Not ``server`` itself, which runs as the main module.
_ALGORITHM_IMPORTS = (
    "import sys",
    "sys.modules['sklearn'] = None",  # as ``server`` does, and for its reason
    "import http.server, socketserver",
    "from sm_tuning.executor.serving import _socket, _types, xgboost_serve",
)
_SCRIPT_IMPORTS = (
    "import http.server, socketserver",
    "from sm_tuning.executor.serving import _socket, _types, script_serve",
)


class ServingError(Exception):
    """A model cannot be served; the message is the reason of the failure."""


def unpack_model(container: Mapping[str, Any], folder: Folder, s3: ObjectStore) -> None:
    """Fill the model folder from a container definition: an archive, or the objects under a prefix.

    Raises:
        ServingError: the data is missing or unreadable.
    """
    folder.make()
    source = (container.get("ModelDataSource") or {}).get("S3DataSource") or {}
    uri = source.get("S3Uri") or container.get("ModelDataUrl")
    if uri is None:
        return  # the code may bring everything that it needs
    try:
        if source.get("CompressionType") == "None":
            found = s3.list_objects(uri)
            if source.get("S3DataType") == "S3Object":  # and not those whose keys only begin with its key
                found = [item for item in found if item == uri]
            base = prefix_folder(uri, found) if uri not in found else uri[: uri.rindex("/") + 1]
            for item in found:
                name = PurePosixPath(item.removeprefix(base))
                if ".." in name.parts:
                    raise ServingError(f"ClientError: the object {item!r} would be outside the model's folder.")
                if not item.endswith("/"):
                    s3.download(item, folder.model / name)
            if not found:
                raise FileNotFoundError(uri)  # noqa: TRY301 - reported as a missing archive is
        else:
            archive = folder.root / "model.tar.gz"
            s3.download(uri, archive)
            extract(archive, folder.model)
            archive.unlink()
    except FileNotFoundError as e:
        raise ServingError(
            f'Failed to download model data for container "container_1" from URL: "{uri}". Please ensure that there '
            "is an object located at the URL and that the role passed to CreateModel has permissions to download the "
            "object."
        ) from e
    except TrainingFailedError as e:
        raise ServingError(str(e)) from e


def fetch_program(image: ServingImage, environment: Mapping[str, str], folder: Folder, s3: ObjectStore) -> Path | None:
    """Return the program that serves a model in script mode, with its code in place; None if there is no program.

    The PyTorch image runs ``model/code/inference.py`` and does not read SAGEMAKER_SUBMIT_DIRECTORY from S3. The images
    for XGBoost and scikit-learn run SAGEMAKER_PROGRAM from SAGEMAKER_SUBMIT_DIRECTORY.

    Raises:
        ServingError: the program is missing.
    """
    source, code = environment.get(SERVING_CODE, ""), folder.model / _CODE
    if source.startswith("s3://") and image.framework != "pytorch":
        archive, code = folder.root / PurePosixPath(source).name, folder.code
        try:
            s3.download(source, archive)
            extract(archive, code)
        except FileNotFoundError as e:
            raise ServingError(f"ClientError: {SERVING_CODE} {source!r} is not an S3 object.") from e
        except TrainingFailedError as e:
            raise ServingError(str(e)) from e
    elif source and not source.startswith("s3://"):
        try:
            code = folder.inside(source.removeprefix("file://"))
        except TrainingFailedError as e:
            raise ServingError(f"ClientError: {SERVING_CODE} must be on S3 or under /opt/ml, but is {source!r}.") from e
    name = environment.get(SERVING_PROGRAM)
    program = code / (name or _DEFAULT_PROGRAM)
    if program.is_file() and program.resolve().is_relative_to(folder.root.resolve()):
        return program
    if name is None and image.framework == "pytorch":
        return None
    contents = ", ".join(sorted(path.name for path in code.iterdir())[:10]) if code.is_dir() else "nothing"
    if name is None:
        raise ServingError(
            f"ClientError: the image for {image.framework} needs {SERVING_PROGRAM} and {SERVING_CODE} in the model's "
            "environment."
        )
    raise ServingError(
        f"ClientError: {SERVING_PROGRAM} {name!r} is not in the model's code, which contains {contents}."
    )


def model_command(
    image: ServingImage,
    socket: Path,
    *,
    folder: Folder,
    program: Path | None,
    environment: Mapping[str, str],
    child_env: Mapping[str, str],
    python: str = sys.executable,
) -> Command:
    """Return the command of a model process, which may be a fork of a template: most of its start is imports.

    Args:
        image: how to serve.
        socket: where the process listens.
        folder: its ``/opt/ml``.
        program: the user's program in script mode.
        environment: variables of the container.
        child_env: variables by which the process reaches the AWS endpoints.
        python: the interpreter, which may be that of a virtual environment.
    """
    package_parent = str(Path(__file__).resolve().parents[3])
    env = {
        **inherited_environment(),
        "PATH": os.pathsep.join((str(Path(python).parent), os.environ.get("PATH", os.defpath))),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(count_cpus()),
        **child_env,
        **environment,
        "SAGEMAKER_BASE_DIR": str(folder.root),
        "PYTHONPATH": os.pathsep.join(filter(None, (package_parent, environment.get("PYTHONPATH")))),
    }
    for key, value in env.items():
        if "\0" in key or "\0" in value:  # variables are C strings
            raise ServingError(f"ClientError: the environment variable {key!r} contains a NUL character.")
    version = ".".join(map(str, image.version))
    argv = [python, "-u", "-m", "sm_tuning.executor.serving.server", image.framework, version, str(socket)]
    if image.is_script:
        argv.append("" if program is None else str(program))
    imports = _SCRIPT_IMPORTS if image.is_script else _ALGORITHM_IMPORTS
    preload = Preload("model processes", python, shared_variables(env, ()) or (), imports)
    return Command(argv, env, folder.root, preload=preload)
