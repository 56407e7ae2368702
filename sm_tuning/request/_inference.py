"""From the image that trained a model to the one that serves it."""

from __future__ import annotations

from sm_tuning._errors import SpecError
from sm_tuning.request._images import _ECR, _PYTORCH_TAG, _retrieve, repository

_TRAINING = "-training"


def inference_image(uri: str, *, region: str, instance_type: str) -> str:
    """The image that serves what another one trained.

    An image that trains and serves, as AWS's built-in algorithms and SageMaker's containers for XGBoost and
    scikit-learn are, and as an image of one's own is expected to be [Developer Guide, your-algorithms], serves its own
    models. A deep learning container for training has a counterpart for inference.

    Args:
        uri: of the training image.
        region: whose registry the image comes from.
        instance_type: that the model will run on; it decides between CPU and GPU.

    Raises:
        SpecError: the counterpart is not known.
    """
    match, name = _ECR.match(uri), repository(uri)
    if match is None or not name.endswith(_TRAINING):
        return uri
    tag = _PYTORCH_TAG.match(match["tag"] or "")
    if name != f"pytorch{_TRAINING}" or tag is None:
        raise SpecError(f"no image is known that serves what {uri!r} trained: give image_uri, the image for inference")
    return _retrieve("pytorch", tag["version"], tag["py"], region, instance_type, "inference")
