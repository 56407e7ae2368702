"""Stands for a user's training script that takes hours."""

import time

while True:
    print("loss=0.5", flush=True)
    time.sleep(0.5)
