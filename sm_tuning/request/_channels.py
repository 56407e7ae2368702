"""Data channels as the API has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sm_tuning.request._reader import Reader
from sm_tuning.spec import AnyInput, DatasetInput, FileSystemInput, Input


def write_channels(inputs: Mapping[str, AnyInput]) -> list[dict[str, Any]]:
    """Write ``InputDataConfig``."""
    return [{"ChannelName": name, **_channel(channel)} for name, channel in inputs.items()]


def _channel(channel: AnyInput) -> dict[str, Any]:
    written: dict[str, Any] = {"DataSource": _data_source(channel)}
    options = {
        # An empty text says that a file with a telling name has no content type.
        "ContentType": channel.content_type or None,
        "CompressionType": channel.compression,
        "RecordWrapperType": channel.record_wrapping,
        "InputMode": channel.input_mode,
        "ShuffleConfig": None if channel.shuffle_seed is None else {"Seed": channel.shuffle_seed},
    }
    return written | {name: value for name, value in options.items() if value is not None}


def _data_source(channel: AnyInput) -> dict[str, Any]:
    if isinstance(channel, FileSystemInput):
        return {
            "FileSystemDataSource": {
                "FileSystemId": channel.file_system_id,
                "FileSystemAccessMode": channel.file_system_access_mode,
                "FileSystemType": channel.file_system_type,
                "DirectoryPath": channel.directory_path,
            }
        }
    if isinstance(channel, DatasetInput):
        return {"DatasetSource": {"DatasetArn": channel.dataset_arn}}
    source: dict[str, Any] = {
        "S3DataType": channel.s3_data_type,
        "S3Uri": channel.uri,
        "S3DataDistributionType": channel.distribution,
    }
    if channel.attribute_names:
        source["AttributeNames"] = list(channel.attribute_names)
    if channel.instance_groups:
        source["InstanceGroupNames"] = list(channel.instance_groups)
    if channel.accept_eula is not None:
        source["ModelAccessConfig"] = {"AcceptEula": channel.accept_eula}
    if channel.hub_content_arn is not None:
        source["HubAccessConfig"] = {"HubContentArn": channel.hub_content_arn}
    return {"S3DataSource": source}


def read_channels(readers: list[Reader]) -> dict[str, dict[str, Any]]:
    """Read ``InputDataConfig`` back as plain data, channel by channel."""
    return {str(reader.take("ChannelName")): _read_channel(reader) for reader in readers}


def _read_channel(reader: Reader) -> dict[str, Any]:
    source = reader.inner("DataSource")
    shuffle = reader.inner("ShuffleConfig")
    fields = {
        **_read_source(source),
        "content_type": reader.text("ContentType"),
        "compression": reader.text("CompressionType"),
        "record_wrapping": reader.text("RecordWrapperType"),
        "input_mode": reader.text("InputMode"),
        "shuffle_seed": shuffle.take("Seed"),
    }
    for closed in (shuffle, source, reader):
        closed.close()
    if fields["content_type"] is None and guesses_content_type(fields.get("uri")):
        fields["content_type"] = ""
    return {name: value for name, value in fields.items() if value is not None}


def _read_source(source: Reader) -> dict[str, Any]:
    s3 = source.inner("S3DataSource")
    files = source.inner("FileSystemDataSource")
    dataset = source.inner("DatasetSource")
    access, hub = s3.inner("ModelAccessConfig"), s3.inner("HubAccessConfig")
    fields = {
        "uri": s3.take("S3Uri"),
        "s3_data_type": s3.take("S3DataType"),
        "distribution": s3.take("S3DataDistributionType"),
        "attribute_names": s3.take("AttributeNames"),
        "instance_groups": s3.take("InstanceGroupNames"),
        "accept_eula": access.take("AcceptEula"),
        "hub_content_arn": hub.take("HubContentArn"),
        "file_system_id": files.take("FileSystemId"),
        "file_system_access_mode": files.take("FileSystemAccessMode"),
        "file_system_type": files.take("FileSystemType"),
        "directory_path": files.take("DirectoryPath"),
        "dataset_arn": dataset.take("DatasetArn"),
    }
    for closed in (access, hub, s3, files, dataset):
        closed.close()
    return fields


def guesses_content_type(uri: str | None) -> bool:
    """Whether a spec would take a content type from the URI's ending."""
    return bool(uri) and Input(uri=str(uri)).content_type is not None


def settled(channel: AnyInput) -> AnyInput:
    """The channel with "no content type" written the way that reading it back gives."""
    if channel.content_type == "" and not guesses_content_type(getattr(channel, "uri", None)):
        return channel.replace(content_type=None)
    return channel
