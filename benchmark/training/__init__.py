"""From a spec to a trained network and its record."""
