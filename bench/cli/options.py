"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.errors import UsageError


class Resume(StrEnum):
    """What to do with what a run folder already holds. All of it is verified, whichever is chosen."""

    MISSING = "missing"  # keep it, generate what is absent or damaged
    NEVER = "never"  # regenerate everything, and replace the old files when that is complete
    ALWAYS = "always"  # as missing


RESUME = "missing|never|always"

ResultsOption = Annotated[
    Path, typer.Option("--results", metavar="DIR", help="Results folder.", envvar="BENCH_RESULTS", show_envvar=True)
]
SuiteOption = Annotated[
    str,
    typer.Option(
        "--suite",
        metavar="NAME|FILE.toml",
        help="Suite to evaluate: the name of a ready one (see 'bench list suites') or a TOML file.",
    ),
]
MetricsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metrics",
        metavar="A,B",
        help="Metrics to compute, comma-separated (see 'bench list metrics'). [default: the suite's]",
    ),
]
ProtocolOption = Annotated[
    str,
    typer.Option(
        "--protocol",
        metavar="corrected|official",
        help="How to measure: official as the code of ImageReFL does, under names such as hpsv2.1@official.",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="auto, cpu, cuda, cuda:1 or mps; auto takes the fastest one available.",
        envvar="BENCH_DEVICE",
        show_envvar=True,
    ),
]
OnlySuiteOption = Annotated[
    str | None, typer.Option("--suite", metavar="NAME", help="Use only the runs of this suite.", show_default=False)
]
CommonOption = Annotated[
    bool,
    typer.Option(
        "--common", help="Use only the images and prompts that are scored in all runs; captions give their number."
    ),
]
StudyOption = Annotated[
    Path | None,
    typer.Option("--study", metavar="DIR", help="Folder of a human preference study of these runs."),
]
TrackOption = Annotated[
    str | None,
    typer.Option(
        "--track",
        metavar="wandb|mlflow|trackio",
        help="Also log table, values and plots to this experiment tracker.",
        envvar="BENCH_TRACK",
        show_envvar=True,
    ),
]
VerifyOption = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Read and verify every image file, also those that look unchanged (size, times, inode).",
    ),
]
# The arguments of a run, which `bench run` and `bench plan` share.
MethodOption = Annotated[
    list[str],
    typer.Option(
        "--method", metavar="NAME", help="Method to run (see 'bench list methods'); may be repeated or comma-separated."
    ),
]
PromptsOption = Annotated[
    str | None, typer.Option("--prompts", metavar="SET|FILE", help="Prompt set or file. [default: the suite's]")
]
PromptColumnOption = Annotated[
    str | None,
    typer.Option(
        "--prompt-column",
        metavar="NAME",
        help="Column of the prompt file that holds the prompts. [default: prompt, caption or text]",
    ),
]
SamplesOption = Annotated[
    int | None, typer.Option("--samples", metavar="K", help="Images per prompt. [default: the suite's]")
]
LimitOption = Annotated[int | None, typer.Option("--limit", metavar="N", help="Use only the first N prompts.")]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="S", help="Random seed. [default: the suite's]")]
MethodSettingsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Setting of the methods; several values are a sweep: switch_step=20,30."
    ),
]
ReplicatesOption = Annotated[
    bool,
    typer.Option("--replicates", help="Run all checkpoints that the suite names as replicates (training seeds)."),
]
DtypeOption = Annotated[
    str | None,
    typer.Option("--dtype", metavar="float32|bfloat16|float16", help="Floating-point type. [default: the suite's]"),
]
EngineOption = Annotated[
    str,
    typer.Option("--engine", metavar="local|ray", help="Where the work runs: in this process or a Ray cluster."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", help="With --engine ray: processes. [default: as many as the GPUs allow]"),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="auto|ADDR", help="With --engine ray: the cluster. [default: one on this machine]"
    ),
]
GpusOption = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-worker", metavar="X", help="With --engine ray: 1, or 0.5 to share one. [default: 1 where there are]"
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option("--shard", metavar="i/n", help="Do one of n shares in a shared results folder; the last completes."),
]
PluginOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        help="Python file that registers methods, models or metrics; may be repeated.",
        show_default=False,
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print results, warnings and errors only, no progress.")
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Print debug messages too.")]
RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN]...",
        help="Run folders, or names in the results folder: 'refl@1a2b3c4d', a --name, or the newest run of 'refl'.",
        show_default=False,
    ),
]
CompileOption = Annotated[
    bool, typer.Option("--compile", help="Compile the networks with torch.compile (a run of its own; faster on a GPU).")
]
FuseOption = Annotated[
    bool,
    typer.Option(
        "--fuse-lora", help="Fuse LoRAs into the weights where the tuned network runs alone (a run of its own; faster)."
    ),
]


def split(values: Sequence[str] | None) -> list[str]:
    """`["a,b", "c", "a"]` -> `["a", "b", "c"]`: repeated options and comma lists, each name once, in order."""
    parts = (part.strip() for value in values or () for part in value.split(","))
    return [*dict.fromkeys(part for part in parts if part)]


def parse_settings(pairs: Sequence[str] | None) -> dict[str, str]:
    """`["switch_step=20,30"]` -> `{"switch_step": "20,30"}`; UsageError on a pair without '=' or a key given twice."""
    settings: dict[str, str] = {}
    for pair in pairs or ():
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value):
            raise UsageError(f"--set {pair}: write it as key=value, for example --set switch_step=20,30")
        if key in settings:
            raise UsageError(f"--set {key} is given twice: write one --set {key}={settings[key]},{value}")
        settings[key] = value
    return settings


@contextlib.contextmanager
def heard(quiet: bool, verbose: bool) -> Iterator[None]:
    """Messages from the level that -q or -v asks for; as before without them. Raises UsageError for both."""
    from bench.cli import progress
    from bench.runtime.log import shown

    if quiet and verbose:
        raise UsageError("--quiet and --verbose contradict each other: pass one of them")
    if not quiet and not verbose:
        yield
        return
    before = progress.quiet.set(quiet)
    try:
        with shown("warning" if quiet else "debug"):
            yield
    finally:
        progress.quiet.reset(before)


def with_common_options(command: Callable[..., int]) -> Callable[..., int]:
    """The command with --plugin, whose files are read before it runs, and -q and -v."""

    @functools.wraps(command)
    def run(
        *arguments: Any,
        plugin: Sequence[Path] | None = None,
        quiet: bool = False,
        verbose: bool = False,
        **options: Any,
    ) -> int:
        from bench.registry.plugins import load_plugins

        with heard(quiet, verbose):
            load_plugins(plugin or ())
            return command(*arguments, **options)

    signature = inspect.signature(command, eval_str=True)
    common: dict[str, tuple[Any, Any]] = {
        "plugin": (PluginOption, None),
        "quiet": (QuietOption, False),
        "verbose": (VerboseOption, False),
    }
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in common.items()
    ]
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *extra])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*signature.parameters.values(), *extra)}
    return run
