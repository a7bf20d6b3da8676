"""Proof that every scorer equals its original: one fixture, the original packages in an environment of their own, ours.

`fixtures` builds small checkpoints in the original formats, images and prompts from a seed; `official` is a script
that the originals' interpreter runs on them; `environment` makes that interpreter; `compare` runs the scorers of
`metrics` on the same fixture and says how far apart the values are; `page` writes that down.
"""
