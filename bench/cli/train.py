"""`bench train`: make a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import DeviceOption, Resume, SuiteOption, parse_settings

RewardOption = Annotated[
    str | None,
    typer.Option("--reward", metavar="METRIC", help="The image metric to climb, or a sum: hpsv2.1=1,pickscore=0.5."),
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", metavar="DIR|REPO", help="Images with captions: a folder, or a repository of `datasets`."),
]
PresetOption = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME", help="The recipe: official, corrected or shapes. [default: it fits]"),
]
RankOption = Annotated[
    int | None,
    typer.Option("--lora-rank", metavar="R", min=0, help="Train a LoRA of this rank instead of all weights."),
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A field of the recipe, such as start_step=25 or ema=0.999."),
]
EvaluationOption = Annotated[
    int | None,
    typer.Option(
        "--eval-every", metavar="N", min=1, help="Run the suite on the checkpoint every N updates, for the report."
    ),
]
InitOption = Annotated[
    str | None,
    typer.Option("--init", metavar="WEIGHTS", help="Start from these weights. [default: the suite's model]"),
]


def train(
    objective: Annotated[str, typer.Argument(metavar="{base|refl|draft|imagerefl}", help="What is optimised.")],
    suite: SuiteOption = "shapes",
    reward: RewardOption = None,
    data: DataOption = None,
    preset: PresetOption = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Optimiser updates.")] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="LR", help="Peak learning rate.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="B", min=1, help="Images per batch.")] = None,
    lora_rank: RankOption = None,
    settings: SettingsOption = None,
    eval_every: EvaluationOption = None,
    eval_limit: Annotated[int, typer.Option(metavar="N", min=1, help="Prompts of that evaluation.")] = 16,
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="Seed of noise, data order and steps.")] = 0,
    init: InitOption = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the checkpoint.")] = None,
    resume: Annotated[Resume, typer.Option(help="Continue a training, or (never) start anew.")] = Resume.MISSING,
    device: DeviceOption = "auto",
) -> int:
    """Make a checkpoint. What is not given is taken from the objective's recipe for the suite."""
    import bench
    from bench.cli.progress import watching

    with watching() as progress:
        written = bench.train(
            objective,
            suite=suite,
            reward=reward,
            data=data,
            preset=preset,
            steps=steps,
            learning_rate=learning_rate,
            batch_size=batch_size,
            lora_rank=lora_rank,
            settings=parse_settings(settings),
            eval_every=eval_every,
            eval_limit=eval_limit,
            seed=seed,
            init=init,
            out=out,
            resume=resume.value,
            device=device,
            progress=progress,
        )
    if written is not None:
        typer.echo(f"checkpoint: {written}")
        if eval_every:
            typer.echo(f"the path of the training: bench report --results {written.with_name(written.name + '.eval')}")
    return 0
