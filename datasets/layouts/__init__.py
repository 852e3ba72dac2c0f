"""The folders and files that users have: one module a published layout, each reading one sample at a time."""
