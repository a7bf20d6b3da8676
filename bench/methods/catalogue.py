"""The methods there are, one row each. A new method is one more row: `register_method(Method(...))`."""

from __future__ import annotations

from bench.errors import BenchError, UsageError
from bench.formatting import is_safe_name
from bench.methods.baselines import ACCELERATED, AVERAGED, COUPLED, GUIDED, SEARCHED
from bench.methods.method import MARKERS, Method
from bench.methods.schedule import Schedule
from bench.registry import plugins
from bench.registry.registry import Registry

__all__ = [
    "MARKERS",
    "METHODS",
    "Method",
    "display_rank",
    "find_method",
    "get_method",
    "method_names",
    "register_method",
]

# In the order in which they are listed and shown. Colours: Okabe & Ito (2008) without its yellow, which is too pale on
# white, and four more; markers tell methods apart in greyscale too.
_ROWS = (
    Method("base", "Base model", Schedule("constant", value=0.0), colour="#707070", marker="o"),
    Method(
        "refl",
        "ReFL",
        Schedule("constant", value=1.0),
        citation="Xu et al. 2023, ImageReward, arXiv 2304.05977",
        train="refl",
        colour="#d55e00",
        marker="s",
    ),
    Method(
        "draft",
        "DRaFT",
        Schedule("constant", value=1.0),
        citation="Clark et al. 2023, DRaFT, arXiv 2309.17400",
        train="draft",
        colour="#e69f00",
        marker="P",
    ),
    # DPO and SPO keep the model's own guidance, so the tuned side takes the suite's.
    Method(
        "dpo",
        "Diffusion-DPO",
        Schedule("constant", value=1.0),
        tuned_guidance=None,
        citation="Wallace et al. 2023, Diffusion-DPO, arXiv 2311.12908",
        colour="#56b4e9",
        marker="X",
    ),
    Method(
        "combined",
        "Combined generation",
        Schedule("step", switch_step=30),
        citation="ImageReFL, official code ControlGenAI/ImageReFL, combined_inference.yaml",
        train="refl",
        colour="#0072b2",
        marker="^",
    ),
    Method(
        "imagerefl",
        "ImageReFL",
        Schedule("step", switch_step=30),
        citation="Sorokin et al. 2025, ImageReFL, arXiv 2505.22569",
        train="imagerefl",
        colour="#009e73",
        marker="D",
    ),
    # The official ImageReFL code runs AIG without guidance on either side (the AIG authors' code: with, on both).
    Method(
        "aig",
        "Annealed importance guidance",
        Schedule("power", power=1.0),
        base_guidance=1.0,
        citation="Annealed importance guidance, arXiv 2409.06493",
        train="refl",
        colour="#cc79a7",
        marker="v",
    ),
    Method(
        "scaled",
        "Scaled (constant mixture)",
        Schedule("constant", value=0.5),
        citation="LoRA scaling, the baseline of arXiv 2409.06493",
        train="refl",
        colour="#7a5195",
        marker="p",
    ),
    # The mirror image of combined generation: tuned early, base late, with the model's own guidance throughout.
    Method(
        "mixgrpo",
        "MixGRPO",
        Schedule("reversed_step", switch_step=30),
        tuned_guidance=None,
        citation="Li et al. 2025, MixGRPO, arXiv 2507.21802; official code, sample_flux.py (30 of 50 steps)",
        colour="#8c6d31",
        marker="h",
    ),
    Method(
        "spo",
        "SPO",
        Schedule("constant", value=1.0),
        tuned_guidance=None,
        citation="Liang et al. 2024, Step-by-step preference optimization, arXiv 2406.04314",
        colour="#56b4e9",
        marker="<",
    ),
    Method(
        "flowgrpo",
        "Flow-GRPO",
        Schedule("constant", value=1.0),
        tuned_guidance=None,
        citation="Liu et al. 2025, Flow-GRPO, arXiv 2505.05470",
        colour="#e69f00",
        marker=">",
    ),
    # Trained without guidance, and sampled so.
    Method(
        "diffusionnft",
        "DiffusionNFT",
        Schedule("constant", value=1.0),
        citation="Zheng et al. 2025, DiffusionNFT, arXiv 2509.16117",
        colour="#cc79a7",
        marker="d",
    ),
    Method(
        "dancegrpo",
        "DanceGRPO",
        Schedule("constant", value=1.0),
        tuned_guidance=None,
        citation="Xue et al. 2025, DanceGRPO, arXiv 2505.07818",
        colour="#7a5195",
        marker="8",
    ),
    Method(
        "srpo",
        "SRPO",
        Schedule("constant", value=1.0),
        tuned_guidance=None,
        citation="Shen et al. 2025, SRPO, arXiv 2509.06942",
        colour="#8c6d31",
        marker="*",
    ),
    Method(
        "flowdppo",
        "Flow-DPPO",
        Schedule("constant", value=1.0),
        tuned_guidance=None,
        citation="Flow-DPPO, arXiv 2606.11025",
    ),
    # Trained without guidance, and sampled so.
    Method(
        "diffusionrvge",
        "DiffusionRVGE",
        Schedule("constant", value=1.0),
        citation="model card of roundman/DiffusionRVGE-SD3.5M-MultiReward",
    ),
    Method(
        "prefgrpo",
        "Pref-GRPO",
        Schedule("constant", value=1.0),
        tuned_guidance=None,
        citation="Pref-GRPO, arXiv 2508.20751",
    ),
    Method(
        "boxflow",
        "BoxFlow-GRPO",
        Schedule("constant", value=1.0),
        tuned_guidance=None,
        citation="model card of P1n3/boxflow-grpo-flux-lora",
    ),
    *GUIDED,
    *AVERAGED,
    *SEARCHED,
    *COUPLED,
    *ACCELERATED,
)

METHODS: Registry[Method] = Registry("method")
for _row in _ROWS:
    METHODS.add(_row.name, _row, builtin=True)


def register_method(method: Method) -> None:
    """Add a method of one's own. Raises UsageError when the name is taken, or unusable as the name of a folder."""
    if not is_safe_name(method.name):
        raise UsageError(f"method name '{method.name}' must be usable as a folder name (A-Z a-z 0-9 . _ -)")
    METHODS.add(method.name, method, origin=plugins.current() or "register_method")


def get_method(name: str) -> Method:
    """The catalogue's row. Raises UsageError (did you mean ...?) for an unknown name."""
    return METHODS.get(name)


def find_method(name: str) -> Method | None:
    """The catalogue's row; None where no row has that name, or the package that brings it cannot be read."""
    try:
        found = METHODS.get(name)
    except BenchError:
        return None
    return found if isinstance(found, Method) else None


def display_rank(name: str) -> int:
    """The place of a method in tables and plots: that of its row; behind all rows where it is not of this package.

    Methods of plug-ins stand behind and are told apart by name, so a table does not depend on which plug-ins are read.
    """
    names = [row.name for row in _ROWS]
    return names.index(name) if name in names else len(names)


def method_names() -> list[str]:
    """All names, those of installed packages included."""
    return METHODS.names()
