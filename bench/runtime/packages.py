"""The distributions that bench runs on, named once; a test compares them with pyproject.toml."""

from __future__ import annotations

COMPUTING = (
    "torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "safetensors", "open_clip_torch",
    "lpips", "dreamsim", "torchmetrics", "torch-fidelity", "timm", "numpy", "scipy", "pandas", "pyarrow", "pillow",
    "huggingface_hub",
)  # fmt: skip
"""Another version of one of these can change a number: their versions are recorded with every run."""
REQUIRED = (
    *COMPUTING, "ftfy", "pydantic", "typer", "rich", "filelock", "matplotlib", "jinja2", "moocore", "plotly",
    "tensorboard",
)  # fmt: skip
"""All that is installed with bench."""
