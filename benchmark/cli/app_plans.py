"""The command `ablate`, which takes whatever `run` takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import typer

from benchmark.cli.options import Json

SUMMARY = "Run what is missing of a plan that ablates a method, and print what each component brings."


def ablating(run: Callable[..., None]) -> Callable[..., None]:
    """The command `ablate`, made of the command `run`: its options, and --json for the table."""
    signature = inspect.signature(run, eval_str=True)
    own = {
        "as_json": inspect.Parameter(
            "as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json
        )
    }
    parameters = {
        name: p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for name, p in signature.parameters.items()
    } | own

    def ablate(**options: Any) -> None:
        from benchmark.cli import ablate as command

        as_json = options["as_json"]

        def ran() -> int:
            of_run = options | {"as_json": as_json and options["dry_run"]}
            passed = {name: value for name, value in of_run.items() if name in signature.parameters}
            try:
                run(**passed)
            except typer.Exit as done:
                return done.exit_code
            return 0

        what, settings, results, data = (options[name] for name in ("what", "settings", "results", "data"))
        raise typer.Exit(
            command.ablate(what or [], settings, results, data, as_json, ran, options["dry_run"])
        )

    whole = signature.replace(parameters=list(parameters.values()))
    ablate.__signature__ = whole  # type: ignore[attr-defined]
    ablate.__annotations__ = {name: p.annotation for name, p in parameters.items()}
    return ablate
