"""Commands that measure, and that look for what is wrong: those exit with 1 if they find it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicc.errors import InputError

if TYPE_CHECKING:
    from aicc.api import CompiledModel
    from aicc.fuzz.campaign import Tally
    from aicc.html.collect import Recorder

Model = Annotated[
    str, typer.Argument(help="A .onnx, .pt2 or .mlir file, or package.module:factory.")
]
Inputs = Annotated[
    list[str], typer.Option("--input", help="An input: name=file.npy. Others are random.")
]
DimOption = Annotated[
    list[str], typer.Option("--dim", help="The size of a named dim: batch=4 or batch=1..64.")
]


def fuzz(
    seed: Annotated[int, typer.Option(help="The first seed: a module is drawn from each.")] = 0,
    graphs: Annotated[int | None, typer.Option(help="How many modules are drawn.")] = None,
    minutes: Annotated[float | None, typer.Option(help="When to stop.")] = None,
    target: Annotated[
        list[str], typer.Option("--target", help="What runs them; may be given several times.")
    ] = ["numpy"],  # noqa: B006
    torch: Annotated[
        bool, typer.Option("--torch", help="Draw torch modules, and compare with eager mode too.")
    ] = False,
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

        seeds = range(seed, seed + count)
        tally = run_campaign(seeds, target, minutes, show=told, torch_modules=torch)
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


def bisect(
    model: Model,
    against: Annotated[
        str, typer.Option(help="numpy (the imported graph) or eager (torch, ONNX Runtime).")
    ] = "numpy",
    target: Annotated[str | None, typer.Option(help="As for aicc compile.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Passes to run: a,b{option=1},c.")] = None,
    input: Inputs = [],  # noqa: B006
    dim: DimOption = [],  # noqa: B006
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where the reproducer is written.")
    ] = Path("bisected"),
) -> None:
    """Find the pass, then the op, that first changes MODEL's result beyond rounding.

    Writes the least that still fails: a module with its inputs, and a test that runs it.
    """
    from aicc.bisect import bisect as search
    from aicc.dims import parse_dim_options

    found = search(
        model,
        given_inputs(model, input, dim) if input else None,
        against=against,
        target=target,
        pipeline=pipeline,
        dims=parse_dim_options(dim),
    )
    if found is None:
        typer.echo("no pass changes the result, and the target gives what the IR does")
        return
    typer.echo(str(found))
    for path in found.save(output):
        typer.echo(f"  {path}")
    raise typer.Exit(1)


def given_inputs(model: str, given: list[str], dim: list[str]) -> list[Any]:
    """Arrays for all inputs of a model: those that files are given for, else random ones."""
    from aicc.cli import read_input
    from aicc.dims import parse_dim_options
    from aicc.ir.module import input_names, main_of
    from aicc.sources import import_any
    from aicc.verify import sample_inputs

    module = import_any(model, None, parse_dim_options(dim)).module
    return filled(input_names(main_of(module)), sample_inputs(module), map(read_input, given))


def filled(names: list[str], samples: list[Any], given: Iterable[tuple[str, Any]]) -> list[Any]:
    """Samples with those replaced that arrays are given for, by name. Raises InputError."""
    arrays = dict(given)
    if unknown := sorted(arrays.keys() - set(names)):
        raise InputError(f"no input '{unknown[0]}' (there are: {', '.join(names)})")
    return [arrays.get(n, s) for n, s in zip(names, samples, strict=True)]


def debug(
    artifact: Annotated[Path, typer.Argument(help="A folder that aicc compile wrote.")],
    model: Annotated[
        str, typer.Option(help="The model that it was compiled from: .onnx, .pt2, module:factory.")
    ],
    input: Inputs = [],  # noqa: B006
    all_layers: Annotated[
        bool, typer.Option("--all", help="Print the layers that agree too.")
    ] = False,
    dim: DimOption = [],  # noqa: B006
) -> None:
    """Run ARTIFACT and its source model layer by layer; print where they first part."""
    from aicc.cli import read_input
    from aicc.debug import compare_artifact

    report = compare_artifact(artifact, model, dict(map(read_input, input)), dim)
    for layer in report.layers:
        if all_layers or layer.diverges:
            typer.echo(("! " if layer.diverges else "  ") + str(layer))
    typer.echo(report.summary())
    if report.wrong:
        raise typer.Exit(1)


def bench(
    model: Model,
    target: Annotated[str | None, typer.Option(help="As for aicc compile.")] = None,
    seconds: Annotated[float, typer.Option(help="How long it measures, about.")] = 10.0,
    peer: Annotated[
        list[str] | None,
        typer.Option("--peer", help="eager, torch.compile, onnxruntime; by default all that fit."),
    ] = None,
    input: Inputs = [],  # noqa: B006
    dim: DimOption = [],  # noqa: B006
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the numbers as JSON.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Write one call for chrome://tracing or Perfetto.")
    ] = None,
) -> None:
    """Time MODEL beside its own framework, in turns, and its kernels beside a roofline."""
    from aicc.bench import bench as measure
    from aicc.dims import parse_dim_options

    found = measure(
        model,
        given_inputs(model, input, dim) if input else None,
        target=target,
        dims=parse_dim_options(dim),
        seconds=seconds,
        peers=peer,
    )
    typer.echo(str(found))
    for path, text in ((output, found.to_json()), (trace, found.trace())):
        if path is not None:
            path.write_text(text)
            typer.echo(f"written: {path}", err=True)


def recorder_for(path: Path | None) -> Recorder | None:
    """What keeps the IR after each pass, where a report is asked for."""
    from aicc.html.collect import Recorder

    return None if path is None else Recorder()


def write_report(
    path: Path,
    compiled: CompiledModel,
    model: str,
    recorder: Recorder | None,
    remarks: Sequence[str],
    archs: Sequence[str] = (),
) -> None:
    from aicc.html.collect import report_data
    from aicc.html.page import page

    quantized = Path(model) if Path(model).is_dir() else None
    data = report_data(compiled, Path(model).name, recorder, remarks, quantized, archs)
    path.write_text(page(data))
    typer.echo(f"report: {path}", err=True)


def report(
    model: Annotated[str, typer.Argument(help="A model, or an artifact's folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page.")] = Path("report.html"),
    target: Annotated[str | None, typer.Option(help="As for aicc compile.")] = None,
    dim: DimOption = [],  # noqa: B006
    arch: Annotated[
        str, typer.Option(help="Chips to say for what kernels take of them: sm_80,sm_90.")
    ] = "",
) -> None:
    """Write one HTML page that shows MODEL from its layers to its kernels, pass by pass.

    Of an artifact, whose passes ran before, it shows the final IR, the kernels and the memory plan.
    """
    import aicc.api
    from aicc.dims import parse_dim_options

    archs = [a for a in arch.split(",") if a]
    if (Path(model) / "manifest.json").is_file():
        write_report(output, aicc.api.load(model), model, None, (), archs)
        return
    recorder, remarks = recorder_for(output), list[str]()
    compiled = aicc.api.compile(
        model,
        target=target,
        dims=parse_dim_options(dim),
        observer=recorder,
        remarks=remarks,
    )
    write_report(output, compiled, model, recorder, remarks, archs)
