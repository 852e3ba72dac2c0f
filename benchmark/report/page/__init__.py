"""The page: every board of a results folder in one self-contained file, made with Jinja2 from records and
figures.
"""

from benchmark.report.page.render import NAME, differences, html

__all__ = ["NAME", "differences", "html"]
