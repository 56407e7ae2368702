"""What studies survive, what they call, and what their strategies find: ``python -m benchmarks.studies --help``."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import sm_tuning as smt
from benchmarks.hyperband.curves import POOLS
from benchmarks.studies.digits import Digits, population_against_random, promotion_against_full, promotion_on_curves
from benchmarks.studies.faults import disturbed
from benchmarks.studies.kills import KINDS, campaign, stops, study_of
from sm_tuning import studies

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Run one of the benchmarks; exit with 1 if a campaign found something wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies", description=__doc__)
    parser.add_argument("what", choices=("kills", "stops", "faults", "calls", "population", "promotion", "curves"))
    parser.add_argument("--kills", type=int, default=20, help="drivers that are killed, for each strategy")
    parser.add_argument("--stops", type=int, default=20, help="studies that are stopped")
    parser.add_argument("--drivers", type=int, default=1, help="drivers at once")
    parser.add_argument("--strategy", choices=list(KINDS), action="append", help="all by default")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--configurations", type=int, default=27, help="of promotion")
    parser.add_argument("--results", type=Path, default=Path("output/bench/studies.jsonl"), help="what was trained")
    given = parser.parse_args()
    if given.what == "kills":
        return kills(given.strategy or list(KINDS), given.kills, given.drivers)
    if given.what == "stops":
        return stopped(given.stops)
    if given.what == "faults":
        return faults(given.strategy or list(KINDS), range(given.seeds))
    if given.what == "calls":
        return calls(100)
    if given.what == "curves":
        for name in POOLS:
            promotion_on_curves(given.results.parent, name, 10 * given.seeds)
        return 0
    digits = Digits(ROOT / "entrypoints" / "pytorch_digits")
    if given.what == "population":
        population_against_random(digits, range(given.seeds), given.results)
    else:
        promotion_against_full(digits, range(min(given.seeds, 10)), given.results, configurations=given.configurations)
    print(f"{digits.epochs} epochs were trained now")
    return 0


def kills(kinds: list[str], deaths: int, drivers: int) -> int:
    """Kill drivers of studies on a local SageMaker of its own."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder, smt.local.connect(Path(folder)) as server:
        aws, info = smt.connect(), server.info
        for kind in kinds:
            spec = study_of(kind, role=info.role_arn, bucket=info.bucket, trials=6 * deaths, seconds=0.1)
            result = campaign(aws, {}, spec, f"mortal-{kind.lower()}", deaths=deaths, drivers=drivers)
            print(
                f"{kind}: {result.kills} kills, {result.trials} trials, {result.continued} continue their parents' "
                f"epochs, {len(result.wrong)} wrong",
                flush=True,
            )
            print(*result.wrong, sep="\n", end="\n" if result.wrong else "")
            wrong += len(result.wrong)
    return 1 if wrong else 0


def stopped(count: int) -> int:
    """Stop studies on a local SageMaker of its own; return 1 if a job runs or starts after a stop."""
    with tempfile.TemporaryDirectory() as folder, smt.local.connect(Path(folder)) as server:
        spec = study_of("Random", role=server.info.role_arn, bucket=server.info.bucket, trials=200, seconds=0.5)
        wrong = stops(smt.connect(), {}, spec, "stopped", count=count)
    print(f"{count} studies were stopped, {len(wrong)} wrong", *wrong, sep="\n")
    return 1 if wrong else 0


def faults(kinds: list[str], seeds: range) -> int:
    """Drive studies on an AWS that misbehaves, with drivers that die; return 1 if anything is wrong."""
    wrong = 0
    for kind in kinds:
        results = [disturbed(kind, seed, is_stopped=seed % 5 == 4) for seed in seeds]
        found = [f"seed {seed}: {text}" for seed, result in zip(seeds, results, strict=True) for text in result.wrong]
        print(
            f"{kind}: {len(results)} studies, {sum(r.kills for r in results)} drivers that ended early, "
            f"{sum(r.trials for r in results)} trials, {sum(r.continued for r in results)} continue their parents' "
            f"epochs, {len(found)} wrong",
            flush=True,
        )
        print(*found, sep="\n", end="\n" if found else "")
        wrong += len(found)
    return 1 if wrong else 0


def calls(trials: int) -> int:
    """Drive a study whose trials all run at once, print calls and CPU time, and return 1 if there are too many."""
    sys.path.insert(0, str(ROOT / "tests" / "studies"))
    from small_aws import SmallAws, tuning  # noqa: PLC0415 - the AWS of the tests, found only now

    def child(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", f"import sm_tuning as smt\n{code}"], env=env, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    with SmallAws().running() as service:
        own = {"AWS_ENDPOINT_URL": service.url, "AWS_REGION": "us-east-1", "SM_TUNING_CACHE_DIR": ""}
        env = {**os.environ, **own, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        service.looks = 8
        study = studies.launch(service.connect(), tuning(max_jobs=trials, max_parallel_jobs=trials), name="many").uri
        idle = child(f"smt.attach({study!r})")
        service.calls.clear()
        seconds = child(f"smt.attach({study!r}).wait(progress=False, poll=0.5)") - idle
        found = service.calls
    names = ("CreateTrainingJob", "DescribeTrainingJob", "ListTrainingJobs", "s3:PUT")
    print(f"{trials} trials at once: {', '.join(f'{found[name]} {name}' for name in names)}")
    print(f"{1000 * seconds / trials:.0f} ms of CPU time a trial")
    most = {"CreateTrainingJob": trials, "DescribeTrainingJob": trials, "ListTrainingJobs": 8, "s3:PUT": trials + 8}
    return int(any(found[name] > limit for name, limit in most.items()) or seconds > 0.05 * trials)


if __name__ == "__main__":
    sys.exit(main())
