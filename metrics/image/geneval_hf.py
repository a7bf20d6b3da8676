"""GenEval's rules (Ghosh et al. 2023, arXiv 2310.11513) with transformers' Mask2Former: 1 where an image is right.

The original's detector is mmdet's training of the same network, which its program alone installs; this one is Meta's
own, so that scores differ and the two are never mixed: the name says which. Rules, thresholds, the colour classifier
(CLIP ViT-L/14 on the object before grey) are the original's. The mean of a run is over prompts; GenEval's overall score
is the mean of the six tags, which stand in the tables per tag.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from metrics.base.metric import Metric, make_card, pick_device
from metrics.errors import BadInputError, MetricError, MissingWeightsError
from metrics.image.geneval_rules import COLOURS, TAGS, THRESHOLD, Found, Rule, is_correct, kept, read_rules
from metrics.image.questions import one_spaced, questions_file
from metrics.images import Images, check_prompts, to_pil
from metrics.networks.clip_image import ClipImageEncoder, load_clip_images
from metrics.networks.clip_text import CLIP_TEXT, ClipTextEncoder, clip_folder, load_clip_text
from metrics.networks.hf_folder import folder_of, weight_files
from metrics.networks.mask2former import Mask2Former, load_mask2former
from metrics.types import Card, Facts, Kind, Request
from metrics.weights.state_dict import sha256

_NEEDS = "GenEval's rules: give prompts/evaluation_metadata.jsonl of djghosh13/geneval"
GREY = (153, 153, 153)
TEMPLATES = ("a photo of a {c} {name}", "a photo of a {c}-colored {name}", "a photo of a {c} object")
# GenEval's names of COCO's classes, where they are its own.
_OWN_NAMES = {"mouse": "computer mouse", "keyboard": "computer keyboard", "remote": "tv remote"}


class Colours:
    """The colour of an object: CLIP's nearest of ten, the object cut out before grey."""

    def __init__(self, images: ClipImageEncoder, texts: ClipTextEncoder, device: torch.device) -> None:
        self.images, self.texts, self.device = images, texts, device
        self._known: dict[str, Tensor] = {}

    @torch.no_grad()
    def of(self, image: Image.Image, found: Sequence[Found], name: str) -> list[str]:
        """The colour of each object of a class in an RGB image."""
        crops = torch.stack([self.images.prepare(cut_out(image, one)) for one in found]).to(self.device)
        features = functional.normalize(self.images.encode(crops), dim=-1).cpu()
        return [COLOURS[int(index)] for index in (features @ self._classifier(name).T).argmax(dim=1)]

    def _classifier(self, name: str) -> Tensor:
        """One direction a colour [10, E]: the mean of its sentences."""
        if name not in self._known:
            sentences = [
                form.replace("{c}", colour).replace("{name}", name) for colour in COLOURS for form in TEMPLATES
            ]
            (rows,) = self.texts.encode(sentences)
            means = rows.reshape(len(COLOURS), len(TEMPLATES), -1).mean(dim=1)
            self._known[name] = functional.normalize(means, dim=-1)
        return self._known[name]


def cut_out(image: Image.Image, found: Found) -> Image.Image:
    """The box of an object in an RGB image, with grey where it is not."""
    pixels = np.asarray(image)
    if found.mask is not None:
        pixels = np.where(found.mask[..., None], pixels, np.array(GREY, dtype=np.uint8))
    return Image.fromarray(pixels.astype(np.uint8)).crop(tuple(round(value) for value in found.box))  # type: ignore[arg-type]


class GenEvalHF(Metric):
    """1 where all that the prompt asks for is in the image, else 0; its mean is the share of right images."""

    kind = Kind.IMAGE
    uses_prompts: ClassVar[bool] = True
    option_help: ClassVar[Mapping[str, str]] = {
        "questions": "GenEval's evaluation_metadata.jsonl; without it a suite takes that of its prompt set",
        "colours": f"the CLIP that names colours; default {CLIP_TEXT}",
    }

    def __init__(self, card: Card, device: torch.device, detector: Mask2Former, colours: Colours) -> None:
        super().__init__(card, device, batch_size=1)
        self.detector, self.colours = detector, colours
        self.rules: Mapping[str, Rule] = {}

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a Mask2Former folder and one of CLIP, with GenEval's metadata. MissingWeightsError without one."""
        if request.dtype != "float32":
            raise MetricError(f"{facts.name} runs in float32 alone: omit dtype")
        device = pick_device(request.device)
        questions = questions_file(facts.name, request.options.get("questions"), _NEEDS)
        folder = folder_of(facts, request)
        detector = load_mask2former(folder, facts.title, device)
        rules = read_rules(questions)
        _check_classes(facts.title, rules, detector.labels)
        place = clip_folder(request.options.get("colours"))
        texts, used = load_clip_text(place, facts.title, device)
        images = load_clip_images(place, facts.title, device, "float32")
        files: dict[str, Path] = {path.name: path for path in weight_files(folder, facts.title)}
        files |= {f"colours/{path.name}": path for path in used}
        settings = {
            **detector.settings,
            "questions": sha256(questions),
            "rules": "GenEval at 16f1681: scores above 0.3 (counting 0.9), at most 16 of a class, no suppression",
            "colours": f"CLIP before grey, {images.settings['network']}",
            "checked": "rules against our reading; agreement with the original's detector not measured",
        }
        made = cls(make_card(facts, request, files, settings), device, detector, Colours(images, texts, device))
        made.rules = rules
        return made

    def objects(self, image: Image.Image) -> dict[str, list[Found]]:
        """What the detector finds above 0.3, by GenEval's name of the class."""
        found: dict[str, list[Found]] = {}
        for label, score, mask in self.detector.instances(image, THRESHOLD):
            rows, columns = (mask.any(dim=axis).nonzero()[:, 0] for axis in (1, 0))
            box = (float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1)
            found.setdefault(_OWN_NAMES.get(label, label), []).append(Found(box, score, mask.numpy()))
        return found

    def value(self, image: Image.Image, prompt: str) -> float:
        """1 or 0. BadInputError for a prompt that GenEval does not have."""
        rule = self.rules.get(one_spaced(prompt))
        if rule is None:
            raise BadInputError("the prompt is none of GenEval's, which alone say what has to be in the image")
        objects = {name: kept(found, rule.threshold) for name, found in self.objects(image).items()}
        return float(is_correct(rule, objects, lambda found, name: self.colours.of(image, found, name)))

    def score(self, images: Images, prompts: Sequence[str] | None = None) -> Tensor:
        """1 or 0 of each image, float32 [N]. MetricError without prompts."""
        frames = to_pil(images)
        if prompts is None:
            raise MetricError(f"{self.name} needs the prompts of the images")
        texts = check_prompts(prompts, len(frames))
        values = [self.value(frame, text) for frame, text in zip(frames, texts, strict=True)]
        return torch.tensor(values, dtype=torch.float32)

    def notes(self, n: int | None = None) -> list[str]:
        """What the number is, and what it is not."""
        return [
            *super().notes(n),
            f"{self.card.facts.title} is not the original's GenEval (another training of the detector), and its mean "
            f"is over prompts: GenEval's overall score is the mean of its {len(TAGS)} tags",
        ]


def _check_classes(what: str, rules: Mapping[str, Rule], labels: Sequence[str]) -> None:
    """MissingWeightsError where a prompt asks for a class that the detector does not know."""
    known = {_OWN_NAMES.get(label, label) for label in labels}
    asked = {one.name for rule in rules.values() for one in (*rule.include, *rule.exclude)}
    if unknown := sorted(asked - known):
        raise MissingWeightsError(
            f"{what}: the detector has no class '{unknown[0]}' ({len(unknown)} of {len(asked)} that the prompts ask "
            "for are missing): give the weights of a Mask2Former for COCO's instances"
        )
