"""Tune on SageMaker with a spec you can read, on AWS or on this machine, and get every answer as a DataFrame."""
