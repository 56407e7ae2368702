"""S3 as its clients use it: unusual but legal requests."""

from __future__ import annotations

import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from local_server import LocalServer
from servers import running_server


@pytest.fixture(scope="module")
def server(processes, tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("s3")) as info:
        yield LocalServer(info)


@pytest.fixture
def place(server, request):
    """A client and a bucket of the test's own, as (client, arguments)."""
    name = request.node.name.partition("[")[0].replace("_", "-")[:50].strip("-")
    server.s3.create_bucket(Bucket=name)
    return server.s3, {"Bucket": name}


def status_of(call, **params):
    with pytest.raises(ClientError) as error:
        call(**params)
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def keys(page):
    return [one["Key"] for one in page.get("Contents", [])]


def uploaded(s3, at, *parts, **more):
    """Upload an object in parts and return the response."""
    upload = s3.create_multipart_upload(**at, **more)["UploadId"]
    sent = [
        {"PartNumber": number, "ETag": s3.upload_part(**at, UploadId=upload, PartNumber=number, Body=part)["ETag"]}
        for number, part in enumerate(parts, 1)
    ]
    return s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": sent})


def test_a_bucket_without_versions_knows_the_version_null_and_names_none(place):
    s3, bucket = place
    at = {**bucket, "Key": "k"}
    assert "VersionId" not in uploaded(s3, at, b"12")
    assert "VersionId" not in s3.put_object(**bucket, Key="other", Body=b"3")
    assert s3.head_object(**at, VersionId="null")["ContentLength"] == 2
    told = s3.get_object(**at, VersionId="null")
    assert (told["Body"].read(), "VersionId" in told) == (b"12", False)
    source = {**bucket, "Key": "k", "VersionId": "null"}
    s3.copy_object(**bucket, Key="copy", CopySource=source)
    assert [one["VersionId"] for one in s3.list_object_versions(**bucket)["Versions"]] == ["null"] * 3
    s3.delete_object(**at, VersionId="null")
    s3.delete_objects(**bucket, Delete={"Objects": [{"Key": "copy", "VersionId": "null"}]})
    assert keys(s3.list_objects_v2(**bucket)) == ["other"]


def test_versions_are_listed_without_their_bytes(place, monkeypatch):
    s3, bucket = place
    s3.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Enabled"})
    names = [s3.put_object(**bucket, Key="k", Body=bytes(size))["VersionId"] for size in (1, 100_000)]
    for _ in range(2):  # the list must not change what it lists
        versions = s3.list_object_versions(**bucket)["Versions"]
        assert [(one["VersionId"], one["Size"]) for one in versions] == [(names[1], 100_000), (names[0], 1)]
    for name, size in zip(names, (1, 100_000), strict=True):
        assert s3.get_object(**bucket, Key="k", VersionId=name)["Body"].read() == bytes(size)
    with pytest.raises(ClientError, match="does not support suspended versioning"):
        s3.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Suspended"})


def test_presigned_urls_work_for_all_methods_and_headers(place, server):
    s3, bucket = place
    at = {**bucket, "Key": "a key+with & odd=characters"}
    for version in ("s3v4", "s3"):
        client = server.client.__wrapped__(server, "s3", config=Config(signature_version=version, proxies={}))

        def answer(method, operation, body=None, headers=None, client=client, **params):
            url = client.generate_presigned_url(operation, Params=params)
            asked = urllib.request.Request(url, data=body, method=method, headers=headers or {})
            with urllib.request.urlopen(asked) as response:
                return response.read()

        answer(
            "PUT",
            "put_object",
            b"text",
            {"Content-Type": "text/x", "x-amz-meta-a": "1"},
            **at,
            ContentType="text/x",
            Metadata={"a": "1"},
        )
        told = s3.head_object(**at)
        assert (told["ContentType"], told["Metadata"]) == ("text/x", {"a": "1"})
        assert answer("GET", "get_object", **at) == b"text"
        assert answer("GET", "get_object", None, {"Range": "bytes=1-2"}, **at) == b"ex"
        assert b"odd%3Dcharacters" in answer("GET", "list_objects_v2", **bucket)
        assert b"odd%3Dcharacters" in answer("GET", "list_objects", **bucket, Prefix="a key")
        assert b"LocationConstraint" in answer("GET", "get_bucket_location", **bucket)
        assert answer("HEAD", "head_object", **at) == b""
        answer("DELETE", "delete_object", **at)
        assert keys(s3.list_objects_v2(**bucket)) == []


def test_a_presigned_form_is_refused_with_its_reason(place):
    s3, bucket = place
    form = s3.generate_presigned_post(**bucket, Key="k")
    lines = [f'--x\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in form["fields"].items()]
    body = "".join([*lines, '--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--x--\r\n']).encode()
    asked = urllib.request.Request(form["url"], body, {"Content-Type": "multipart/form-data; boundary=x"})
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(asked)
    assert error.value.code == 501
    assert b"does not support s3:PostObject: it takes no forms; presign PutObject" in error.value.read()


def test_of_many_conditional_writes_one_succeeds(place):
    s3, bucket = place

    def write(number):
        try:
            s3.put_object(**bucket, Key="once", Body=str(number).encode(), IfNoneMatch="*")
        except ClientError as error:
            return error.response["Error"]["Code"]
        return None

    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            wins = list(pool.map(write, range(16)))
        assert sorted(map(str, wins)) == ["None", *["PreconditionFailed"] * 15]
        assert s3.get_object(**bucket, Key="once")["Body"].read() == str(wins.index(None)).encode()
        s3.delete_object(**bucket, Key="once")
    made = s3.put_object(**bucket, Key="k", Body=b"1")
    assert status_of(s3.put_object, **bucket, Key="k", Body=b"2", IfMatch='"wrong"') == 412
    s3.put_object(**bucket, Key="k", Body=b"2", IfMatch=made["ETag"])
    assert status_of(s3.put_object, **bucket, Key="none", Body=b"2", IfMatch=made["ETag"]) == 404


def test_ranges(place):
    s3, bucket = place
    at = {**bucket, "Key": "k"}
    s3.put_object(**at, Body=b"0123456789")
    for asked, expected, shown in (
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=5-100", b"56789", "bytes 5-9/10"),
        ("bytes=-100", b"0123456789", "bytes 0-9/10"),
    ):
        told = s3.get_object(**at, Range=asked)
        assert (told["Body"].read(), told["ContentRange"]) == (expected, shown), asked
        assert told["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert status_of(s3.get_object, **at, Range="bytes=10-") == 416
    assert s3.get_object(**at, Range="bytes=4-2")["Body"].read() == b"0123456789"  # an invalid range is ignored
    assert s3.head_object(**at, Range="bytes=2-4")["ContentLength"] == 3
    s3.put_object(**bucket, Key="empty", Body=b"")
    assert status_of(s3.get_object, **bucket, Key="empty", Range="bytes=0-") == 416


def test_conditional_reads(place):
    s3, bucket = place
    at = {**bucket, "Key": "k"}
    etag = s3.put_object(**at, Body=b"1")["ETag"]
    changed = s3.head_object(**at)["LastModified"]
    for read in (s3.get_object, s3.head_object):
        assert status_of(read, **at, IfNoneMatch=etag) == 304
        assert status_of(read, **at, IfMatch='"other"') == 412
        assert status_of(read, **at, IfModifiedSince=changed) == 304
        read(**at, IfMatch=etag)
        read(**at, IfNoneMatch='"other"')
        read(**at, IfUnmodifiedSince=changed)


def test_lists_with_delimiters_start_and_pages(place):
    s3, bucket = place
    for name in ("a", "b/1", "b/2", "c/1/x", "d e", "é"):
        s3.put_object(**bucket, Key=name, Body=b"")

    def prefixes(page):
        return [one["Prefix"] for one in page.get("CommonPrefixes", [])]

    page = s3.list_objects_v2(**bucket, Delimiter="/")
    assert (keys(page), prefixes(page), page["KeyCount"]) == (["a", "d e", "é"], ["b/", "c/"], 5)
    page = s3.list_objects_v2(**bucket, Delimiter="/", Prefix="b/")
    assert (keys(page), prefixes(page)) == (["b/1", "b/2"], [])
    page = s3.list_objects_v2(**bucket, StartAfter="b/1")
    assert keys(page) == ["b/2", "c/1/x", "d e", "é"]
    assert keys(s3.list_objects(**bucket, Marker="b/1", MaxKeys=2)) == ["b/2", "c/1/x"]
    found, asked = [], {"MaxKeys": 2, "Delimiter": "/"}
    while True:
        page = s3.list_objects_v2(**bucket, **asked)
        assert page["KeyCount"] <= 2
        found += sorted(keys(page) + prefixes(page))
        if not page["IsTruncated"]:
            break
        asked["ContinuationToken"] = page["NextContinuationToken"]
    assert found == ["a", "b/", "c/", "d e", "é"]
    assert keys(s3.list_objects_v2(**bucket, EncodingType="url", Prefix="d"))[0] == "d%20e" or "d+e"
    assert s3.list_objects_v2(**bucket, MaxKeys=0)["KeyCount"] == 0
    for pages in (
        s3.get_paginator(name).paginate(**bucket, PaginationConfig={"PageSize": 1})
        for name in ("list_objects", "list_objects_v2")
    ):
        assert [key for page in pages for key in keys(page)] == ["a", "b/1", "b/2", "c/1/x", "d e", "é"]


def test_a_copy_keeps_or_replaces_metadata_and_tags(place):
    s3, bucket = place
    source = {**bucket, "Key": "from"}
    s3.put_object(**source, Body=b"text", Metadata={"a": "1"}, ContentType="text/x", Tagging="t=1")

    def described(key):
        told = s3.head_object(**bucket, Key=key)
        tags = {one["Key"]: one["Value"] for one in s3.get_object_tagging(**bucket, Key=key)["TagSet"]}
        return told["Metadata"], told["ContentType"], tags

    s3.copy_object(**bucket, Key="same", CopySource=source)
    assert described("same") == ({"a": "1"}, "text/x", {"t": "1"})
    s3.copy_object(
        **bucket,
        Key="new",
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"b": "2"},
        ContentType="text/y",
        TaggingDirective="REPLACE",
        Tagging="u=2",
    )
    assert described("new") == ({"b": "2"}, "text/y", {"u": "2"})
    etag = s3.head_object(**source)["ETag"]
    with pytest.raises(ClientError, match="does not support conditions on the source of a copy"):
        s3.copy_object(**bucket, Key="x", CopySource=source, CopySourceIfMatch=etag)
    assert status_of(s3.copy_object, **bucket, Key="from", CopySource=source) == 400  # onto itself, without a change
    assert status_of(s3.copy_object, **bucket, Key="x", CopySource={**bucket, "Key": "none"}) == 404
    assert "x" not in keys(s3.list_objects_v2(**bucket))


def test_uploads_in_parts(place):
    s3, bucket = place
    at, size = {**bucket, "Key": "parts"}, 5 * 1024**2
    s3.put_object(**bucket, Key="source", Body=bytes(range(256)) * (size // 256) + b"rest")
    told = s3.create_multipart_upload(**at, Metadata={"a": "1"}, ContentType="text/x", Tagging="t=1")
    named = {**at, "UploadId": told["UploadId"]}
    source = {**bucket, "Key": "source"}
    second = s3.upload_part(**named, PartNumber=7, Body=b"end")["ETag"]
    first = s3.upload_part_copy(**named, PartNumber=2, CopySource=source, CopySourceRange=f"bytes=4-{size + 3}")
    wanted = [
        {"PartNumber": 2, "ETag": first["CopyPartResult"]["ETag"]},
        {"PartNumber": 7, "ETag": second},
    ]
    backwards = {"Parts": wanted[::-1]}
    assert status_of(s3.complete_multipart_upload, **named, MultipartUpload=backwards) == 400
    pages = s3.get_paginator("list_parts").paginate(**named, PaginationConfig={"PageSize": 1})
    assert [[part["PartNumber"] for part in page["Parts"]] for page in pages] == [[2], [7]]
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": wanted})
    whole = (bytes(range(256)) * (size // 256) + b"rest")[4:] + b"end"
    read = s3.get_object(**at)
    assert (read["Body"].read(), read["Metadata"], read["ContentType"]) == (whole, {"a": "1"}, "text/x")
    assert read["ETag"].endswith('-2"')
    assert s3.get_object_tagging(**at)["TagSet"] == [{"Key": "t", "Value": "1"}]
    small = s3.create_multipart_upload(**at)["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**at, UploadId=small, PartNumber=n, Body=b"x")["ETag"]} for n in (1, 2)
    ]
    asked = {"UploadId": small, "MultipartUpload": {"Parts": parts}}
    assert status_of(s3.complete_multipart_upload, **at, **asked) == 400  # EntityTooSmall
    assert status_of(s3.upload_part, **at, UploadId="none", PartNumber=1, Body=b"x") == 404
    s3.abort_multipart_upload(**at, UploadId=small)
    assert status_of(s3.upload_part, **at, UploadId=small, PartNumber=1, Body=b"x") == 404


def test_parts_of_an_object_are_read_by_their_numbers(place):
    s3, bucket = place
    at, first = {**bucket, "Key": "parts"}, b"1" * 5 * 1024**2
    upload = s3.create_multipart_upload(**at)["UploadId"]
    sent = [
        {"PartNumber": number, "ETag": s3.upload_part(**at, UploadId=upload, PartNumber=number, Body=body)["ETag"]}
        for number, body in ((2, first), (7, b"end"))
    ]
    s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": sent})
    for number, body, span in (
        (2, first, f"bytes 0-{len(first) - 1}/{len(first) + 3}"),
        (7, b"end", f"bytes {len(first)}-{len(first) + 2}/{len(first) + 3}"),
    ):
        read, told = s3.get_object(**at, PartNumber=number), s3.head_object(**at, PartNumber=number)
        assert read["Body"].read() == body
        for answer in (read, told):
            assert (answer["ContentLength"], answer["ContentRange"], answer["PartsCount"]) == (len(body), span, 2)
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
            assert answer["ETag"] == s3.head_object(**at)["ETag"]
    attributes = s3.get_object_attributes(**at, ObjectAttributes=["ObjectParts", "ObjectSize"])
    assert (attributes["ObjectParts"], attributes["ObjectSize"]) == ({"TotalPartsCount": 2}, len(first) + 3)
    s3.copy_object(**bucket, Key="copy", CopySource=at)  # which has one part
    assert "ObjectParts" not in s3.get_object_attributes(**bucket, Key="copy", ObjectAttributes=["ObjectParts"])
    assert "PartsCount" not in s3.head_object(**bucket, Key="copy", PartNumber=1)
    for call in (s3.get_object, s3.head_object):
        assert status_of(call, **at, PartNumber=1) == 416
        assert status_of(call, **bucket, Key="copy", PartNumber=2) == 416
        assert status_of(call, **bucket, Key="none", PartNumber=1) == 404
        assert status_of(call, **at, PartNumber=0) == 400
        assert status_of(call, **at, PartNumber=2, Range="bytes=0-1") == 400
    with pytest.raises(ClientError, match=r"InvalidPartNumber.*The requested partnumber is not satisfiable"):
        s3.get_object(**at, PartNumber=8)


def test_an_object_that_was_uploaded_as_a_whole_is_part_1(place):
    s3, bucket = place
    for name, body in (("text", b"whole"), ("empty", b"")):
        s3.put_object(**bucket, Key=name, Body=body)
        read, told = (call(**bucket, Key=name, PartNumber=1) for call in (s3.get_object, s3.head_object))
        assert (read["Body"].read(), told["ContentLength"]) == (body, len(body))
        assert "PartsCount" not in read
        assert "PartsCount" not in told


def test_parts_of_versions_and_after_a_restart(processes, tmp_path):
    with running_server(tmp_path) as info:
        s3, at = LocalServer(info).s3, {"Bucket": "versions", "Key": "k"}
        s3.create_bucket(Bucket="versions")
        s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
        old = uploaded(s3, at, b"old")["VersionId"]
        s3.put_object(**at, Body=b"new")
        assert s3.get_object(**at, PartNumber=1, VersionId=old)["Body"].read() == b"old"
        assert s3.head_object(**at, PartNumber=1, VersionId=old)["PartsCount"] == 1
        assert "PartsCount" not in s3.head_object(**at, PartNumber=1)
        uploaded(s3, {"Bucket": info.bucket, "Key": "k"}, b"1" * 5 * 1024**2, b"2")
    with running_server(tmp_path) as info:
        read = LocalServer(info).s3.get_object(Bucket=info.bucket, Key="k", PartNumber=2)
        assert (read["Body"].read(), read["PartsCount"]) == (b"2", 2)


def test_many_objects_are_deleted_at_once_also_those_that_do_not_exist(place):
    s3, bucket = place
    for name in ("a", "b<&>", "c"):
        s3.put_object(**bucket, Key=name, Body=b"")
    doomed = [{"Key": name} for name in ("a", "b<&>", "none")]
    told = s3.delete_objects(**bucket, Delete={"Objects": doomed})
    assert sorted(one["Key"] for one in told["Deleted"]) == ["a", "b<&>", "none"]
    assert "Deleted" not in s3.delete_objects(**bucket, Delete={"Objects": [{"Key": "c"}], "Quiet": True})
    assert keys(s3.list_objects_v2(**bucket)) == []


def test_checksums_are_verified_and_returned(place):
    s3, bucket = place
    at = {**bucket, "Key": "k"}
    for name in ("CRC32", "SHA256", "SHA1"):
        s3.put_object(**at, Body=b"text", ChecksumAlgorithm=name)
        told = s3.head_object(**at, ChecksumMode="ENABLED")
        assert told[f"Checksum{name}"] == s3.get_object(**at, ChecksumMode="ENABLED")[f"Checksum{name}"]
    assert status_of(s3.put_object, **at, Body=b"text", ChecksumSHA256="A" * 43 + "=") == 400
    assert status_of(s3.put_object, **at, Body=b"text", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==") == 400


def test_keys_of_the_client_are_refused(place):
    s3, bucket = place
    with pytest.raises(ClientError, match=r"does not support encryption with keys of the client \(SSE-C\)"):
        s3.put_object(**bucket, Key="k", Body=b"", SSECustomerAlgorithm="AES256", SSECustomerKey="k" * 32)


def test_odd_keys_come_back(place):
    s3, bucket = place
    for name in ("a//b", "/lead", "tail/", "./x", "../x", "a?b", "a#b", "a%2Fb", "ü/ñ", "x" * 1024, "a b+c"):
        s3.put_object(**bucket, Key=name, Body=name.encode())
        assert s3.get_object(**bucket, Key=name)["Body"].read() == name.encode(), name
        assert name in keys(s3.list_objects_v2(**bucket)), name
        s3.delete_object(**bucket, Key=name)
    assert keys(s3.list_objects_v2(**bucket)) == []


def test_what_does_not_exist_is_an_error_with_the_code_of_s3(place):
    s3, bucket = place
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(**bucket, Key="none")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.list_objects_v2(Bucket="no-such-bucket")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        s3.put_object(Bucket="no-such-bucket", Key="k", Body=b"")
    assert status_of(s3.head_object, **bucket, Key="none") == 404
    s3.put_object(**bucket, Key="k", Body=b"")
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        s3.delete_bucket(**bucket)
    with pytest.raises(ClientError, match="NoSuchTagSet"):
        s3.get_bucket_tagging(**bucket)
