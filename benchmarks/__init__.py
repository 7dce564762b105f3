"""Measurements of speed, memory and compilation: `python -m benchmarks --help`."""
