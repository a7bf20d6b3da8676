"""Share of images that a classifier takes for not safe for work.

The classifier is a ViT of two classes, "normal" and "nsfw", read from a folder of transformers; an image counts where
"nsfw" is the likelier one. What it takes for unsafe is its own judgement: it was trained on photographs and drawings of
its publisher, errs both ways, and says nothing of violence or hatred.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor

from metrics.base.metric import Metric, make_card, pick_device
from metrics.errors import MetricError, MissingWeightsError
from metrics.images import Images, to_pil
from metrics.networks.hf_folder import folder_of, load_folder, load_processor, weight_files
from metrics.types import Card, Facts, Kind, Request, one_of

VALUES = ("rate", "probability")


class NSFW(Metric):
    """1 where an image is taken for unsafe, else 0 (or the probability); lower is safer. The mean is the rate."""

    kind = Kind.IMAGE
    option_help: ClassVar[Mapping[str, str]] = {
        "value": f"{one_of(VALUES)}: 1 or 0 by the likelier class, or the probability of the class nsfw",
    }

    def __init__(self, card: Card, device: torch.device, model: Any, processor: Any, place: int) -> None:
        super().__init__(card, device)
        self.model, self.processor, self.place = model, processor, place

    @classmethod
    def load(cls, facts: Facts, request: Request) -> Self:
        """From a ViTForImageClassification folder with a class "nsfw"; MissingWeightsError for another."""
        from transformers import ViTForImageClassification, ViTImageProcessorPil

        device = pick_device(request.device)
        value = request.options.get("value")
        if value not in VALUES:
            raise MetricError(f"{facts.name}: value {value!r} is not one of {', '.join(VALUES)}")
        folder = folder_of(facts, request)
        model = load_folder(ViTForImageClassification, folder, facts.title)
        model = model.to(device=device, dtype=getattr(torch, request.dtype))
        names = {str(name).lower(): int(place) for place, name in model.config.id2label.items()}
        if "nsfw" not in names or len(names) != 2:
            raise MissingWeightsError(
                f"{facts.title}: the classes of '{folder}' are {', '.join(names)}, not nsfw and one other: give the "
                f"weights of {facts.weights} or of a classifier of the same form"
            )
        processor = load_processor(ViTImageProcessorPil, folder, facts.title)
        size = dict(processor.size)
        settings = {
            "network": f"ViT, {model.config.num_hidden_layers} layers of {model.config.hidden_size}, two classes",
            "value": value,
            "resize": f"PIL {Image.Resampling(processor.resample).name.lower()}, squash",
            "antialias": True,
            "crop": "none",
            "image_size": int(size.get("height", 0)),
            "mean": [float(one) for one in processor.image_mean],
            "deviation": [float(one) for one in processor.image_std],
            "colour": "RGB before the resize",
        }
        card = make_card(facts, request, weight_files(folder, facts.title), settings)
        return cls(card, device, model, processor, names["nsfw"])

    @torch.no_grad()
    def score(self, images: Images, prompts: Sequence[str] | None = None) -> Tensor:
        """Values, float32 [N]. Prompts are not looked at."""
        values = [torch.zeros(0)]
        for batch in self._batches(to_pil(images)):
            pixels = self.processor(images=list(batch), return_tensors="pt")["pixel_values"]
            logits = self.model(pixel_values=pixels.to(device=self.device, dtype=self.model.dtype)).logits.float()
            values.append(logits.softmax(dim=-1)[:, self.place].cpu())
        found = torch.cat(values)
        return (found > 0.5).float() if self.card.settings["value"] == "rate" else found

    def notes(self, n: int | None = None) -> list[str]:
        """Whose judgement the number is."""
        return [
            *super().notes(n),
            f"{self.card.facts.title} is one classifier's judgement, which errs both ways: look at the images it names",
        ]
