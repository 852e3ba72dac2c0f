"""What the page brings along so that it needs no network: its style and script, and the table library."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

# Of all that the library's style sheet holds, the page has its own: only the script is inlined.
_EXPORT = re.compile(r"export\s*\{([^}]*)\}\s*;?\s*$")


def text(name: str) -> str:
    """Return the text of one of the page's own files."""
    return (files("benchmark") / "templates" / name).read_text(encoding="utf-8")


@cache
def library() -> str:
    """Return DataTables as a module script that sets `window.DataTable`.

    It is MIT, with jQuery, MIT, as the package itables brings it, licences inside. Raises `ValueError` where
    the bundle is not of the known form.
    """
    bundle = (files("itables") / "html" / "dt_bundle.js").read_text(encoding="utf-8").rstrip()
    # The licences are a comment at the end; the exports stand before it.
    code, opening, licences = bundle.partition("/*! Bundled license information")
    found = _EXPORT.search(code)
    if found is None:
        raise ValueError("the script in the package itables does not end in its exports")
    inside = {
        outside.strip(): name.strip()
        for name, _, outside in (pair.partition(" as ") for pair in found[1].split(","))
    }
    if "jQuery" not in inside:
        raise ValueError("the script in the package itables does not export jQuery")
    script = (
        f"{code[: found.start()]}\nwindow.DataTable = {inside['jQuery']}.fn.dataTable;\n{opening}{licences}"
    )
    return re.sub(r"</(script)", r"<\\/\1", script, flags=re.IGNORECASE)
