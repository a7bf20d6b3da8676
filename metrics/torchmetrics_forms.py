"""Which classes of torchmetrics can be a metric here, and how each is called. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from metrics.errors import MetricError
from metrics.types import Direction, Facts, Kind

UNIT, BYTES = "float32 in 0..1", "uint8 in 0..255"


@dataclass(frozen=True, slots=True)
class Form:
    """How a class is called: what it takes, in which range, and which way is better for what is asked here.

    `takes`: "images", "images and prompts", "pairs" (two images: the mean over the pairs of a prompt's images, a
    measure of diversity) or "sets" (generated and reference images). `both` orders of a pair are evaluated where they
    differ. `fixed` are constructor arguments that belong to the range.
    """

    kind: Kind
    takes: str
    direction: Direction
    pixels: str = UNIT
    low: float | None = None
    high: float | None = None
    both: bool = False
    fixed: tuple[tuple[str, object], ...] = ()
    network: bool = False


def _pair(similar: bool, **more: object) -> Form:
    """A measure of two images: of a similarity, lower is more diverse."""
    direction = Direction.LOWER if similar else Direction.HIGHER
    return Form(Kind.GROUP, "pairs", direction, **more)  # type: ignore[arg-type]


_RANGE = (("data_range", 1.0),)
_NORMALIZE = (("normalize", True),)

FORMS: dict[str, Form] = {
    "image.TotalVariation": Form(Kind.IMAGE, "images", Direction.LOWER, low=0.0),
    "multimodal.CLIPImageQualityAssessment": Form(
        Kind.IMAGE, "images", Direction.HIGHER, low=0.0, high=1.0, fixed=_RANGE, network=True
    ),
    "multimodal.CLIPScore": Form(
        Kind.IMAGE, "images and prompts", Direction.HIGHER, pixels=BYTES, low=0.0, high=100.0, network=True
    ),
    "image.LearnedPerceptualImagePatchSimilarity": _pair(False, low=0.0, fixed=_NORMALIZE, network=True),
    "image.DeepImageStructureAndTextureSimilarity": _pair(False, network=True),
    "image.StructuralSimilarityIndexMeasure": _pair(True, low=-1.0, high=1.0, fixed=_RANGE),
    "image.MultiScaleStructuralSimilarityIndexMeasure": _pair(True, low=-1.0, high=1.0, fixed=_RANGE),
    "image.UniversalImageQualityIndex": _pair(True, low=-1.0, high=1.0),
    "image.PeakSignalNoiseRatio": _pair(True, fixed=_RANGE),
    "image.VisualInformationFidelity": _pair(True, both=True),
    "image.SpectralAngleMapper": _pair(False, low=0.0),
    "image.RootMeanSquaredErrorUsingSlidingWindow": _pair(False, low=0.0),
    "image.SpatialCorrelationCoefficient": _pair(True, both=True),
    "image.FrechetInceptionDistance": Form(Kind.SET, "sets", Direction.LOWER, low=0.0, fixed=_NORMALIZE, network=True),
    "image.KernelInceptionDistance": Form(Kind.SET, "sets", Direction.LOWER, fixed=_NORMALIZE, network=True),
    "image.MemorizationInformedFrechetInceptionDistance": Form(
        Kind.SET, "sets", Direction.LOWER, low=0.0, fixed=_NORMALIZE, network=True
    ),
}
"""Of torchmetrics 1.9: "module.Class" -> how it is called."""

_OTHERS = {
    "image.InceptionScore": "it is one value of a set without a reference",
    "image.PerceptualPathLength": "it needs the generator itself, not images",
    "image.QualityWithNoReference": "it is for multispectral images with a panchromatic one",
    "image.SpatialDistortionIndex": "it is for multispectral images with a panchromatic one",
    "image.SpectralDistortionIndex": "it is one value of a batch of multispectral images",
    "image.ErrorRelativeGlobalDimensionlessSynthesis": "it is for pan-sharpened multispectral images",
    "image.RelativeAverageSpectralError": "it is for pan-sharpened multispectral images",
    "image.PeakSignalNoiseRatioWithBlockedEffect": "it takes one grey channel",
    "multimodal.LipVertexError": "it is for vertices of lips",
}


@dataclass(frozen=True, slots=True)
class Definition:
    """A metric that a suite defines: the class behind its name, and the arguments of the class that it gives."""

    path: str
    options: tuple[tuple[str, object], ...]

    @property
    def form(self) -> Form:
        """How the class is called."""
        return form_of(self.path)


DEFINED: dict[str, Definition] = {}
"""By the names that the suites of this process give them."""


def form_of(path: str) -> Form:
    """The form of "image.TotalVariation"; MetricError for a class that is none, or cannot be a metric here.

    >>> form_of("image.TotalVariation").takes
    'images'
    """
    short = path.removeprefix("torchmetrics.")
    if short in FORMS:
        return FORMS[short]
    if short in _OTHERS:
        raise MetricError(f"torchmetrics class '{short}' cannot be a metric here, because {_OTHERS[short]}")
    raise MetricError(f"torchmetrics class '{path}' is not one of those known here: {', '.join(FORMS)}")


def facts_of(name: str, definition: Definition) -> Facts:
    """The facts of a metric defined by a class: its version holds the class and the release of torchmetrics."""
    form, short = definition.form, definition.path.removeprefix("torchmetrics.")
    try:
        release = version("torchmetrics")
    except PackageNotFoundError:
        release = "not installed"
    mean = "mean of pairs, " if form.takes == "pairs" else ""
    return Facts(
        name=name,
        title=name,
        kind=form.kind,
        direction=form.direction,
        unit=f"{mean}torchmetrics {short.rpartition('.')[2]}",
        low=form.low,
        high=form.high,
        version=f"{short} of torchmetrics {release}",
        packages=("torchmetrics",),
        licence="Apache-2.0",
        citation=f"Detlefsen et al. 2022, TorchMetrics, github.com/Lightning-AI/torchmetrics ({short})",
        options=dict(definition.options),
    )
