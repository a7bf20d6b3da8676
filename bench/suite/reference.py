"""The table [reference] of a suite: what set metrics compare with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from bench.suite.parts import CLOSED, Text, Whole

MOST_REFERENCES = 10_000_000
"""More is a mistake in the number: it would keep a machine busy without a word."""


class Reference(BaseModel):
    """The reference images of set metrics: `count` drawn by the embedded world from `seed`, or a folder of images.

    `path` may be a folder (with subfolders), a zip, a folder or repository of `datasets` ("datasets:owner/name", whose
    `split` and `column` may be named), or an .npz file of statistics. `network` states the metric whose features the
    statistics are of, where the file does not. `name` says which published set they are (such as "coco-val2017"), so
    that it is said which methods saw it.
    """

    model_config = CLOSED

    kind: Literal["shapes", "folder"]
    count: Annotated[Whole, Field(ge=2, le=MOST_REFERENCES)] = 2000
    seed: Annotated[Whole, Field(ge=0)] = 0
    path: Text | None = None
    name: Text | None = None
    network: Text | None = None
    split: Text | None = None
    column: Text | None = None

    @model_validator(mode="after")
    def _folder_has_path(self) -> Reference:
        if self.kind == "folder" and self.path is None:
            raise ValueError("needs a path, since its kind is 'folder'")
        return self
