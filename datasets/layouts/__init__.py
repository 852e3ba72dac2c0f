"""Readers of the folders and files that users have, one module a published layout."""
