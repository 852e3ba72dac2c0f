"""The harness: it knows no method and no data set by name.

Public, and loaded when first asked for: `run`, `use`, `load_model`, `load_records`, `load_board`.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = "bench_plugin_"  # and the name of a plug-in: the module that its file is imported as
_PUBLIC = {
    "run": "benchmark.cli.python",
    "use": "benchmark.spec.plugins",
    "load_model": "benchmark.execute.model",
    "load_records": "benchmark.report.leaderboard",
    "load_board": "benchmark.report.leaderboard",
}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _check_neighbours() -> None:
    """Stop when `datasets`, also a well-known package, or `methods` would be imported from elsewhere."""
    for name in ("datasets", "methods"):
        spec = importlib.util.find_spec(name)
        places = list(spec.submodule_search_locations or []) if spec else []
        if not any(Path(place).resolve() == ROOT / name for place in places):
            found = places[0] if places else (spec.origin if spec else None)
            message = (
                f"bench: the package {name!r} that Python finds is {found or 'absent'}, not {ROOT / name}: "
                f"run bench in its own "
                f"environment (`make demo` creates .venv) and take that other package off PYTHONPATH or out "
                f"of the environment."
            )
            if Path(sys.argv[0]).name in ("bench", "-m"):  # the command line: one sentence, no traceback
                sys.stderr.write(message + "\n")
                raise SystemExit(2)
            raise ImportError(message)


_check_neighbours()
