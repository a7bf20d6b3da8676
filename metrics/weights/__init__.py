"""Weights of metrics: hub names, pins, state dicts. Safetensors, or weights_only; nothing is unpickled."""
