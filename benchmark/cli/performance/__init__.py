"""What runs cost on a machine: `bench perf` measures it, on samples made up for it."""
