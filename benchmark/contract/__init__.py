"""What `bench check` asks of methods and data sets."""
