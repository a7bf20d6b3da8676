"""Metrics as the code of the ImageReFL paper measures them: NAME@official, never in one column with NAME."""
