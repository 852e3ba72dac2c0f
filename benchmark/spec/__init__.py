"""What a run is: protocols, plans, and the id of a run."""
