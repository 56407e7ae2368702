"""Runs on a Ray cluster of this machine: deaths of drivers, workers and nodes, and the overhead beside bare Ray."""
