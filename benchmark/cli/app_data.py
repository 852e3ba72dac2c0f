"""The command line's `bench data` and `bench labels`; like all of it, nothing heavy is imported before it is
needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import DATA, RUNS, Data, Json, Plugin, Results

data_app = typer.Typer(no_args_is_help=True, help="Get, prepare, check and look at data sets.")
labels_app = typer.Typer(
    no_args_is_help=True, help="Import label splits and look at which labels a setting hides."
)


@data_app.command("list")
def data_list(
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """List data sets, where they come from and which are here."""
    from benchmark.cli import listing

    raise typer.Exit(listing.show_list("datasets", data, as_json))


@data_app.command("get")
def data_get(
    name: Annotated[str, typer.Argument(metavar="DATASET")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before downloading.")] = False,
    url: Annotated[str | None, typer.Option(help="Another place to get it from, such as a mirror.")] = None,
    sha256: Annotated[str | None, typer.Option(help="What the file's SHA-256 must be.")] = None,
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Download what is openly there of a data set, or say where people get it. Can be resumed."""
    from benchmark.cli import get as command

    raise typer.Exit(command.get(name, data, yes, url, sha256, as_json))


@data_app.command("prepare")
def data_prepare(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="A data set, or one of its forms.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder or file that you have.")],
    size: Annotated[
        list[str], typer.Option(help="HEIGHTxWIDTH in pixels; may be repeated.", show_default="the papers'")
    ] = [],  # noqa: B006
    variant: Annotated[str | None, typer.Option(help="A name for labels that are not the papers'.")] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            help="How images of other sizes meet the frame: scale or pad.", show_default="the data set's"
        ),
    ] = None,
    derive_normals: Annotated[
        bool, typer.Option("--derive-normals", help="Fit surface normals to the depth.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is prepared there.")] = False,
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Pack a data set, in any of the layouts that people have, for fast and safe reading."""
    from benchmark.cli import prepare as command

    raise typer.Exit(command.prepare(name, path, size, variant, fit, derive_normals, force, data, as_json))


@data_app.command("check")
def data_check(
    name: Annotated[str, typer.Argument(metavar="DATASET")],
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Read all that is prepared of a data set: hashes, counts, value ranges, and contact sheets in the
    results folder.
    """
    from benchmark.cli import prepare as command

    raise typer.Exit(command.check(name, data, results, as_json))


@data_app.command("show")
def data_show(
    name: Annotated[str, typer.Argument(metavar="DATASET")],
    split: Annotated[str, typer.Option(help="train or test.")] = "train",
    size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH in pixels.", show_default="the data set's")
    ] = None,
    count: Annotated[int, typer.Option(help="Images.", min=1)] = 8,
    out: Annotated[
        Path | None, typer.Option(help="Picture to write.", show_default="<results>/<dataset>-<split>.png")
    ] = None,
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Write a contact sheet: images and all their labels."""
    from benchmark.cli import data as command

    raise typer.Exit(
        command.show(name, data, split, size, count, out or results / f"{name}-{split}.png", as_json)
    )


@labels_app.command("import")
def labels_import(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="The authors' .pth or .npy files.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a split that was imported before.")
    ] = False,
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
) -> None:
    """Import label splits that papers share, for the settings published:one and published:random."""
    from benchmark.cli import labels as command

    raise typer.Exit(command.import_labels(paths, data, replace, as_json))


@labels_app.command("show")
def labels_show(
    dataset: Annotated[str | None, typer.Argument(metavar="[DATASET]")] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="full, given, one, random, fraction:P, published:one or published:random.",
            show_default="the data set's, or one",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Label seed.", min=0)] = 0,
    count: Annotated[int | None, typer.Option(help="The first images only.", min=1)] = None,
    task: Annotated[list[str], typer.Option(help="Tasks (default: all). May be repeated.")] = [],  # noqa: B006
    out: Annotated[
        Path | None, typer.Option(help="Picture to write.", show_default="<results>/labels-....png")
    ] = None,
    results: Results = RUNS,
    data: Data = DATA,
    as_json: Json = False,
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Print how many images carry which label, and draw the mask."""
    from benchmark.cli import data as command

    raise typer.Exit(command.show_labels(dataset, labels, seed, count, task, data, out, results, as_json))
