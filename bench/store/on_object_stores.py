"""Functions that work on a results folder, made to work on one in an object store: fetch, call, send."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ParamSpec, TypeVar

from bench.errors import UsageError
from bench.store.names_in_stores import folder_of
from bench.store.object_store import ObjectStore, store_url

P = ParamSpec("P")
T = TypeVar("T")


def on_object_stores(
    *, writes: bool = False, pictures: bool = False, parameter: str = "results"
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator: where `parameter` is the address of an object store, the function gets its working folder.

    `writes`: what is new in the folder is sent while the function works and at its end, also where it fails.
    `pictures`: the pictures are fetched as well; without them they count as not verified.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def working(*args: P.args, **kwargs: P.kwargs) -> T:
            bound = signature.bind(*args, **kwargs)
            given = bound.arguments.get(parameter)
            url = store_url(given) if isinstance(given, str | Path) else None
            if url is None:
                return function(*args, **kwargs)
            from bench.store.working_folder import WorkingFolder  # not at the start of every command

            if writes:
                _check_alone(bound.arguments, url)
            folder = WorkingFolder(ObjectStore(url), folder_of(url))
            folder.fetch(pictures)
            bound.arguments[parameter] = folder.path
            if not writes:
                return function(*bound.args, **bound.kwargs)
            with folder.sending():
                return function(*bound.args, **bound.kwargs)

        return working

    return decorate


def _check_alone(arguments: Mapping[str, object], url: str) -> None:
    """UsageError for work that is split: other workers do not see the working folder of this machine."""
    for option in ("engine", "shard"):
        if arguments.get(option) not in (None, "local"):
            raise UsageError(
                f"--{option} does not go with {url}, since other workers do not see what is not sent yet: use a shared "
                "folder, or one command for each run"
            )
