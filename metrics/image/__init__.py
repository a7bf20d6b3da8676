"""Metrics of one image and its prompt, one module each."""
