"""Data sets: tasks, layouts, stores, label settings and augmentation; see README.md."""
