"""A server without HTTP, to be killed: makes one tuning job in a state folder and carries it until it dies."""

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from _training import Bench

bench = Bench(Path(sys.argv[1]))
code = bench.code({"train.py": Path(sys.argv[2]).read_text()})
name = bench.tune(
    bench.definition(code, Environment={"TALLY": sys.argv[3]}),
    ranges={"IntegerParameterRanges": [{"Name": "x", "MinValue": "1", "MaxValue": "1000"}]},
    MaxNumberOfTrainingJobs=4,
    MaxParallelTrainingJobs=2,
)
print(name, flush=True)
threading.Event().wait()
