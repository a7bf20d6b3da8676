"""Names -> things, loaded on use: built-in rows, rows that a user adds, and those of installed packages."""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from bench.errors import MissingError, UsageError, unknown
from bench.runtime.log import ONCE, get_logger

logger = get_logger(__name__)

T = TypeVar("T")


class Registry(Generic[T]):
    """The things of one kind ("method", "model", ...) by name.

    A target is the thing itself, or the text "module:attribute" that is imported on first use. Installed packages add
    theirs through the entry-point group `bench.<kind>s`, which is read only when the built-in rows do not answer.
    """

    def __init__(self, kind: str, group: str | None = None) -> None:
        self.kind = kind
        self.group = group or f"bench.{kind}s"
        self._targets: dict[str, T | str] = {}
        self._loaded: dict[str, T] = {}
        self._origins: dict[str, str] = {}
        self._builtin: set[str] = set()
        self._plugins_read = False

    def __contains__(self, name: object) -> bool:
        """Whether there is a row of that name; installed packages are asked only where no other row answers."""
        if name not in self._targets:
            self._read_plugins()
        return name in self._targets

    def add(self, name: str, target: T | str, origin: str | None = None, *, builtin: bool = False) -> None:
        """Add a row; `origin` says who brings it, `builtin` that this package does.

        The flag is the row's own: where the target's module lies says nothing, so it may move.
        Raises UsageError when the name is taken by another target.
        """
        if name in self._targets and self._targets[name] != target:
            raise UsageError(f"{self.kind} '{name}' is already defined by {self._origins[name]}: use another name")
        if builtin and name not in self._targets:
            self._builtin.add(name)
        self._targets.setdefault(name, target)
        self._origins.setdefault(name, origin or (target if isinstance(target, str) and not builtin else "bench"))

    def get(self, name: str) -> T:
        """The thing called `name`, imported if need be.

        Raises UsageError for an unknown name (did you mean ...?), MissingError when it cannot be imported.
        """
        if name not in self._targets:
            self._read_plugins()
        if name not in self._targets:
            raise unknown(self.kind, name, self._targets)
        if name not in self._loaded:
            target = self._targets[name]
            self._loaded[name] = self._load(name, target) if isinstance(target, str) else target
        return self._loaded[name]

    def names(self) -> list[str]:
        """All names: built-in ones in the order they were added, then those of installed packages."""
        self._read_plugins()
        return list(self._targets)

    def origin(self, name: str) -> str:
        """Where a row comes from: "bench", a "module:attribute", or the package of an entry point."""
        self.get(name)
        return self._origins[name]

    def target(self, name: str) -> T | str:
        """The row as it was added: the thing, or "module:attribute". UsageError for an unknown name."""
        if name not in self:
            raise unknown(self.kind, name, self._targets)
        return self._targets[name]

    def is_builtin(self, name: str) -> bool:
        """Whether the row is one of this package. Names without a row are nobody's: False."""
        return name in self._builtin

    def _load(self, name: str, target: str) -> Any:
        module, _, attribute = target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise MissingError(
                f"{self.kind} '{name}' cannot be loaded from {self._origins.get(name, target)}: {error}"
            ) from error

    def _read_plugins(self) -> None:
        if self._plugins_read:
            return
        self._plugins_read = True
        for point in entry_points(group=self.group):
            self._add_plugin(point)

    def _add_plugin(self, point: EntryPoint) -> None:
        # A plug-in that clashes must not take the built-in rows down with it.
        origin = f"{point.value} of {point.dist.name}" if point.dist else point.value
        try:
            self.add(point.name, point.value, origin)
        except UsageError as error:
            logger.warning(f"{origin} is ignored: {error}", extra=ONCE)
