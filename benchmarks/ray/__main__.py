"""Deaths on a Ray cluster, the overhead beside bare Ray, and populations: ``python -m benchmarks.ray --help``."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.ray.cluster import LOOPBACK, Cluster
from benchmarks.ray.kills import KINDS, Survived, survive


@contextmanager
def folder_of() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short: Ray has sockets below it
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def ray_of() -> Iterator[Path]:
    """Start Ray in this process, on the loopback interface alone, and yield a folder for runs."""
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # before it is imported
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # by default 15, which other programs keep waiting
    import ray  # noqa: PLC0415

    with folder_of() as folder:
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=80_000_000,
            _node_ip_address=LOOPBACK,
            _temp_dir=str(folder),
            log_to_driver=False,
        )
        try:
            yield folder
        finally:
            ray.shutdown()


def kills(count: int, seed: int) -> int:
    """Kill a driver, a worker and a node at this many random moments each; return 1 if anything went wrong."""
    moments, wrong = random.Random(seed), 0
    whole = Survived(lost=0, twice=0, configurations=4, left=0)
    with folder_of() as folder:
        cluster = Cluster(folder)
        try:
            cluster.start()
            cluster.start()
            for number in range(count):
                for kind in KINDS:
                    moment = moments.uniform(0.0, 6.0)
                    found = survive(cluster, f"{kind}-{number}", kind, moment)
                    wrong += found != whole
                    print(f"{kind} after {moment:.1f} s: {found}", flush=True)
        finally:
            cluster.stop()
    print(f"{count} deaths of each kind, {wrong} wrong")
    return int(wrong > 0)


def overhead() -> int:
    """Compare the wall time of runs with that of a trainable of Ray itself that sleeps as long."""
    with ray_of() as folder:
        from benchmarks.ray.overhead import measure  # noqa: PLC0415

        return measure(folder)


def population(seeds: int, results: Path) -> int:
    """Compare populations on Ray, by this package and by Ray's own scheduler, with a study and random search."""
    with ray_of() as folder:
        from benchmarks.ray.population import compare  # noqa: PLC0415

        compare(range(seeds), results, folder)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray", description=__doc__)
    parsers = parser.add_subparsers(required=True, dest="what")
    deaths = parsers.add_parser("kills", help=kills.__doc__)
    deaths.add_argument("--kills", type=int, default=20, help="of each kind")
    deaths.add_argument("--seed", type=int, default=0)
    parsers.add_parser("overhead", help=overhead.__doc__)
    members = parsers.add_parser("population", help=population.__doc__)
    members.add_argument("--seeds", type=int, default=10)
    members.add_argument("--results", type=Path, default=Path("output/bench/studies.jsonl"), help="what was trained")
    given = parser.parse_args()
    if given.what == "kills":
        return kills(given.kills, given.seed)
    return overhead() if given.what == "overhead" else population(given.seeds, given.results)


if __name__ == "__main__":
    sys.exit(main())
