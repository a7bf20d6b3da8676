"""Adapters over diffusers' pipeline parts, one module per model family, and the loaders of published checkpoints."""
