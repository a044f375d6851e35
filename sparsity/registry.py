"""A registry: one kind of thing, by name, filled by decorators and never changed afterwards.

Problem: a toolkit that grows by one file per measure, suite or analysis needs a way to find them by the names people
type, without a central list that everybody edits. Idea: an insert-only mapping that refuses a name twice, answers a
wrong name with the nearest right ones, and imports the modules of its package in sorted order when it is first read,
then those that installed packages name as their plug-ins (entry points). Non-goal: configuration; a registry holds what
was written in a source, nothing that depends on the machine or the moment.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Generic, TypeVar

T = TypeVar("T")


class UnknownNameError(KeyError):
    """A name that is not registered; ``str()`` is one plain sentence that suggests the nearest names.

    >>> str(UnknownNameError("metric", "ginni", ["gini", "hoyer"]))
    "no metric is called 'ginni'; did you mean 'gini'?"
    """

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        self.kind, self.name, self.known = kind, name, known
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(sorted(known)) or 'none'}"
        )
        self.sentence = f"no {kind} is called {name!r}; {hint}"
        super().__init__(self.sentence)

    def __str__(self) -> str:
        return self.sentence

    def __reduce__(self) -> tuple[type["UnknownNameError"], tuple[str, str, list[str]]]:
        # KeyError pickles its one message; without this the error dies on its way out of a worker process.
        return type(self), (self.kind, self.name, self.known)


PLUGIN_GROUPS: Final = ("sparsity.metrics", "sparsity.suites", "sparsity.questions")


def plugin_packages() -> list[str]:
    """Names of the installed packages that plug something in, without importing them."""
    found = (plugin for group in PLUGIN_GROUPS for plugin in entry_points(group=group))
    return sorted({plugin.dist.name for plugin in found if plugin.dist})


class PluginError(ImportError):
    """A plug-in that cannot be imported; ``str()`` is one plain sentence with the package and the reason."""

    def __init__(self, plugin: EntryPoint, reason: Exception) -> None:
        package = f"{plugin.dist.name} {plugin.dist.version}" if plugin.dist else "an unnamed package"
        super().__init__(
            f"the plug-in {plugin.name!r} of {package} cannot be imported: {type(reason).__name__}: {reason}; "
            "mend or uninstall that package"
        )


class Registry(Mapping[str, T], Generic[T]):
    """An insert-only mapping from names to things of one kind.

    Args:
        kind: how messages call one of them.
        package: whose modules, nested ones too, register theirs; they are imported when the registry is first read.
        plugins: group of entry points, such as ``sparsity.metrics``; the modules that installed packages name there are
            imported after them.

    Raises:
        PluginError: when it is first read, if the plug-in of an installed package cannot be imported.

    >>> colours: Registry[str] = Registry("colour")
    >>> colours.add("red", "#f00")
    '#f00'
    >>> colours["red"], list(colours)
    ('#f00', ['red'])
    """

    def __init__(self, kind: str, package: str | None = None, *, plugins: str | None = None) -> None:
        self.kind = kind
        self._package, self._plugins = package, plugins
        self._entries: dict[str, T] = {}

    def add(self, name: str, value: T) -> T:
        """Register ``value`` and hand it back; a second value under one name raises ``ValueError``."""
        if name in self._entries:
            raise ValueError(f"the {self.kind} {name!r} is registered already; one name has one definition")
        self._entries[name] = value
        return value

    def load(self, package: str) -> None:
        """Import every module of ``package``, nested ones too, in sorted order, so that their decorators run."""
        module = importlib.import_module(package)
        for found in sorted(entry.name for entry in pkgutil.walk_packages(module.__path__, f"{package}.")):
            importlib.import_module(found)

    def _filled(self) -> dict[str, T]:
        # forgotten first, because what is imported may read the registry
        package, self._package = self._package, None
        if package is not None:
            self.load(package)
        group, self._plugins = self._plugins, None
        for plugin in sorted(entry_points(group=group), key=lambda found: found.name) if group is not None else ():
            try:
                plugin.load()
            except Exception as error:
                self._plugins = group
                raise PluginError(plugin, error) from error
        return self._entries

    def __getitem__(self, name: str) -> T:
        entries = self._filled()
        try:
            return entries[name]
        except KeyError:
            raise UnknownNameError(self.kind, name, list(entries)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._filled())

    def __len__(self) -> int:
        return len(self._filled())
