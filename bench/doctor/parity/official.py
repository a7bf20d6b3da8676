"""The original packages' own values on a fixture: run by the originals' interpreter, imports nothing of this project.

    python official.py FIXTURE OUT.json [--only image_reward,hpsv2,...]

Every value comes from the package's public call on a PIL image and a string. What is put in their way: no network (a
hub cache in the fixture stands in), smaller networks where a package fixes the sizes in its code (said at each place),
and for "hpsv2-antialias" the resize default of torchvision >= 0.17. A value that the original refuses is recorded as
the error it raises.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib.metadata
import json
import os
import platform
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch torchvision transformers tokenizers timm numpy pillow image-reward hpsv2 lpips dreamsim peft open_clip_torch"
)
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
Value = float | dict[str, str]
Index = dict[str, Any]


def prepare(root: Path) -> None:
    """Environment variables that the packages read when they are imported: the fixture instead of the network."""
    os.environ.update(
        CUDA_VISIBLE_DEVICES="",
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
        HUGGINGFACE_HUB_CACHE=str(root / "hub"),
        HF_HUB_CACHE=str(root / "hub"),
        HF_HUB_DISABLE_TELEMETRY="1",
        TORCH_HOME=str(root / "torch"),
        HPS_ROOT=str(root / "hpsv2"),
        TOKENIZERS_PARALLELISM="false",
    )
    warnings.simplefilter("ignore")


def attempt(call: Callable[[], Any]) -> Value:
    """The value with the nine digits that tell float32 numbers apart, or why there is none."""
    try:
        return float(f"{float(call()):.9g}")
    except Exception as error:  # whatever the original raises is the finding
        return {"raises": f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"}


def each(index: Index, root: Path, call: Callable[[Any, str], Any]) -> list[Value]:
    """`call` on every pair of the fixture."""
    from PIL import Image

    values = []
    for image, prompt in index["pairs"]:
        with Image.open(root / index["images"][image]) as opened:
            opened.load()
            values.append(attempt(lambda: call(opened, index["prompts"][prompt])))  # noqa: B023
    return values


def couples(groups: list[list[str]]) -> list[tuple[str, str]]:
    """All unordered pairs within the groups."""
    return [(a, b) for group in groups for index, a in enumerate(group) for b in group[index + 1 :]]


def no_tk() -> None:
    """hpsv2 imports a name from `turtle` that it never uses; an interpreter without Tk gets an empty one."""
    try:
        import turtle  # noqa: F401
    except ImportError:
        sys.modules["turtle"] = types.ModuleType("turtle")
        sys.modules["turtle"].forward = None  # type: ignore[attr-defined]


@contextlib.contextmanager
def vocabulary(root: Path) -> Iterator[None]:
    """hpsv2's wheel lacks the vocabulary that its tokenizer opens when imported: the fixture holds CLIP's."""
    before = gzip.open

    def opened(path: Any, *rest: Any) -> Any:
        lost = str(path).endswith(VOCABULARY) and not os.path.exists(path)
        return before(root / "hpsv2" / "official" / VOCABULARY if lost else path, *rest)

    gzip.open = opened  # type: ignore[assignment]
    try:
        yield
    finally:
        gzip.open = before


def image_reward(index: Index, root: Path) -> list[Value]:
    """`ImageReward.load(...).score(prompt, image)`.

    The package builds a ViT-L and a 768-wide head whatever the file holds: its own classes are given the file's sizes.
    """
    import torch

    os.chdir(root / "image_reward")  # where the tokenizer 'bert-base-uncased' is found as a folder
    import ImageReward as package
    from ImageReward.models.BLIP import blip_pretrain, vit

    file = root / "image_reward" / "ImageReward.pt"
    state = torch.load(str(file), map_location="cpu")
    width = state["blip.visual_encoder.cls_token"].shape[-1]
    depth = 1 + max(int(key.split(".")[3]) for key in state if key.startswith("blip.visual_encoder.blocks."))

    def create_vit(name: str, image_size: int, *rest: Any) -> tuple[Any, int]:
        net = vit.VisionTransformer(
            img_size=image_size, patch_size=16, embed_dim=width, depth=depth, num_heads=width // 64, drop_path_rate=0.1
        )
        return net, width

    module = sys.modules["ImageReward.ImageReward"]
    head = module.MLP
    blip_pretrain.create_vit = create_vit
    module.MLP = lambda size: head(state["mlp.layers.0.weight"].shape[1])  # type: ignore[attr-defined]
    model = package.load(str(file), device="cpu", med_config=str(file.parent / "med_config.json"))
    check_keys(set(model.state_dict()), set(state))
    return each(index, root, lambda image, prompt: model.score(prompt, image))


def check_keys(expected: Any, actual: Any) -> None:
    """The originals load with strict=False: a wrong key must not pass for a value."""
    if set(expected) != set(actual):
        raise SystemExit(f"the fixture's keys are not the original's: {sorted(set(expected) ^ set(actual))[:6]}")


def _hps(index: Index, root: Path, version: str) -> list[Value]:
    no_tk()
    with vocabulary(root):
        import hpsv2
        from hpsv2.src import open_clip

    # the package reads the sizes of ViT-H-14 from a file; its own function puts another file in front
    open_clip.factory.add_model_config(root / "hpsv2" / "official")
    return each(index, root, lambda image, prompt: hpsv2.score(image, prompt, hps_version=version)[0])


def hps_2_0(index: Index, root: Path) -> list[Value]:
    """`hpsv2.score(image, prompt, hps_version="v2.0")`."""
    return _hps(index, root, "v2.0")


def hps_2_1(index: Index, root: Path) -> list[Value]:
    """`hpsv2.score(image, prompt, hps_version="v2.1")`."""
    return _hps(index, root, "v2.1")


@contextlib.contextmanager
def antialiased() -> Iterator[None]:
    """torchvision's `resize` with the default that it has since 0.17: antialias=True."""
    from torchvision.transforms import functional

    before = functional.resize

    def resize(img: Any, size: Any, interpolation: Any, max_size: Any = None, antialias: Any = True) -> Any:
        return before(img, size, interpolation, max_size, antialias)

    functional.resize = resize
    try:
        yield
    finally:
        functional.resize = before


def hps_antialias(index: Index, root: Path) -> list[Value]:
    """v2.1 with torchvision's newer default."""
    with antialiased():
        return _hps(index, root, "v2.1")


def _clip(root: Path, name: str) -> tuple[Any, Any]:
    from transformers import AutoProcessor, CLIPModel

    folder = str(root / name)
    model, report = CLIPModel.from_pretrained(folder, output_loading_info=True)
    check_keys(report["missing_keys"], report["unexpected_keys"])
    return AutoProcessor.from_pretrained(folder), model.eval()


def _features(processor: Any, model: Any, image: Any, prompt: str) -> tuple[Any, Any]:
    """As in the PickScore repository's example: processor, features, L2 norm."""
    import torch

    limits = {"padding": True, "truncation": True, "max_length": 77, "return_tensors": "pt"}
    with torch.no_grad():
        pictures = model.get_image_features(**processor(images=image, **limits))
        texts = model.get_text_features(**processor(text=prompt, **limits))
        pictures = pictures / torch.norm(pictures, dim=-1, keepdim=True)
        return pictures, texts / torch.norm(texts, dim=-1, keepdim=True)


def pickscore(index: Index, root: Path) -> list[Value]:
    """exp(logit_scale) * cosine."""
    processor, model = _clip(root, "pickscore")

    def value(image: Any, prompt: str) -> Any:
        pictures, texts = _features(processor, model, image, prompt)
        return (model.logit_scale.exp() * (texts @ pictures.T)[0]).item()

    return each(index, root, value)


def clip_score(index: Index, root: Path) -> list[Value]:
    """100 * cosine."""
    processor, model = _clip(root, "clip_score")

    def value(image: Any, prompt: str) -> Any:
        pictures, texts = _features(processor, model, image, prompt)
        return 100 * (pictures * texts).sum(dim=-1).item()

    return each(index, root, value)


def _lpips(index: Index, root: Path, net: str) -> list[Value]:
    import lpips
    import numpy as np
    import torch
    from PIL import Image

    model = lpips.LPIPS(net=net, verbose=False).eval()
    values = []
    for a, b in couples(index["lpips"]):
        sides = [lpips.im2tensor(np.array(Image.open(root / file).convert("RGB"))) for file in (a, b)]
        with torch.no_grad():
            values.append(attempt(lambda: model(*sides).item()))  # noqa: B023
    return values


def _dreamsim(index: Index, root: Path, kind: str) -> list[Value]:
    import torch
    from dreamsim import dreamsim
    from PIL import Image

    hub = torch.hub.get_dir()
    folder = str(root / "dreamsim")
    model, preprocess = dreamsim(pretrained=True, device="cpu", cache_dir=folder, dreamsim_type=kind)
    torch.hub.set_dir(hub)  # the package moves it to its own folder, where LPIPS would then look
    inputs = {file: preprocess(Image.open(root / file)) for file in index["dreamsim"]}
    with torch.no_grad():
        return [attempt(lambda: model(inputs[a], inputs[b]).item()) for a, b in couples([index["dreamsim"]])]  # noqa: B023


SCORERS: dict[str, Callable[[Index, Path], list[Value]]] = {
    "image_reward": image_reward,
    "hpsv2": hps_2_0,
    "hpsv2.1": hps_2_1,
    "hpsv2.1-antialias": hps_antialias,
    "pickscore": pickscore,
    "clip_score": clip_score,
    "lpips-alex": lambda index, root: _lpips(index, root, "alex"),
    "lpips-vgg": lambda index, root: _lpips(index, root, "vgg"),
    "lpips-squeeze": lambda index, root: _lpips(index, root, "squeeze"),
    "dreamsim-ensemble": lambda index, root: _dreamsim(index, root, "ensemble"),
    "dreamsim-dino_vitb16": lambda index, root: _dreamsim(index, root, "dino_vitb16"),
    "dreamsim-clip_vitb32": lambda index, root: _dreamsim(index, root, "clip_vitb32"),
    "dreamsim-open_clip_vitb32": lambda index, root: _dreamsim(index, root, "open_clip_vitb32"),
}


def versions() -> dict[str, str]:
    """Python and the packages that decide the values."""
    found = {"python": platform.python_version()}
    for name in PACKAGES.split():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def main() -> None:
    """Compute, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("fixture", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default=",".join(SCORERS))
    arguments = parser.parse_args()
    root, out = arguments.fixture.resolve(), arguments.out.resolve()
    index = json.loads((root / "fixture.json").read_text(encoding="utf-8"))
    prepare(root)
    values = {}
    for name in arguments.only.split(","):
        with contextlib.redirect_stdout(sys.stderr):
            values[name] = SCORERS[name](index, root)
        print(f"{name}: {len(values[name])} values", flush=True)
    result = {"fixture": index["digest"], "seed": index["seed"], "versions": versions(), "values": values}
    out.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
