"""Whole checkpoints in the forms people publish and trainers leave, of every family, and what becomes of each.

`python benchmarks/checkpoint_forms.py > docs/checkpoint_forms_full.md` writes the table.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.errors import MissingError
from bench.models.load import load_model
from bench.models.loading import quiet
from tests.unit.bench.models.families import FAMILIES, family_pipeline, has_turn, scheduler_of, tiny_network
from tests.unit.bench.models.original_layout import open_clip, original_clip, original_unet, original_vae
from tests.unit.bench.models.tiny import tiny_suite

PART = {family: "unet" if family in ("sd", "sdxl") else "transformer" for family in FAMILIES}
WEIGHTS = "diffusion_pytorch_model.safetensors"
WRAPPERS = (
    "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "PART.module.", "PART._orig_mod.",
    "module.PART.", "model.", "model.diffusion_model.", "diffusion_model.", "base_model.model.", "state_dict.",
    "denoiser.", "ema.", "model.PART.", "student.", "pipe.PART.", "online_model.net.",
)  # fmt: skip
ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


Make = Callable[["World", Path], Path]


@dataclass(frozen=True)
class Form:
    """One form: how it is written, and whether its half-precision values are what is meant."""

    name: str
    make: Callable[[World, Path], Path]
    rounded: bool = False
    own_text: bool = False
    families: tuple[str, ...] = FAMILIES


class World:
    """A base pipeline of a family and a network tuned from it, with the predictions that are wanted of it."""

    def __init__(self, family: str, root: Path) -> None:
        self.family, self.root, self.part = family, root, PART[family]
        self.base = family_pipeline(family, root / "base")
        self.net = tiny_network(family, 5)
        self.state = {key: value.detach().clone() for key, value in self.net.state_dict().items()}
        self.full = Path(shutil.copytree(self.base, root / "full"))
        self.net.save_pretrained(self.full / self.part)
        self.moved = Path(shutil.copytree(self.full, root / "moved"))
        for name in (*ENCODERS, "vae"):
            for file in (self.moved / name).glob("*.safetensors"):
                torch.manual_seed(len(name))
                save_file({key: value + 0.3 * torch.randn(value.shape) for key, value in load_file(file).items()}, file)

    def model(self, folder: Path | None = None, family: str | None = None) -> Any:
        suite = tiny_suite(scheduler_of(self.family))
        suite.model.family = family or self.family
        return load_model(folder or self.base, suite)

    def truth(self, form: Form) -> Tensor:
        """By hand: the values put into the base network, and the text encoders that are meant."""
        model = self.model(self.moved if form.own_text else None)
        state = {key: value.half().float() for key, value in self.state.items()} if form.rounded else self.state
        model.network.load_state_dict(state)
        return prediction(model, "base")


@torch.inference_mode()
def prediction(model: Any, network: str) -> Tensor:
    count = 2 * torch.Size(model.latents_shape).numel()
    latents = torch.linspace(-1, 1, count).reshape(2, *model.latents_shape)
    guidance, cond = 1.0 if model.family == "flux" else 2.0, model.encode(["a star", "a circle"])
    return torch.as_tensor(model.predict(network, latents, torch.tensor(500.0), cond, guidance))


def write(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous().clone() for key, value in tensors.items()}, path)
    return path


def saved(**options: Any) -> Make:
    """The network's folder as diffusers saves it."""

    def make(world: World, path: Path) -> Path:
        world.net.save_pretrained(path, **options)
        return path

    return make


def without(pattern: str, make: Make) -> Make:
    """The same without the files that match."""

    def made(world: World, path: Path) -> Path:
        make(world, path)
        for file in path.glob(pattern):
            file.unlink()
        return path

    return made


def inside(index: str, make: Make) -> Make:
    """In a subfolder; PART is the network's."""

    def made(world: World, path: Path) -> Path:
        make(world, path / index.replace("PART", world.part))
        return path

    return made


def one_file(change: Callable[[World], Mapping[str, Tensor]], name: str = "x.safetensors") -> Make:
    return lambda world, path: write(path / name, change(world))


def prefixed(prefix: str) -> Make:
    return one_file(
        lambda world: {prefix.replace("PART", world.part) + key: value for key, value in world.state.items()}
    )


def accelerate(world: World, path: Path) -> Path:
    """What accelerate's save_state leaves: no configuration, and the optimiser beside."""
    write(path / "model.safetensors", world.state)
    for name in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl"):
        (path / name).write_bytes(b"1")
    return path


def with_config(world: World, path: Path) -> Path:
    world.net.save_pretrained(path)
    (path / WEIGHTS).rename(path / "model.safetensors")
    return path


def averaged_beside(world: World, path: Path) -> Path:
    world.net.save_pretrained(path / world.part)
    tiny_network(world.family, 9).save_pretrained(path / f"{world.part}_ema")
    return path


def pipeline(moved: bool = False, variant: str | None = None) -> Make:
    def make(world: World, path: Path) -> Path:
        source = world.moved if moved else world.full
        if variant is None:
            return Path(shutil.copytree(source, path, dirs_exist_ok=True))
        import diffusers

        with quiet():
            diffusers.DiffusionPipeline.from_pretrained(str(source)).save_pretrained(path, variant=variant)
        return path

    return make


def original(world: World) -> dict[str, Tensor]:
    return original_unet(world.state)


def original_bare(world: World) -> dict[str, Tensor]:
    return {key.removeprefix("model.diffusion_model."): value for key, value in original(world).items()}


def original_pipeline(world: World) -> dict[str, Tensor]:
    """UNet, text encoders and VAE in one original file, as Stable Diffusion was published."""
    folders = [world.moved / name for name in (*ENCODERS, "vae") if (world.moved / name).is_dir()]
    part = {folder.name: load_file(next(folder.glob("*.safetensors"))) for folder in folders}
    tensors = original_unet(world.state) | original_vae(part["vae"])
    if world.family == "sd":
        return tensors | original_clip(part["text_encoder"], "cond_stage_model.")
    tensors |= original_clip(part["text_encoder"], "conditioner.embedders.0.")
    return tensors | open_clip(part["text_encoder_2"], "conditioner.embedders.1.")


def diffusers_pipeline(world: World) -> dict[str, Tensor]:
    """All parts of a pipeline in one file, under diffusers' names."""
    tensors = {f"{world.part}.{key}": value for key, value in world.state.items()}
    for name in (*ENCODERS, "vae"):
        for file in (world.moved / name).glob("*.safetensors"):
            tensors |= {f"{name}.{key}": value for key, value in load_file(file).items()}
    return tensors


def half(world: World) -> dict[str, Tensor]:
    return {key: value.half() for key, value in world.state.items()}


SHARDS = {"max_shard_size": "20KB"}
UNETS = ("sd", "sdxl")
EXACT = (
    Form("network folder", saved()),
    Form("network folder, fp16 variant only", saved(variant="fp16")),
    Form("network folder, sharded", saved(**SHARDS)),
    Form("network folder, sharded, fp16 variant only", saved(variant="fp16", **SHARDS)),
    Form("shards with an index, no config.json", without("config.json", saved(**SHARDS))),
    Form("shards without index and config.json", without("*.json", saved(**SHARDS))),
    Form("config.json with model.safetensors", with_config),
    Form("accelerate: model.safetensors, optimizer.bin, no config.json", accelerate),
    Form("checkpoint-N/unet or transformer", inside("checkpoint-500/PART", saved())),
    Form("checkpoint-N with unet and unet_ema: the first", averaged_beside),
    Form("checkpoint-N with unet_ema or transformer_ema only", inside("PART_ema", saved())),
    Form("output folder with one checkpoint-N", inside("checkpoint-20/PART", saved())),
    Form("one file, diffusers' keys", one_file(lambda world: world.state)),
    *(Form(f"one file, keys behind {wrapper.replace('PART', 'unet')}", prefixed(wrapper)) for wrapper in WRAPPERS),
    Form("one file, fp16", one_file(half), rounded=True),
    Form("one file, original keys", one_file(original), families=UNETS),
    Form("one file, original keys without prefix", one_file(original_bare), families=UNETS),
    Form("one original file of a pipeline, own parts", one_file(original_pipeline), own_text=True, families=UNETS),
    Form("one file of a whole pipeline, diffusers' keys", one_file(diffusers_pipeline), own_text=True),
    Form("full pipeline with the base model's other parts", pipeline()),
    Form("full pipeline with its own text encoders and VAE", pipeline(moved=True), own_text=True),
    Form("full pipeline, fp16 variant only", pipeline(variant="fp16")),
)  # fmt: skip


def rows(
    root: Path, families: tuple[str, ...] = FAMILIES, *, exhaustive: bool = True
) -> Iterator[tuple[str, str, str]]:
    """(form, family, "exact (error)" or what went wrong) for every form that is to be read, or has a turn."""
    for family in families:
        world = World(family, root / family)
        before = prediction(world.model(), "base")
        for index, form in enumerate(EXACT):
            if family not in form.families or not (exhaustive or has_turn(index, family, form.families)):
                continue
            yield form.name, family, outcome(world, form, form.make(world, root / family / f"form{index}"), before)


def outcome(world: World, form: Form, path: Path, before: Tensor) -> str:
    model = world.model()
    try:
        model.add_network("tuned", path)
    except MissingError as error:
        return f"refused: {str(error).replace(str(path), 'X')}"
    truth, got = world.truth(form), prediction(model, "tuned")
    movement = float((truth - before).abs().max())
    error = float((got - truth).abs().max()) / movement
    if movement < 0.1:
        return f"moves too little to tell ({movement:.2g})"
    if not torch.equal(prediction(model, "base"), before):
        return "loaded, and the base network changed"
    return f"exact ({error:.1g})" if error <= 1e-5 else f"loaded, wrong by {error:.2g} of the movement"


HEAD = """# Whole checkpoints: which forms are read

Written by `python benchmarks/checkpoint_forms.py > docs/checkpoint_forms_full.md`. Every form is written with a
tiny network of the family, loaded as tuned weights, and compared with the values put into the network by hand. "exact"
gives the largest difference of a prediction, as a part of what the tuned network moves it (which is at least 0.1). The
base network is the same to the last bit after each of them, those that are refused included.
"""


def page() -> str:
    """The tables as Markdown."""
    from tests.unit.bench.models.refused_forms import refusals

    with tempfile.TemporaryDirectory() as folder:
        found = list(rows(Path(folder)))
        refused = [(one, text) for one, text in refusals(Path(folder) / "refused")]
    cells: dict[str, dict[str, str]] = {}
    for form, family, text in found:
        cells.setdefault(form, {})[family] = text
    lines = [HEAD, "| form | " + " | ".join(FAMILIES) + " |", "|" + " --- |" * (len(FAMILIES) + 1)]
    lines += [
        f"| {form} | " + " | ".join(row.get(family, "-") for family in FAMILIES) + " |" for form, row in cells.items()
    ]
    lines += [
        "",
        "## Refused",
        "",
        "`X` is the path that was given.",
        "",
        "| form | family | sentence |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {one.name} | {one.family} | {text.replace('|', '/')} |" for one, text in refused]
    return "\n".join(lines) + "\n"
