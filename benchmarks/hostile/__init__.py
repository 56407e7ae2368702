"""What a hostile spec file costs: CPU time and memory of `sm-tuning check`."""
