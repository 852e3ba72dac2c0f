"""Write the tables, figures and page of boards, and check that those on disk are what the records give."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmark.files import writing
from benchmark.report import details, latex, published, tables
from benchmark.report.board import Board, build
from benchmark.report.captions import facts, footnotes, verdict
from benchmark.report.formats import markdown_table
from benchmark.report.naming import title
from benchmark.report.terminal import text

__all__ = ["Board", "Written", "build", "check", "check_figures", "text", "write"]
TOLERANCE = 2.0  # of 255: mean difference of the pixels of two drawings that are the same but for smoothing
_TABLES = ("leaderboards/*.csv", "leaderboards/long/*.csv", "tables/*.md", "tables/*.tex")


def markdown(board: Board) -> str:
    """Return the board as a Markdown document."""
    shown = tables.texts(board)
    lines = [f"{name}: {value}" for name, value in facts(board)] + footnotes(board)
    notes = "".join(f"- {line}\n" for line in lines)
    table = markdown_table([*shown], shown.values.tolist(), texts=3)
    below = details.markdown(board) + published.markdown(board)
    return f"# {title(board.group, None)}\n\n**{verdict(board)}**\n\n{table}\n\n{notes}{below}"


def files(boards: Sequence[Board]) -> dict[str, str]:
    """{path below the results folder: content} of every table."""
    found = {}
    for board in boards:
        found[f"leaderboards/{board.name}.csv"] = tables.csv_text(board)
        found[f"leaderboards/long/{board.name}.csv"] = tables.long_csv_text(board)
        found[f"tables/{board.name}.md"] = markdown(board)
        found[f"tables/{board.name}.tex"] = latex.table(board)
    return found


@dataclass(frozen=True)
class Written:
    """The paths of files, and a note for each figure that lacks input."""

    paths: list[Path]
    notes: list[str]


def write(
    boards: Sequence[Board], folder: Path, *, complete: bool = False, every: Sequence[Board] = ()
) -> Written:
    """Write every board's tables and figures below `folder`. Raises `UserError` when writing fails.

    every: all boards of the folder, where these are a part of them: figures across boards show the others
    too. complete: these are all boards of the folder, so files there of any other board are removed.
    """
    from benchmark.report.figures import board as plots
    from benchmark.report.figures import budget

    written = Written([], [])
    with writing(folder):
        for name, content in files(boards).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8", newline="\n")
            written.paths.append(path)
        for board in boards:
            drawn = plots.draw(board, folder / "figures" / board.name)
            written.paths.extend(drawn.files)
            written.notes.extend(f"{board.name}: {note}" for note in drawn.notes)
        across = budget.draw(every or boards, folder / "figures")
        written.paths.extend(across.files)
        written.notes.extend(across.notes)
        if complete:
            _remove_others(folder, {b.name for b in boards} | {f.name for f in budget.families(boards)})
    return written


def _tables(folder: Path) -> list[Path]:
    """Return the tables of boards on disk; those of `bench ablate` lie beside them."""
    found = [path for pattern in _TABLES for path in sorted(folder.glob(pattern)) if path.is_file()]
    return [path for path in found if path.parent.name != "tables" or not path.name.startswith("ablation-")]


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove tables and figures of other boards than these; files that `write` does not make stay."""
    for path in _tables(folder):
        if path.stem not in names:
            path.unlink()
    for path in folder.glob("figures/*"):
        if path.name not in names and path.is_dir() and not path.is_symlink():
            inside = list(path.iterdir())
            if all(
                p.is_file() and (p.suffix in (".svg", ".png") or p.name == "left-out.txt") for p in inside
            ):
                shutil.rmtree(path)


def check(boards: Sequence[Board], folder: Path, *, with_page: bool = False) -> list[str]:
    """Return a sentence for each table on disk that the records do not give.

    with_page: the page too, for the figures that lie there.
    """
    expected = files(boards)
    here = {path.relative_to(folder).as_posix() for path in _tables(folder)}
    found = [f"{name} belongs to no board of these records." for name in sorted(here - expected.keys())]
    if with_page:
        from benchmark.report import page

        expected[page.NAME] = page.html(boards, folder)
    return [sentence for name in expected if (sentence := _difference(folder, name, expected[name]))] + found


def _difference(folder: Path, name: str, expected: str) -> str:
    """The first line in which a file differs; "" where it does not."""
    if not (folder / name).is_file():
        return f"{name} is missing."
    here = (folder / name).read_bytes().decode("utf-8", errors="replace")
    lines = zip_longest(here.splitlines(keepends=True), expected.splitlines(keepends=True), fillvalue="")
    for number, (a, b) in enumerate(lines, 1):
        if a != b:
            same = next(
                (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
            )
            start = max(0, same - 40)
            a, b = (repr(line[start : start + 100]) if line else "nothing" for line in (a, b))
            return f"{name} differs from its records at line {number}: it has {a}, the records give {b}."
    return ""


def check_figures(boards: Sequence[Board], folder: Path) -> list[str]:
    """Return a sentence for each figure that is missing, another or too many.

    Each is drawn again. SVG must be the same bytes, as they are under the versions of the constraints file.
    """
    with TemporaryDirectory(prefix="bench-report-") as place:
        write(boards, Path(place), complete=True)
        here, there = (
            {p.relative_to(top).as_posix(): p for p in sorted(top.glob("figures/*/*"))}
            for top in (folder, Path(place))
        )
        found = [f"{name} is missing." for name in there if name not in here]
        found += [f"{name} is no figure of these records." for name in here if name not in there]
        pairs = [(name, here[name], there[name]) for name in there if name in here]
        return found + [f"{name} differs from its records." for name, a, b in pairs if not _same(a, b)]


def _same(disk: Path, drawn: Path) -> bool:
    import numpy as np
    from PIL import Image

    if disk.read_bytes() == drawn.read_bytes() or disk.suffix != ".png":
        return disk.read_bytes() == drawn.read_bytes()
    try:
        with Image.open(disk, formats=["PNG"]) as mine, Image.open(drawn, formats=["PNG"]) as other:
            a, b = (np.asarray(image.convert("RGB"), dtype=float) for image in (mine, other))
    except OSError:
        return False
    return a.shape == b.shape and float(np.abs(a - b).mean()) <= TOLERANCE
