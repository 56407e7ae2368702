"""Memory of the local SageMaker while objects are uploaded, and after they are deleted.

python -m benchmarks.memory --help

Uploads large objects in parts, from several threads, and small ones whole. Prints Markdown: the resident memory of the
server before, after the uploads, after the deletes, and the highest meanwhile.
"""

import argparse
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3

from sm_tuning.local import ServerInfo, start, stop

MIB = 1024**2


def client_of(info: ServerInfo) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=info.endpoint_url,
        region_name=info.region,
        aws_access_key_id=info.access_key_id,
        aws_secret_access_key=info.secret_access_key,
    )


def resident(pid: int, field: str = "VmRSS") -> float:
    """Return the resident memory of a process in MiB; VmHWM is the highest so far."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def measure(large: int, small: int, size: int, versioned: bool) -> list[tuple[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        info = start(Path(folder) / "state")
        try:
            s3, bucket = client_of(info), info.bucket
            if versioned:
                s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
            s3.put_object(Bucket=bucket, Key="first", Body=b"1")  # loads what moto loads late
            file = Path(folder) / "large"
            with file.open("wb") as out:
                out.truncate(size * MIB)
            rows = [("before", resident(info.pid))]
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda number: s3.upload_file(str(file), bucket, f"large/{number}"), range(large)))
                body = bytes(MIB)
                list(pool.map(lambda n: s3.put_object(Bucket=bucket, Key=f"small/{n}", Body=body), range(small)))
            rows.append(("after the uploads", resident(info.pid)))
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                doomed = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in page["Versions"]]
                s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed})
            rows.append(("after the deletes", resident(info.pid)))
            rows.append(("highest", resident(info.pid, "VmHWM")))
            return rows
        finally:
            stop(Path(folder) / "state")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=int, default=12, help="number of large objects")
    parser.add_argument("--size", type=int, default=64, help="size of a large object, in MiB")
    parser.add_argument("--small", type=int, default=100, help="number of objects of 1 MiB")
    parser.add_argument("--versioned", action="store_true", help="in a bucket with versions")
    arguments = parser.parse_args()
    rows = measure(arguments.large, arguments.small, arguments.size, arguments.versioned)
    print("| | MiB |\n| --- | --- |")
    for name, value in rows:
        print(f"| {name} | {value:.0f} |")


if __name__ == "__main__":
    main()
