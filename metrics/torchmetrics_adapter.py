"""Classes of torchmetrics as metrics of a suite: `[metrics.smooth] torchmetrics = "image.TotalVariation"`.

A class is called as its form says (`metrics.torchmetrics_forms`): one image at a time, so that every image has a value
of its own; the pairs of a prompt's images, as a measure of diversity; or generated against reference images. Pixels are
handed over in the range that the class documents. What is not covered is refused by name.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from metrics.base.kinds import TOO_FEW, TOO_FEW_IN_SET, pick_device
from metrics.base.precision import by_its_card
from metrics.errors import BadInputError, MetricError, MissingWeightsError, first_line
from metrics.images import Images, check_prompts, to_pil
from metrics.networks.preprocess import to_bytes, to_unit
from metrics.torchmetrics_forms import BYTES, DEFINED, Definition, Form
from metrics.types import Card, Facts, Kind, Request

_SEED = 0  # of classes that draw subsets, such as KID's


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """The states of a set, as torchmetrics keeps them for reference images; `a + b` is that of the union.

    Lists of features are put one behind the other, sums and counts are added.
    """

    n: int
    arrays: Mapping[str, np.ndarray[Any, Any]]
    lists: frozenset[str]

    def __add__(self, other: States) -> States:
        if not isinstance(other, States):
            return NotImplemented
        if self.arrays.keys() != other.arrays.keys():
            raise BadInputError("these statistics come from different classes and cannot be combined")
        joined = {
            name: np.concatenate([array, other.arrays[name]])
            if name in self.lists
            else np.asarray(array + other.arrays[name])
            for name, array in self.arrays.items()
        }
        return States(self.n + other.n, joined, self.lists)

    @property
    def digest(self) -> str:
        """sha256 (hex) of the content."""
        whole = hashlib.sha256(str(self.n).encode())
        for name in sorted(self.arrays):
            whole.update(f"\0{name}\0{self.arrays[name].shape}\0".encode() + self.arrays[name].tobytes())
        return whole.hexdigest()

    def save(self, path: Path | str) -> None:
        """Write to an .npz file."""
        named: dict[str, Any] = {f"state.{name}": array for name, array in self.arrays.items()}
        with open(path, "wb") as stream:
            np.savez(stream, n=self.n, lists=np.array(sorted(self.lists), dtype=str), digest=self.digest, **named)

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """What `save` wrote; BadInputError if the file is something else or was changed."""
        try:
            with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as held:
                arrays = {name.removeprefix("state."): held[name] for name in held.files if name.startswith("state.")}
                found = cls(int(held["n"]), arrays, frozenset(held["lists"].tolist()))
                digest = str(held["digest"])
        except Exception as error:  # zip, key and format errors: not such a file
            raise BadInputError(f"'{path}' is not a statistics file of torchmetrics states ({error})") from error
        if found.digest != digest:
            raise BadInputError(f"statistics file '{path}' is not what was saved (its digest differs): recompute it")
        return found


class TorchmetricsMetric:
    """A class of torchmetrics behind the interface of `metrics`; which kind it has is its form's."""

    def __init__(self, card: Card, form: Form, measure: Any, device: torch.device) -> None:
        self.card, self.form, self.measure, self.device = card, form, measure, device

    @classmethod
    def load(cls, facts: Facts, request: Request) -> TorchmetricsMetric:
        """The metric that a suite defined under this name. MetricError for arguments that the class does not take."""
        definition = DEFINED.get(facts.name)
        if definition is None:
            raise MetricError(f"metric '{facts.name}' is not defined: its suite names a class of torchmetrics")
        if request.weights is not None:
            raise MetricError(f"metric '{facts.name}' is a class of torchmetrics and takes no weights: omit them")
        if request.dtype != "float32":
            raise MetricError(f"metric '{facts.name}' runs in float32 only")
        device = pick_device(request.device)
        measure = _built(facts.name, definition, request.options, device)
        form = definition.form
        settings = {
            "class": facts.version,
            "takes": form.takes,
            "pixels": form.pixels,
            "resize": "the class's own",
            "colour": "RGB",
            "options": dict(sorted({**dict(form.fixed), **request.options}.items())),
            **request.precision,
        }
        weights = _weights_digest(measure)
        card = Card(facts, request.label, "torchmetrics", weights, settings, {"torch": torch.__version__})
        kinds = {Kind.IMAGE: TorchmetricsImage, Kind.GROUP: TorchmetricsGroup, Kind.SET: TorchmetricsSet}
        return kinds[form.kind](card, form, measure, device)

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.card.name

    def pixels(self, frame: Image.Image) -> Tensor:
        """One RGB image as the class takes it, [1, 3, H, W]."""
        made = to_bytes(frame) if self.form.pixels == BYTES else to_unit(frame)
        return made[None].to(self.device)

    @torch.no_grad()
    @by_its_card
    def value(self, *arguments: Any) -> float:
        """The class's value of one call, as a number: its states are those of nothing before."""
        self.measure.reset()
        self.measure.update(*arguments)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            found = self.measure.compute()
        found = found[0] if isinstance(found, tuple) else found  # KID gives mean and deviation
        if isinstance(found, Tensor) and found.numel() == 1:
            return float(found)
        raise MetricError(
            f"{self.card.facts.version} gave more than one value for one call: it cannot be a metric here"
        )


class TorchmetricsImage(TorchmetricsMetric):
    """One value an image, with its prompt where the class takes one."""

    kind = Kind.IMAGE

    def score(self, images: Images, prompts: Sequence[str] | None = None) -> Tensor:
        """Values, float32 [N]. MetricError where the class needs prompts and there are none."""
        frames = to_pil(images)
        if self.form.takes == "images":
            return torch.tensor([self.value(self.pixels(frame)) for frame in frames], dtype=torch.float32)
        if prompts is None:
            raise MetricError(f"metric '{self.name}' needs the prompts of the images")
        texts = check_prompts(prompts, len(frames))
        return torch.tensor(
            [self.value(self.pixels(frame), [text]) for frame, text in zip(frames, texts, strict=True)],
            dtype=torch.float32,
        )


class TorchmetricsGroup(TorchmetricsMetric):
    """The mean of a measure of two images over the pairs of a prompt's images."""

    kind = Kind.GROUP
    undefined_reason = TOO_FEW

    def pairwise(self, images: Images) -> Tensor:
        """Values of all pairs, float32 [K, K], symmetric; the diagonal is 0 and counts nowhere."""
        inputs = [self.pixels(frame) for frame in to_pil(images)]
        found = torch.zeros(len(inputs), len(inputs))
        for i, j in itertools.combinations(range(len(inputs)), 2):
            if inputs[i].shape != inputs[j].shape:
                raise BadInputError(f"images {i} and {j} differ in size: {self.name} compares images of equal size")
            value = self.value(inputs[i], inputs[j])
            if self.form.both:
                value = (value + self.value(inputs[j], inputs[i])) / 2
            found[i, j] = found[j, i] = value
        return found

    def score(self, images: Images, prompt: str | None = None) -> float:
        """The mean over unordered pairs; NaN for fewer than two images."""
        pairs = self.pairwise(images)
        count = len(pairs)
        if count < 2:
            return float("nan")
        return float(pairs[~torch.eye(count, dtype=torch.bool)].double().mean())


class TorchmetricsSet(TorchmetricsMetric):
    """Generated images against reference images."""

    kind = Kind.SET
    undefined_reason = TOO_FEW_IN_SET

    @torch.no_grad()
    @by_its_card
    def statistics(self, images: Images) -> States:
        """What the class keeps of images, as if they were the reference's (`a + b` for shards)."""
        frames = to_pil(images)
        self.measure.reset()
        for frame in frames:
            self.measure.update(self.pixels(frame), real=True)
        names = [name for name in self.measure._defaults if "real" in name]
        lists = frozenset(name for name in names if isinstance(self.measure._defaults[name], list))
        arrays = {name: _array(getattr(self.measure, name)) for name in names}
        self.measure.reset()
        return States(len(frames), arrays, lists)

    def read_statistics(self, path: Path | str) -> States:
        """Statistics that `save` wrote to an .npz file."""
        return States.read(path)

    @torch.no_grad()
    @by_its_card
    def distance(self, a: States, b: States) -> float:
        """The class's value of generated images (a) against reference images (b); NaN for fewer than two of either."""
        if min(a.n, b.n) < 2:
            return float("nan")
        self.measure.reset()
        for side, states in (("fake", a), ("real", b)):
            for name, array in states.arrays.items():
                held = torch.from_numpy(array).to(self.device)
                mine = name.replace("real", side)
                setattr(self.measure, mine, [held] if name in states.lists else held)
        self.measure._update_count = 1
        self.measure._computed = None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            try:
                found = self.measure.compute()
            except ValueError as error:  # KID's subset_size above the number of images
                raise BadInputError(f"{self.name}: {str(error).splitlines()[0]}") from error
        self.measure.reset()
        return float(found[0] if isinstance(found, tuple) else found)


def _built(name: str, definition: Definition, options: Mapping[str, Any], device: torch.device) -> Any:
    module, _, attribute = definition.path.removeprefix("torchmetrics.").rpartition(".")
    try:
        found = getattr(importlib.import_module(f"torchmetrics.{module}"), attribute)
    except (ImportError, AttributeError) as error:
        raise MissingWeightsError(
            f"metric '{name}': torchmetrics {definition.path} cannot be imported ({error}): "
            "run `pip install torchmetrics`"
        ) from error
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that features are kept in memory: those of one set at a time
            torch.manual_seed(_SEED)
            return found(**{**dict(definition.form.fixed), **options}).to(device).eval()
    except (ModuleNotFoundError, OSError) as error:
        reason = first_line(error)
        raise MissingWeightsError(f"metric '{name}': {definition.path} cannot load its network ({reason})") from error
    except (TypeError, ValueError) as error:
        reason = first_line(error)
        raise MetricError(f"metric '{name}': {definition.path} refuses its options ({reason})") from error


def _weights_digest(measure: Any) -> dict[str, str]:
    """sha256 of all parameters and buffers of a class's networks, under one name; nothing where it has none."""
    whole, count = hashlib.sha256(), 0
    for key, tensor in sorted(measure.named_parameters()) + sorted(measure.named_buffers()):
        whole.update(f"{key}\0{tuple(tensor.shape)}\0".encode())
        whole.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
        count += 1
    return {"parameters": whole.hexdigest()} if count else {}


def _array(state: Any) -> np.ndarray[Any, Any]:
    held = torch.cat(state) if isinstance(state, list) else state
    made: np.ndarray[Any, Any] = held.detach().cpu().numpy()
    return made
