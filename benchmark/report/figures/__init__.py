"""The figures of boards."""
