"""Where the training data is: S3, a local path that is uploaded, a file system, or a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from sm_tuning._errors import Problem, SpecError
from sm_tuning.spec._base import TAG, Spec

#: Content types of file name endings. Built-in algorithms need a content type to read their data.
CONTENT_TYPES = {
    ".csv": "text/csv",
    ".libsvm": "text/libsvm",
    ".svm": "text/libsvm",
    ".parquet": "application/x-parquet",
}

InputMode = Literal["File", "Pipe", "FastFile"]


class Input(Spec):
    """One channel of training data in S3, or on this machine until it is uploaded.

    Args:
        uri: ``s3://bucket/prefix``, or a local file or folder, which is uploaded at launch under a key made of its
            content.
        content_type: MIME type; by default that of the file's ending (``.csv`` is ``text/csv``).
        distribution: ``ShardedByS3Key`` gives each host its own part of the files.
        s3_data_type: how ``uri`` is read: a prefix, a manifest, or an augmented manifest.
        attribute_names: the JSON attributes to read from an augmented manifest.
        instance_groups: names of the instance groups that get this channel (heterogeneous clusters).
        shuffle_seed: shuffles the order of S3 keys (or manifest lines) each epoch.
        hub_content_arn: the hub content that an S3 URI of a private hub belongs to.
        accept_eula: accepts the licence of a gated model's data.

    Raises:
        SpecError: if options exclude each other.
    """

    _code: ClassVar[str] = "channels"

    uri: str = Field(min_length=1, max_length=1024)
    content_type: str | None = Field(default=None, max_length=256)
    distribution: Literal["FullyReplicated", "ShardedByS3Key"] = "FullyReplicated"
    compression: Literal["None", "Gzip"] | None = None
    record_wrapping: Literal["None", "RecordIO"] | None = None
    s3_data_type: Literal["S3Prefix", "ManifestFile", "AugmentedManifestFile", "Converse"] = "S3Prefix"
    input_mode: InputMode | None = None
    attribute_names: tuple[str, ...] = Field(default=(), max_length=16)
    instance_groups: tuple[str, ...] = Field(default=(), max_length=5)
    shuffle_seed: int | None = None
    hub_content_arn: str | None = None
    accept_eula: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _content_type_from_name(cls, data: Any) -> Any:
        # None means "not given"; an empty text means "no content type" for a file whose ending has one.
        if isinstance(data, dict) and data.get("content_type") is None and isinstance(data.get("uri"), str):
            for ending, content_type in CONTENT_TYPES.items():
                if data["uri"].lower().endswith(ending):
                    return {**data, "content_type": content_type}
        return data

    @model_validator(mode="after")
    def _options_fit(self) -> Input:
        if self.input_mode == "FastFile" and self.s3_data_type != "S3Prefix":
            message = f"input_mode FastFile needs s3_data_type S3Prefix, but got {self.s3_data_type!r}"
            raise SpecError(Problem("fastfile-prefix", "", message, "use s3_data_type S3Prefix, or input_mode File"))
        if self.attribute_names and self.s3_data_type != "AugmentedManifestFile":
            message = "attribute_names are for s3_data_type AugmentedManifestFile only"
            raise SpecError(Problem("manifest-attributes", "", message, "use s3_data_type AugmentedManifestFile"))
        return self

    @property
    def is_remote(self) -> bool:
        """Whether the data is in S3 already."""
        return self.uri.startswith(("s3://", "https://"))


class FileSystemInput(Spec):
    """One channel of training data on Amazon EFS or FSx for Lustre; the estimator needs subnets for it."""

    _code: ClassVar[str] = "channels"

    file_system_id: str = Field(pattern=r"^fs-[0-9a-f]{8,}$")
    file_system_type: Literal["EFS", "FSxLustre"]
    directory_path: str = Field(max_length=4096)
    file_system_access_mode: Literal["ro", "rw"] = "ro"
    content_type: str | None = Field(default=None, max_length=256)
    compression: Literal["None", "Gzip"] | None = None
    record_wrapping: Literal["None", "RecordIO"] | None = None
    input_mode: InputMode | None = None
    shuffle_seed: int | None = None


class DatasetInput(Spec):
    """One channel of training data that is a SageMaker dataset."""

    _code: ClassVar[str] = "channels"

    dataset_arn: str = Field(min_length=1, max_length=1024)
    content_type: str | None = Field(default=None, max_length=256)
    compression: Literal["None", "Gzip"] | None = None
    record_wrapping: Literal["None", "RecordIO"] | None = None
    input_mode: InputMode | None = None
    shuffle_seed: int | None = None


def _from_text(data: Any) -> Any:
    """Accept a URI or a path in place of an input."""
    if isinstance(data, str) or hasattr(data, "__fspath__"):
        return {"uri": str(data)}
    if not isinstance(data, Mapping | Spec):
        raise not_a_channel(data)
    return data


def not_a_channel(data: Any) -> SpecError:
    """Return the error about a value that is not a channel, such as a data frame."""
    got = "None" if data is None else f"a value of type {type(data).__name__}"
    saved = ": save the data to a file, and give its path" if hasattr(data, "__len__") else ""
    message = f"a channel is a local path, an S3 URI such as 's3://bucket/train', or an smt.Input, but got {got}{saved}"
    return SpecError(Problem("channels", "", message))


def _kind(data: Any) -> str:
    for field, kind in (("file_system_id", "file_system"), ("dataset_arn", "dataset")):
        if field in data if isinstance(data, dict) else hasattr(data, field):
            return f"{TAG}{kind}"
    return f"{TAG}s3"


AnyInput = Annotated[
    Annotated[
        Annotated[Input, Tag(f"{TAG}s3")]
        | Annotated[FileSystemInput, Tag(f"{TAG}file_system")]
        | Annotated[DatasetInput, Tag(f"{TAG}dataset")],
        Discriminator(_kind),
    ],
    BeforeValidator(_from_text, json_schema_input_type=str | Input | FileSystemInput | DatasetInput),
]
