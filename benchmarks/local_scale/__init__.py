"""The local SageMaker with many jobs and many log lines: ``python -m benchmarks.local_scale``."""
