"""Several `bench perf` in one process, as imports and the start of a card take seconds each time.

    python -m tests.gpu.measure ITEMS.json FOLDER

ITEMS.json: [[name, arguments], ...]; FOLDER/NAME is there once an item was begun, and NAME/perf.json once it
was measured. The first that fails ends the process, since a card may give nothing but errors after one.
"""

import json
import sys
from pathlib import Path

from benchmark.cli.app import main as bench


def main(items: str, folder: str) -> int:
    for name, arguments in json.loads(Path(items).read_text(encoding="utf-8")):
        place = Path(folder) / name
        place.mkdir(parents=True)
        sys.argv = ["bench", "perf", *arguments, "--out", str(place)]
        try:
            bench()
        except SystemExit as ended:
            if ended.code:
                return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
