"""The command line ``sm-tuning``: a skin over the public door."""

from sm_tuning.cli._main import main

__all__ = ["main"]
