"""What we promise in figures, measured: `make bench`, or `python -m benchmarks --help`."""
