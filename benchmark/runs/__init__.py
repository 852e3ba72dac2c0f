"""What lies on disk: run folders, claims, records."""
