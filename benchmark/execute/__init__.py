"""Where runs happen: this process, workers, a cluster."""
