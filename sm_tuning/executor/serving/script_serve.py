"""Script mode: the user's functions serve the model, with the defaults of each image's toolkit.

``model_fn``, ``input_fn``, ``predict_fn`` and ``output_fn``, or ``transform_fn`` in place of the last three, each with
or without a last argument ``context`` [aws/sagemaker-inference-toolkit, transformer.py; aws/sagemaker-containers,
_transformer.py]. One request is served at a time, as in a worker of the images.
"""

from __future__ import annotations

import importlib.util
import inspect
import io
import json
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from sm_tuning.executor.serving._types import Answer, Invocation

JSON, CSV, NPY, NPZ = "application/json", "text/csv", "application/x-npy", "application/x-npz"
_LIBSVM = ("text/libsvm", "text/x-libsvm")
_STEPS = ("input_fn", "predict_fn", "output_fn")


class UnsupportedTypeError(ValueError):
    """A default function does not know a content type.

    Args:
        content_type: as given.
        status: of HTTP, for images that report it.
    """

    def __init__(self, content_type: str, status: int) -> None:
        super().__init__(f"Content type {content_type} is not supported by this framework.")
        self.status = status


class ScriptError(Exception):
    """The user's module lacks a function, or has functions that exclude each other."""


class ScriptHandler:
    """A model that functions of the user serve.

    Args:
        framework: ``xgboost``, ``pytorch`` or ``sklearn``.
        program: the user's module; None for the defaults alone.
        environ: variables of the container.
    """

    def __init__(self, framework: str, program: Path | None, environ: Mapping[str, str]) -> None:
        self._framework = framework
        self._program = program
        self._accept = environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", JSON)
        self._lock = threading.Lock()
        self._functions: dict[str, Callable[..., Any]] = {}
        self._model: Any = None
        self._context = SimpleNamespace(system_properties={}, request_headers={})

    def load(self, model_dir: Path) -> None:
        """Import the module and load the model.

        Raises:
            ScriptError: a function is missing, or ``transform_fn`` is beside functions that it replaces.
        """
        given = {} if self._program is None else _functions_of(self._program)
        if "transform_fn" in given and (both := [name for name in _STEPS if name in given]):
            raise ScriptError(f"Cannot use transform_fn implementation with {', '.join(both)}")
        self._functions = {**_DEFAULTS[self._framework], **given}
        if "model_fn" not in self._functions:
            raise ScriptError(
                "Please provide a model_fn implementation: the image has no default, and the module "
                f"{self._program} has none."
            )
        self._context.system_properties = {"model_dir": str(model_dir)}
        self._model = self._run("model_fn", str(model_dir))

    def execution_parameters(self) -> None:
        """Return None: the toolkits propose no settings for batch transform."""

    def answer(self, request: Invocation) -> Answer:
        """Return the predictions of a request; any error of the functions is an error of the model."""
        accept = request.accept if request.accept not in (None, "", "*/*") else self._accept
        content_type = request.content_type or JSON
        with self._lock:
            self._context.request_headers = dict(request.headers)
            try:
                if "transform_fn" in self._functions:
                    result = self._run(
                        "transform_fn", self._model, _text(request.body, content_type), content_type, accept
                    )
                else:
                    data = self._run("input_fn", _text(request.body, content_type), content_type)
                    result = self._run("output_fn", self._run("predict_fn", data, self._model), accept)
                return _answer_of(result, str(accept))
            except Exception as e:  # noqa: BLE001 - whatever the user's functions raise
                traceback.print_exc()
                # The framework image reports its own unsupported types as 500 [sagemaker-inference-toolkit, measured].
                status = e.status if isinstance(e, UnsupportedTypeError) and self._framework != "pytorch" else 500
                own = getattr(e, "status_code", None)
                return Answer(own if isinstance(own, int) and 400 <= own < 600 else status, str(e).encode())

    def _run(self, name: str, *arguments: Any) -> Any:
        function = self._functions[name]
        most = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
        return function(*arguments, self._context) if len(most) > len(arguments) else function(*arguments)


def _functions_of(program: Path) -> dict[str, Callable[..., Any]]:
    """Import a module from its folder, and return those of its functions that the toolkit calls."""
    sys.path.insert(0, str(program.parent))
    spec = importlib.util.spec_from_file_location(program.stem, program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[program.stem] = module  # so that pickles find its classes
    spec.loader.exec_module(module)
    names = ("model_fn", *_STEPS, "transform_fn")
    return {name: getattr(module, name) for name in names if callable(getattr(module, name, None))}


def _text(body: bytes, content_type: str) -> Any:
    # The toolkits pass text as str and all else as bytes.
    kind = content_type.split(";", 1)[0].strip().lower()
    return body.decode("utf-8") if kind in (JSON, CSV, "application/jsonlines", *_LIBSVM) else body


def _answer_of(result: Any, accept: str) -> Answer:
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], str):
        result, accept = result
    if hasattr(result, "response") and hasattr(result, "mimetype"):  # a response of the older toolkit
        result, accept = result.get_data() if hasattr(result, "get_data") else result.response, result.mimetype
    if isinstance(result, str):
        result = result.encode()
    if not isinstance(result, bytes | bytearray):
        raise ScriptError(f"output_fn must return text or bytes, but it returned {type(result).__name__}")
    return Answer(200, bytes(result), accept)


# Default functions ----------------------------------------------------------------------------------------------------


def decode(data: Any, content_type: str) -> Any:
    """Return a payload as an array.

    Raises:
        UnsupportedTypeError: the content type is not JSON, CSV or NumPy's.
    """
    kind = content_type.split(";", 1)[0].strip().lower()
    if kind == JSON:
        return np.array(json.loads(data))
    if kind == CSV:
        return np.genfromtxt(io.StringIO(data), delimiter=",")
    if kind == NPY:
        return np.load(io.BytesIO(data), allow_pickle=False)
    raise UnsupportedTypeError(content_type, 415)


def encode(prediction: Any, accept: str) -> Any:
    """Return predictions as a payload.

    Raises:
        UnsupportedTypeError: the content type is not JSON, CSV or NumPy's.
    """
    kind = accept.split(";", 1)[0].strip().lower()
    if kind == JSON:
        return json.dumps(prediction, default=lambda value: value.tolist() if hasattr(value, "tolist") else list(value))
    array = np.array(prediction)
    if kind == CSV:
        text = io.StringIO()
        np.savetxt(text, np.atleast_1d(array), delimiter=",", fmt="%s")
        return text.getvalue()
    if kind == NPY:
        stream = io.BytesIO()
        np.save(stream, array)
        return stream.getvalue()
    raise UnsupportedTypeError(accept, 406)


def _torch_model(model_dir: str) -> Any:
    """Load the TorchScript model, if there is exactly one.

    Raises:
        ScriptError: there are no models, or several.
    """
    import torch  # noqa: PLC0415 - only this image has it

    paths = sorted(path for path in Path(model_dir).iterdir() if path.suffix in (".pt", ".pth"))
    if len(paths) != 1:
        raise ScriptError(
            f"Exactly one .pth or .pt file is required for PyTorch models: {[path.name for path in paths]}"
        )
    model = torch.jit.load(str(paths[0]), map_location=_device())
    return model.eval()


def _device() -> Any:
    import torch  # noqa: PLC0415 - as above

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _torch_input(data: Any, content_type: str) -> Any:
    import torch  # noqa: PLC0415 - as above

    array = decode(data, content_type)
    return torch.FloatTensor(array).to(_device()) if content_type.startswith((JSON, CSV)) else torch.from_numpy(array)


def _torch_predict(data: Any, model: Any) -> Any:
    import torch  # noqa: PLC0415 - as above

    with torch.no_grad():
        return model(data.to(_device()))


def _torch_output(prediction: Any, accept: str) -> Any:
    if hasattr(prediction, "detach"):
        prediction = prediction.detach().cpu().numpy()
    return encode(prediction, accept)


def _xgboost_input(data: Any, content_type: str) -> Any:
    import xgboost as xgb  # noqa: PLC0415 - as above

    from sm_tuning.executor.algorithms._xgboost_data import parse_libsvm  # noqa: PLC0415
    from sm_tuning.executor.serving.xgboost_serve import csv_rows  # noqa: PLC0415

    kind = content_type.split(";", 1)[0].strip().lower()
    if kind == CSV:
        return xgb.DMatrix(csv_rows(data))
    if kind in _LIBSVM:
        return xgb.DMatrix(parse_libsvm([("request", data.splitlines())]).features)
    raise UnsupportedTypeError(content_type, 415)


def _xgboost_predict(data: Any, model: Any) -> Any:
    return model.predict(data, validate_features=False)


def _sklearn_input(data: Any, content_type: str) -> Any:
    array = decode(data, content_type)
    return array.astype(np.float32) if content_type.startswith((JSON, CSV)) else array


def _sklearn_predict(data: Any, model: Any) -> Any:
    return model.predict(data)


_DEFAULTS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "pytorch": {
        "model_fn": _torch_model,
        "input_fn": _torch_input,
        "predict_fn": _torch_predict,
        "output_fn": _torch_output,
    },
    "xgboost": {"input_fn": _xgboost_input, "predict_fn": _xgboost_predict, "output_fn": encode},
    "sklearn": {"input_fn": _sklearn_input, "predict_fn": _sklearn_predict, "output_fn": encode},
}
