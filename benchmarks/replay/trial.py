"""A trial of the benchmark: a loss that falls at a pace of its own to a level of its own, with noise.

Slow trials end below fast ones in every second problem, so that early values mislead.
"""

import argparse
import math
import os
import random
import time

parser = argparse.ArgumentParser()
parser.add_argument("--place", type=float)
parser.add_argument("--pace", type=float)
given, _ = parser.parse_known_args()
problem, epochs = int(os.environ["PROBLEM"]), int(os.environ["EPOCHS"])
rng = random.Random(f"{problem}/{given.place}/{given.pace}")
level = (given.place - 0.2 * (problem % 4)) ** 2 + (0.3 * given.pace if problem % 2 else 0.0)
for epoch in range(1, epochs + 1):
    time.sleep(float(os.environ["SECONDS_AN_EPOCH"]))
    loss = level + math.exp(-given.pace * epoch) + rng.gauss(0, 0.01 * (1 + problem % 3))
    print(f"loss={loss:.6f};", flush=True)
