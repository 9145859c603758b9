"""Headgate beside its peers: one machine, one run, loopback only. See `python -m benchmarks --help`."""
