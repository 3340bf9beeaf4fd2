"""The command line. Heavy imports happen inside the commands, so that ``--help`` is quick."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aicc import __version__, cli_checks
from aicc.cli_checks import DimOption, Model
from aicc.errors import AiccError, InputError

if TYPE_CHECKING:
    from aicc.api import CompiledModel
    from aicc.quantization import Quantized

app = typer.Typer(
    name="aicc",
    help="Compile PyTorch and ONNX models to kernels that people can read, run and ship.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_state = {"debug": False}


ExplainFusion = Annotated[
    bool, typer.Option(help="Say for each pair of neighbours why fuse fused them or not.")
]


Calib = Annotated[
    Path | None,
    typer.Option(help="Samples for calibration: an .npz with an array for each input."),
]


Layout = Annotated[
    str, typer.Option(help="Where images' channels lie: auto, nchw, nhwc, or none for no pass.")
]


Tuning = Annotated[Path | None, typer.Option(help="A record of aicc tune, to take schedules from.")]


def _explain(remarks: Sequence[str] | None) -> None:
    if remarks is None:
        return
    for line in remarks or ["no pair of ops was looked at: does the pipeline have the pass fuse?"]:
        typer.echo(line, err=True)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"aicc {__version__}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option(help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    _state["debug"] = debug


@app.command()
def compile(
    model: Model,
    target: Annotated[
        str | None,
        typer.Option(help="triton (default with a GPU), cpp (else), numpy, or ascendc."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the artifact to this folder.")
    ] = None,
    dump_ir: Annotated[
        Path | None, typer.Option(help="Write the IR after each pass to files in this folder.")
    ] = None,
    print_ir_after: Annotated[
        str | None, typer.Option(help="Print the IR after this pass, or after all.")
    ] = None,
    pipeline: Annotated[str | None, typer.Option(help="Passes to run: a,b{option=1},c.")] = None,
    dim: DimOption = [],  # noqa: B006  (typer reads the default)
    verify_each: Annotated[
        bool, typer.Option(help="Run before and after each pass; stop where results change.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Run it, Ascend C emulated, and compare with numpy.")
    ] = False,
    explain_fusion: ExplainFusion = False,
    arch: Annotated[
        str | None, typer.Option(help="Compile kernels for chips too: sm_90,gfx942; x86-64-v3.")
    ] = None,
    tuning: Tuning = None,
    ascendc_project: Annotated[
        str | None, typer.Option(help="Ascend C as: asc (default), or custom_op, for aclnn.")
    ] = None,
    layout: Layout = "auto",
    quantize: Annotated[
        str | None, typer.Option(help="Quantize by this recipe first (see aicc quantize).")
    ] = None,
    calib: Calib = None,
    exact: Annotated[
        bool, typer.Option(help="Leave out passes that change results in their last bits.")
    ] = False,
    tf32: Annotated[
        bool, typer.Option(help="Let a GPU round operands of float32 products to TF32.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write a page that shows the compile: report.html.")
    ] = None,
    cache: Annotated[
        bool, typer.Option(help="Take the artifact of an equal compile before, where it is kept.")
    ] = True,
) -> None:
    """Compile MODEL and write an artifact."""
    where = output if output is not None else Path(_stem(model) + ".aicc")
    kept = None
    if cache and not (
        dump_ir or print_ir_after or verify_each or verify or explain_fusion or report
    ):
        from aicc.compile_cache import lookup

        said = (target, pipeline, dim, arch, ascendc_project, layout, quantize, exact, tf32)
        kept = lookup(model, said, [tuning, calib])
    if kept is not None and kept.is_there():
        kept.write_to(where)
        typer.echo(f"artifact: {where} (as it was compiled before)", err=True)
        return
    from aicc.dumps import observers

    remarks: list[str] | None = [] if explain_fusion or report is not None else None
    recorder = cli_checks.recorder_for(report)
    with progress() as show:
        observer = both(observers(dump_ir, print_ir_after, show), recorder)
        archs = arch.split(",") if arch else []
        source: Any = model
        if quantize is not None:
            source = _quantize(model, quantize, calib, dim, [], None, show).module
        elif calib is not None:
            raise InputError("--calib is for --quantize")
        compiled = _compile(
            source,
            target,
            pipeline,
            dim,
            verify_each,
            observer,
            remarks,
            archs,
            tuning,
            layout,
            exact,
            tf32,
        )
    if explain_fusion:
        _explain(remarks)
    if report is not None:
        cli_checks.write_report(report, compiled, model, recorder, remarks or (), archs)
    if verify:
        _verify(compiled, source, dim)
    compiled.save(where, archs, ascendc_project)
    if kept is not None:
        kept.keep(where)
    typer.echo(f"artifact: {where}", err=True)
    if dump_ir is not None:
        typer.echo(f"IR dumps: {dump_ir}", err=True)


def both(first: Any, second: Any) -> Any:
    """One observer of two, either of which may be None."""
    if first is None or second is None:
        return first if second is None else second

    def observe(*args: Any) -> None:
        first(*args)
        second(*args)

    return observe


def _verify(compiled: CompiledModel, model: Any, dim: Sequence[str]) -> None:
    """Say how far results on random inputs are from those of the NumPy target."""
    from aicc.verify import check_outputs, sample_inputs

    reference = _compile(model, "numpy", None, dim, False, None)
    inputs = sample_inputs(compiled.module)
    wanted, found = reference.run(inputs), compiled.run(inputs)
    error = check_outputs(compiled.output_names, wanted, found)
    typer.echo(f"verified against numpy: largest error {error:.3g}", err=True)


def _compile(
    model: Any,
    target: str | None,
    pipeline: str | None,
    dim: Sequence[str],
    verify_each: bool,
    observer: Any,
    remarks: list[str] | None = None,
    chips: Sequence[str] = (),
    tuning: Path | None = None,
    layout: str = "auto",
    exact: bool = False,
    tf32: bool = False,
) -> CompiledModel:
    import aicc.api
    from aicc.dims import parse_dim_options

    return aicc.api.compile(
        model,
        target=target,
        dims=parse_dim_options(dim),
        pipeline=pipeline,
        verify_each=verify_each,
        observer=observer,
        remarks=remarks,
        chips=chips,
        tuning=tuning,
        layout=layout,
        exact=exact,
        tf32=tf32,
    )


def _stem(model: str) -> str:
    return Path(model).stem if ":" not in Path(model).name else model.rpartition(":")[2]


@contextmanager
def progress() -> Iterator[Any]:
    """A progress bar on stderr, shown only on a terminal: call it with (pass, number, total)."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("import", total=None)

        def show(name: str, number: int, total: int) -> None:
            bar.update(task, description=name, completed=number, total=total)

        yield show


def _quantize(
    model: str,
    recipe: str,
    calib: Path | None,
    dim: Sequence[str],
    settings: Sequence[str],
    max_drop: float | None,
    show: Any,
) -> Quantized:
    from aicc.arrays import load_arrays
    from aicc.dims import parse_dim_options
    from aicc.quantization import quantize
    from aicc.quantization.recipes import parse_settings

    return quantize(
        model,
        recipe,
        None if calib is None else load_arrays(calib),
        max_drop=max_drop,
        settings=parse_settings(settings),
        dims=parse_dim_options(dim),
        show=show,
    )


def _list_recipes(wanted: bool) -> None:
    if not wanted:
        return
    from aicc.quantization.recipes import RECIPES

    for name, known in RECIPES.items():
        typer.echo(f"{name:16}{known.what}\n{'':16}{known.pipeline}")
    raise typer.Exit


@app.command()
def quantize(
    model: Model,
    recipe: Annotated[
        str, typer.Option(help="A recipe's name (see --list), or passes: a,b{option=1}.")
    ] = "int8",
    calib: Calib = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write model and report to this folder.")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(help="Keep fragile layers in float: at most so many points of accuracy lost."),
    ] = None,
    setting: Annotated[
        list[str], typer.Option("--set", help="An option of the recipe: group=64.")
    ] = [],  # noqa: B006
    dim: DimOption = [],  # noqa: B006
    list_recipes: Annotated[
        bool,
        typer.Option("--list", help="List the recipes.", callback=_list_recipes, is_eager=True),
    ] = False,
) -> None:
    """Quantize MODEL: `aicc compile` takes the folder that is written."""
    with progress() as show:
        made = _quantize(model, recipe, calib, dim, setting, max_drop, show)
    where = output if output is not None else Path(_stem(model) + ".q")
    made.save(where)
    typer.echo(str(made.report))
    typer.echo(f"quantized model: {where}", err=True)


@app.command()
def tune(
    model: Model,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The record; what it has is not measured again.")
    ] = Path("tuning.json"),
    target: Annotated[
        str | None,
        typer.Option(help="Whose kernels are measured: triton on a GPU, cpp on the CPU."),
    ] = None,
    dim: DimOption = [],  # noqa: B006
    best: Annotated[
        int, typer.Option(help="How many of the schedules that the model ranks first are run.")
    ] = 8,
) -> None:
    """Measure schedules for MODEL's kernels on the chip that is there, and keep the fastest."""
    import aicc.tuning
    from aicc.dims import parse_dim_options
    from aicc.targets import default_target
    from aicc.tuning_cpu import tune_on_cpu

    record = aicc.tuning.Record.load(output)
    target = target or default_target()
    with progress() as show:
        if target == "cpp":
            found = tune_on_cpu(model, None, record, best, show, dims=parse_dim_options(dim))
        else:
            compiled = _compile(model, target, None, dim, False, None)
            found = aicc.tuning.tune(compiled, record, best, show)
    for name, entry in found:
        won = entry.winning_call or ", ".join(f"{k}={v}" for k, v in entry.schedule.items())
        typer.echo(f"{name}: {entry.seconds * 1e6:.1f} us, {entry.tried} schedules tried: {won}")
    typer.echo(f"record: {output}", err=True)


@app.command()
def run(
    artifact: Annotated[Path, typer.Argument(help="A folder that aicc compile wrote.")],
    input: Annotated[
        list[str], typer.Option("--input", help="An input: name=file.npy. Others are random.")
    ] = [],  # noqa: B006
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write each output to NAME.npy here.")
    ] = None,
    emulate: Annotated[
        bool, typer.Option("--emulate", help="Run Ascend C kernels on the host's emulator.")
    ] = False,
) -> None:
    """Run an artifact and print its outputs."""
    import numpy as np

    import aicc.api
    from aicc.verify import sample_inputs

    compiled = aicc.api.load(artifact)
    if (compiled.target == "ascendc") != emulate:
        raise InputError(
            f"{artifact} is for the {compiled.target} target: "
            + ("only Ascend C is emulated" if emulate else "build it for an NPU, or give --emulate")
        )
    given = dict(read_input(i) for i in input)
    unknown = sorted(set(given) - set(compiled.input_names))
    if unknown:
        raise InputError(f"no input '{unknown[0]}' (there are: {', '.join(compiled.input_names)})")
    if len(given) < len(compiled.input_names):
        samples = dict(zip(compiled.input_names, sample_inputs(compiled.module), strict=True))
        for name in compiled.input_names:
            if name not in given:
                typer.echo(f"input '{name}': none given, using random numbers", err=True)
        given = {**samples, **given}
    results = compiled.run([given[n] for n in compiled.input_names])
    if emulate:
        typer.echo("\n".join(compiled._program.counted()), err=True)  # type: ignore[attr-defined]
    for name, value in zip(compiled.output_names, results, strict=True):
        typer.echo(f"{name}: {value.dtype.name}{list(value.shape)}")
        typer.echo(np.array2string(value, threshold=64, precision=6, suppress_small=True))
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            np.save(output / f"{_file_name(name)}.npy", value)
    if output is not None:
        typer.echo(f"outputs: {output}", err=True)


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name).lstrip(".") or "output"


def read_input(option: str) -> tuple[str, Any]:
    from aicc.arrays import load_array

    name, equals, path = option.partition("=")
    if not equals:
        raise InputError(f"'{option}' is no input: write name=file.npy")
    return name, load_array(path)


@app.command()
def opt(
    file: Annotated[str, typer.Argument(help="A .mlir file, or - for standard input.")] = "-",
    passes: Annotated[str, typer.Option("-p", "--passes", help="The pipeline to run.")] = "",
    verify_each: Annotated[bool, typer.Option(help="Run before and after each pass.")] = False,
    print_ir_after_all: Annotated[bool, typer.Option(help="Print the IR after each pass.")] = False,
    mlir_timing: Annotated[bool, typer.Option(help="Print seconds per pass to stderr.")] = False,
    locations: Annotated[bool, typer.Option(help="Print each op's place in the model.")] = False,
    target: Annotated[str, typer.Option(help="Whose legal ops decompose keeps.")] = "numpy",
    explain_fusion: ExplainFusion = False,
) -> None:
    """Run passes over graph IR, as mlir-opt does: text in, text out."""
    from aicc.dumps import run_passes
    from aicc.sources import weights_beside

    text = sys.stdin.read() if file == "-" else _read_text(Path(file))
    remarks: list[str] | None = [] if explain_fusion else None
    typer.echo(
        run_passes(
            text,
            "<stdin>" if file == "-" else file,
            passes,
            target,
            verify_each=verify_each,
            print_after_all=print_ir_after_all,
            timing=mlir_timing,
            locations=locations,
            weights=None if file == "-" else weights_beside(Path(file)),
            remarks=remarks,
        ),
        nl=False,
    )
    _explain(remarks)


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{path}: {e}") from None


@app.command()
def inspect(
    model: Annotated[str, typer.Argument(help="A model, or an artifact's folder.")],
    dim: DimOption = [],  # noqa: B006
    target: Annotated[
        str | None, typer.Option(help="Whose layouts are shown; by default as for compile.")
    ] = None,
    layout: Layout = "auto",
) -> None:
    """Show inputs, outputs, ops by kind, parameters, FLOPs, bytes, and images' layouts."""
    import aicc.api
    from aicc.report import layouts, quantized_values

    if (Path(model) / "manifest.json").is_file():
        typer.echo(str(aicc.api.load(model).report()))
        return
    compiled = _compile(model, "numpy", "", dim, False, None)
    typer.echo(str(compiled.report()))
    for line in (*quantized_values(compiled.module), *layouts(compiled.module, target, layout)):
        typer.echo(line)


@app.command()
def ops(
    reference: Annotated[
        bool, typer.Option(help="Print the reference of the IR as Markdown instead.")
    ] = False,
) -> None:
    """List the graph ops, and which frontends and backends have each."""
    if reference:
        from aicc.irdoc import reference as written

        typer.echo(written(), nl=False)
        return
    from aicc.optable import op_table

    typer.echo(op_table())


COMMANDS = (
    cli_checks.bench,
    cli_checks.bisect,
    cli_checks.debug,
    cli_checks.fuzz,
    cli_checks.report,
)
for check in COMMANDS:
    app.command()(check)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; exit code 2 for bad input, with one line that says what is wrong."""
    try:
        app(args)
    except AiccError as e:
        if _state["debug"]:
            raise
        print(f"aicc: error: {e}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(141)
    except (MemoryError, OSError, ValueError) as e:
        if _state["debug"]:
            raise
        print(f"aicc: error: {e or type(e).__name__}", file=sys.stderr)
        sys.exit(2)
