"""``python -m sm_tuning``: the command line, of the very Python that runs it."""

from sm_tuning.cli import main

if __name__ == "__main__":
    main()
