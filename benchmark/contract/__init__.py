"""What `bench check` asks of methods, data sets and metrics."""
