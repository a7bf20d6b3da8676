"""`bench train`: make a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import RESUME, DeviceOption, Resume, SuiteOption, parse_settings

RewardOption = Annotated[
    str | None,
    typer.Option(
        "--reward", metavar="METRIC", help="Image metric to maximise, or a weighted sum: hpsv2.1=1,pickscore=0.5."
    ),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DIR|FILE|REPO",
        help="Images with captions: a folder, a table, or a repository of the datasets library.",
    ),
]
CaptionOption = Annotated[
    str | None,
    typer.Option(
        "--caption-column", metavar="NAME", help="Column of the captions in --data. [default: text, caption, ...]"
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="Recipe: official, official-norms, corrected or shapes. [default: shapes on the embedded suite, else "
        "corrected]",
    ),
]
RankOption = Annotated[
    int | None,
    typer.Option("--lora-rank", metavar="R", min=0, help="Train a LoRA of this rank instead of all weights."),
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Field of the recipe, such as start_step=25 or ema=0.999; may be repeated."
    ),
]
EvaluationOption = Annotated[
    int | None,
    typer.Option("--eval-every", metavar="N", min=1, help="Evaluate the checkpoint on the suite every N updates."),
]
SeedsOption = Annotated[
    str | None,
    typer.Option("--seeds", metavar="S,S,...", help="Train once per seed, 0,1,2 or 0-2, into OUT-seedS."),
]
InitOption = Annotated[
    str | None,
    typer.Option("--init", metavar="WEIGHTS", help="Initial weights. [default: the suite's model]"),
]

ObjectiveArgument = Annotated[
    str, typer.Argument(metavar="OBJECTIVE", help="Training objective: base, refl, draft or imagerefl.")
]
ResumeOption = Annotated[
    Resume,
    typer.Option(
        "--resume",
        metavar=RESUME,
        help="missing, always: continue an interrupted training run; never: restart it.",
    ),
]


def train(
    objective: ObjectiveArgument,
    suite: SuiteOption = "shapes",
    reward: RewardOption = None,
    data: DataOption = None,
    caption_column: CaptionOption = None,
    preset: PresetOption = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Optimiser updates.")] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="LR", help="Peak learning rate.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="B", min=1, help="Images per batch.")] = None,
    lora_rank: RankOption = None,
    settings: SettingsOption = None,
    eval_every: EvaluationOption = None,
    eval_limit: Annotated[int, typer.Option(metavar="N", min=1, help="Number of prompts in that evaluation.")] = 16,
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="Random seed of noise, data order and steps.")] = 0,
    seeds: SeedsOption = None,
    init: InitOption = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Output folder of the checkpoint.")] = None,
    resume: ResumeOption = Resume.MISSING,
    device: DeviceOption = "auto",
) -> int:
    """Train a checkpoint.

    Options that are not given come from the recipe of the objective for the suite.
    """
    import bench
    from bench.cli.progress import watching

    chosen = parse_settings(settings)
    with watching() as progress:
        made = bench.train(
            objective,
            suite=suite,
            reward=reward,
            data=data,
            caption_column=caption_column,
            preset=preset,
            steps=steps,
            learning_rate=learning_rate,
            batch_size=batch_size,
            lora_rank=lora_rank,
            settings=chosen,
            eval_every=eval_every,
            eval_limit=eval_limit,
            seed=seed,
            seeds=seeds,
            init=init,
            out=out,
            resume=resume.value,
            device=device,
            progress=progress,
        )
    for written in made if isinstance(made, list) else [made]:
        if written is not None:
            typer.echo(f"checkpoint: {written}")
            if eval_every:
                results = written.with_name(f"{written.name}.eval")
                typer.echo(f"the path of the training: bench report --results {results}")
    return 0
