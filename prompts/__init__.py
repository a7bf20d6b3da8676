"""Prompt sets: those shipped here, files of the user, and a catalogue of public ones. Imports nothing of `bench`.

prompts.names()           names of the shipped sets
prompts.load("shapes")    a shipped set, a public one of the catalogue, or a file given by its path
prompts.digest(prompts)   sha256 of what the prompts say, for identities
"""

from __future__ import annotations

from prompts.catalogue import PublicSet, public_sets
from prompts.sets import MissingPromptsError, Prompt, PromptError, digest, load, names, read

__all__ = [
    "MissingPromptsError",
    "Prompt",
    "PromptError",
    "PublicSet",
    "digest",
    "load",
    "names",
    "public_sets",
    "read",
]
