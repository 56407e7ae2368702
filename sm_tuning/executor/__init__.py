"""Run one training job as processes on this machine: the container contract without a server and without AWS."""
