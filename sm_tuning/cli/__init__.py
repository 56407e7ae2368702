"""The command line ``sm-tuning``: a skin over the public names of the package."""

from sm_tuning.cli._main import main

__all__ = ["main"]
