"""Methods, one file each; see README.md."""
