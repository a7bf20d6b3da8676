"""Metrics of all images against a reference set, one module each."""
