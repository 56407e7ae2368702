"""Studies: deaths of their driver, calls and CPU time a trial, and what Population and Promotion find."""
