"""The page: every board of a results folder in one file that links to its figures and records."""

from benchmark.report.page.render import NAME, html

__all__ = ["NAME", "html"]
