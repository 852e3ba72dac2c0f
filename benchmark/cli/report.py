"""`bench report`: every table, figure and the page from records, or whether those on disk are what the
records give.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark import files
from benchmark.cli.boards import chosen, compared, warn, write_boards
from benchmark.cli.scripts import for_scripts
from benchmark.errors import UserError
from benchmark.execute.progress import make_console


def report(
    results: Path, published: Path, use_published: bool, check: bool, figures: bool, as_json: bool
) -> int:
    """Write tables, figures and page below the folder, or with `check` compare tables and page with it and
    write nothing.

    figures: draw figures again and compare them too; else the page's pictures are left aside.
    """
    from benchmark.report import leaderboard, page

    shown: dict[str, Any] = {}
    with for_scripts(as_json, shown):
        console = make_console()
        if figures and not check:
            raise UserError("--figures is for --check; without both, `bench report` draws every figure.")
        folder = published if use_published else results
        boards = chosen(folder, use_published)
        if check:
            found = [*leaderboard.check(boards, folder), *page.differences(boards, folder)]
            if figures:
                from benchmark.report.figures import redrawn

                found += redrawn.differences(boards, folder)
            shown |= {"differences": found, "warnings": warn(boards, console)}
            what = "tables, figures and page" if figures else "tables and, pictures aside, the page"
            return compared(
                found, f"{what} in {folder}", f"bench report{' --published' * use_published}", console
            )
        written = write_boards(boards, folder, console, complete=True)
        path = folder / page.NAME
        text = page.html(boards, folder)
        with files.writing(folder), files.replacing(path, "report") as draft:
            draft.write_text(text, encoding="utf-8", newline="\n")
        console.print(
            f"wrote {path} ({len(text.encode()) / 2**20:.1f} MiB): open it in a browser", soft_wrap=True
        )
        shown |= {"page": str(path), "files": [str(p) for p in written.paths], "notes": written.notes}
        shown["warnings"] = warn(boards, console)
        return 0
