"""How the local SageMaker holds up with many jobs and many log lines: ``python -m benchmarks.local_scale``."""
