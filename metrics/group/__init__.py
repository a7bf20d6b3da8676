"""Metrics of the K images of one prompt, one module each: how different they are from one another."""
