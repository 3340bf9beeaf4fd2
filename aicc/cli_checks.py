"""Commands that look for what is wrong: they exit with 1 where they find something."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aicc.fuzz.campaign import Tally


def fuzz(
    seed: Annotated[int, typer.Option(help="The first seed: a module is drawn from each.")] = 0,
    graphs: Annotated[int | None, typer.Option(help="How many modules are drawn.")] = None,
    minutes: Annotated[float | None, typer.Option(help="When to stop.")] = None,
    target: Annotated[
        list[str], typer.Option("--target", help="What runs them; may be given several times.")
    ] = ["numpy"],  # noqa: B006
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where reproducers are written.")
    ] = Path("findings"),
) -> None:
    """Run random modules through random pipelines and compare with the graph interpreter.

    Without --graphs and --minutes, 1,000 modules are drawn.
    """
    from aicc.cli import progress
    from aicc.fuzz.campaign import fuzz as run_campaign

    count = graphs if graphs is not None else (10**9 if minutes is not None else 1000)
    with progress() as show:

        def told(at: int, tally: Tally) -> None:
            if show is not None:
                show(f"{len(tally.findings)} findings", at - seed + 1, count)

        tally = run_campaign(range(seed, seed + count), target, minutes, show=told)
    for name, number in tally.graphs.items():
        typer.echo(f"{name}: {number} graphs")
    for reason, number in tally.explained.most_common():
        typer.echo(f"explained, {number} times: {reason}")
    if tally.refused:
        typer.echo(f"refused by a target that lacks an op or a type: {tally.refused.total()}")
    for found in tally.findings:
        path = found.save(output)
        typer.echo(f"seed {found.seed}: {found.what}" + (f"\n  {path}" if path else ""))
    if tally.findings:
        raise typer.Exit(1)
    typer.echo("no differences")
