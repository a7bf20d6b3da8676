"""Aesthetic Predictor V2.5 as a metric of one's own: `bench run --plugin docs/examples/aesthetic_v25.py ...`.

It is not part of the package: its publisher's code is under the AGPL-3.0, and its weights are published beside that
code without a licence of their own. What stands here is written from the form of the network alone: SigLIP's pooled
embedding, L2-normalised, then linear layers 1152-1024-128-64-16-1 without activations (dropout is nothing in use). The
names of the tensors ("layers.N.weight") were not verified on the published file: another form is refused, not guessed.

A suite names both files, as nothing is fetched:

    [metrics.aesthetic_v25]
    weights = "aesthetic_predictor_v2_5.pth"
    options = { siglip = "siglip-so400m-patch14-384" }
"""

from __future__ import annotations

from pathlib import Path

import metrics


class AestheticV25:
    """Predicted rating of an image, about 1 to 10; higher is better. The prompt plays no part."""

    kind = metrics.Kind.IMAGE

    def __init__(self, card, encoder, head):
        self.card, self.encoder, self.head = card, encoder, head

    @classmethod
    def load(cls, facts: metrics.Facts, request: metrics.Request) -> AestheticV25:
        import torch

        from metrics.image.aesthetic import build_head
        from metrics.metric import make_card
        from metrics.networks.hf_folder import weight_files
        from metrics.networks.image_encoders import load_siglip
        from metrics.weights.hub import locate
        from metrics.weights.state_dict import read_state

        siglip = request.options["siglip"]
        if request.weights is None or siglip is None:
            raise metrics.MissingWeightsError("aesthetic_v25 needs weights and the option siglip: name both files")
        file, folder = Path(request.weights).expanduser(), locate(str(siglip))
        device = torch.device(request.device)
        head = build_head(read_state(file), str(file)).to(device)  # tensors alone are read: no code runs
        encoder = load_siglip(folder, facts.title, device, request.dtype)
        files = {"head": file, **{f"siglip/{path.name}": path for path in weight_files(folder, facts.title)}}
        return cls(make_card(facts, request, files, {**encoder.settings, "head": "linear layers"}), encoder, head)

    def score(self, images, prompts=None):  # float32 [N], one value per image
        import torch
        from torch.nn import functional

        from metrics.images import to_pil

        with torch.no_grad():
            inputs = torch.stack([self.encoder.prepare(frame) for frame in to_pil(images)])
            device = next(self.head.parameters()).device
            pooled = functional.normalize(self.encoder.encode(inputs.to(device)), dim=-1)
            return self.head(pooled)[:, 0].float().cpu()


metrics.register(
    "aesthetic_v25",
    "aesthetic_v25:AestheticV25",
    metrics.Facts(
        name="aesthetic_v25",
        title="Aesthetic Predictor V2.5",
        kind=metrics.Kind.IMAGE,
        direction=metrics.Direction.HIGHER,
        unit="predicted rating, about 1 to 10",
        licence="AGPL-3.0 (the publisher's code, not used here); weights: not stated",
        citation="discus0434 2024, aesthetic-predictor-v2-5, github.com/discus0434/aesthetic-predictor-v2-5",
        options={"siglip": None},
        weight_options=("siglip",),
    ),
)
