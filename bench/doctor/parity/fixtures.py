"""The fixture: checkpoints, images and prompts in one folder, from a seed, with the list of what is compared.

folder/fixture.json      seed, digest, prompts, images, pairs, groups for LPIPS, images for DreamSim
       images/*.png      as users have them: every mode and shape
       image_reward/  hpsv2/  pickscore/  clip_score/  torch/  dreamsim/  hub/
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.doctor.parity import checkpoints, pictures, trunks
from bench.doctor.parity.tensors import Draw
from bench.doctor.parity.texts import PROMPTS
from bench.errors import UsageError

SEED = 20230304
PROMPTS_AN_IMAGE = 4
IMAGE_SCORERS = ("image_reward", "hpsv2", "hpsv2.1", "pickscore", "clip_score")
NETS = tuple(trunks.TRUNK_FILES)
TYPES = ("ensemble", "dino_vitb16", "clip_vitb32", "open_clip_vitb32")
_INDEX = "fixture.json"


@dataclass(frozen=True, slots=True)
class Fixture:
    """What is in a fixture folder.

    `images`, `dreamsim`: file names below the folder. `pairs`: (place in images, place in prompts). `lpips`: groups of
    images of one size. `digest`: sha256 of all tensors, pixels and texts, the same on every machine.
    """

    seed: int
    digest: str
    images: tuple[str, ...]
    modes: tuple[str, ...]
    prompts: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    lpips: tuple[tuple[str, ...], ...]
    dreamsim: tuple[str, ...]

    @property
    def lpips_pairs(self) -> list[tuple[str, str]]:
        """All unordered pairs within the groups, in the order in which values are listed."""
        return [pair for group in self.lpips for pair in unordered(group)]

    @property
    def dreamsim_pairs(self) -> list[tuple[str, str]]:
        """All unordered pairs of the DreamSim images, in the order in which values are listed."""
        return unordered(self.dreamsim)


def unordered(items: tuple[str, ...]) -> list[tuple[str, str]]:
    """(a, b) for a before b."""
    return [(first, second) for index, first in enumerate(items) for second in items[index + 1 :]]


def _pairs(images: int) -> list[tuple[int, int]]:
    """Each image with its own four prompts, such that every prompt meets many images."""
    count = len(PROMPTS)
    return [(image, (image * 5 + k * 7) % count) for image in range(images) for k in range(PROMPTS_AN_IMAGE)]


def _images(draw: Draw, folder: Path) -> dict[str, Any]:
    def put(name: str, size: pictures.Size) -> str:
        file = f"images/{name}.png"
        pictures.write(draw, name, size, folder / file)
        return file

    sizes = pictures.SIZES
    names = [f"{index:02d}-{w}x{h}-{mode.replace(';', '')}" for index, (w, h, mode) in enumerate(sizes)]
    images = [put(name, size) for name, size in zip(names, sizes, strict=True)]
    groups = [
        [put(f"lpips-{index}-{number}", size) for number in range(count)]
        for index, (count, size) in enumerate(pictures.LPIPS_SIZES)
    ]
    similar = [put(f"dreamsim-{number}", size) for number, size in enumerate(pictures.DREAMSIM_SIZES)]
    modes = [mode for *_, mode in sizes]
    return {"images": images, "modes": modes, "lpips": groups, "dreamsim": similar}


def build(folder: Path, seed: int = SEED) -> Fixture:
    """Write the fixture into an empty or new folder."""
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: give a new folder for the fixture")
    folder.mkdir(parents=True, exist_ok=True)
    draw = Draw(seed)
    listing = _images(draw, folder)
    draw.note("prompts", "\0".join(PROMPTS).encode("utf-8", "surrogatepass"))
    checkpoints.image_reward(draw, folder / "image_reward")
    checkpoints.hpsv2(draw, folder / "hpsv2", folder / "hub")
    checkpoints.clip(draw, folder / "pickscore", patch=14, activation="gelu")
    checkpoints.clip(draw, folder / "clip_score", patch=32, activation="quick_gelu")
    for net in NETS:
        trunks.lpips_trunk(draw, net, folder / "torch" / "hub" / "checkpoints")
    trunks.dreamsim(draw, folder / "dreamsim")
    listing |= {"seed": seed, "digest": draw.digest, "prompts": list(PROMPTS), "pairs": _pairs(len(listing["images"]))}
    (folder / _INDEX).write_text(json.dumps(listing, ensure_ascii=True, indent=1), encoding="utf-8")
    return read(folder)


def read(folder: Path) -> Fixture:
    """The list in a fixture folder that `build` wrote."""
    raw = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    return Fixture(
        seed=raw["seed"],
        digest=raw["digest"],
        images=tuple(raw["images"]),
        modes=tuple(raw["modes"]),
        prompts=tuple(raw["prompts"]),
        pairs=tuple((image, prompt) for image, prompt in raw["pairs"]),
        lpips=tuple(tuple(group) for group in raw["lpips"]),
        dreamsim=tuple(raw["dreamsim"]),
    )
