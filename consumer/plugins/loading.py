"""A plugin's name → its function: an installed package's entry point, or `module:function`. Imported when asked for."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import pkgutil
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, get_args

from consumer.errors import SettingsError
from consumer.plugins.calling import Kind, Plugin
from consumer.plugins.frames import place_of


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from consumer.metrics import Metrics


__all__ = ["GROUPS", "load"]


GROUPS: Final[dict[Kind, str]] = {kind: f"moderation_consumer.{kind}" for kind in get_args(Kind)}
"""The group of entry points that plugins of each kind are declared in."""

_GIVEN: Final[dict[Kind, tuple[str, ...]]] = {
    "mapping": ("document", "record"),
    "rule": ("event", "topic"),
    "policy": ("judgement", "event", "action"),
    "codec": ("value", "headers"),
}


class _Unusable(Exception):
    """Why a plugin cannot be used, in words that follow its name."""


def load(kind: Kind, name: str, setting: str, metrics: Metrics | None = None) -> Plugin[Callable[..., Any]]:
    """The plugin of this name. Its module is imported; what that does is done.

    Args:
        kind: What it is to be.
        name: An entry point's name, or `module:function`.
        setting: Where it is named, such as `mapping.plugin`.
        metrics: Where its failures are counted, if they are.

    Raises:
        SettingsError: it is not there, cannot be imported, or cannot be called as its kind is. The one line of
            `problems` begins with `setting`, and says what is wrong and what is near.
    """
    try:
        module, attribute = _target(kind, name)
        function = _attribute(_module(module), module, attribute)
        _check(kind, f"{module}:{attribute}", function)
    except _Unusable as fault:
        raise SettingsError([f"{setting}: the {kind} plugin '{name}' cannot be used: {fault}"]) from None
    return Plugin(kind, name, function, metrics)


def _target(kind: Kind, name: str) -> tuple[str, str]:
    """The module and the attribute in it that a name stands for."""
    module, colon, attribute = name.partition(":")
    if not colon:
        point = _entry_point(kind, name)
        module, _, attribute = point.value.partition(":")
        attribute = attribute.partition("[")[0].strip()
        if not attribute:
            raise _Unusable(f"its entry point is {point.value}; a function is wanted, as in module:function")
    elif not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise _Unusable("a function is named as module:function, such as acme_forum:to_event")
    return module.strip(), attribute


def _entry_point(kind: Kind, name: str) -> importlib.metadata.EntryPoint:
    installed = importlib.metadata.entry_points(group=GROUPS[kind])
    found = {(point.value, point.dist.name if point.dist else ""): point for point in installed if point.name == name}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        owners = " and ".join(sorted(f"{package} ({value})" for value, package in found))
        raise _Unusable(f"several packages have one of this name: {owners}; name the function as module:function")
    raise _Unusable(_nothing_of_this_name(kind, name, sorted(installed.names)))


def _nothing_of_this_name(kind: Kind, name: str, names: list[str]) -> str:
    no = f"no installed package has an entry point of this name in the group {GROUPS[kind]}"
    other = next((one for one in GROUPS if name in importlib.metadata.entry_points(group=GROUPS[one]).names), None)
    if other is not None:
        return f"{no}; it is a plugin for another place, a {other}"
    if near := _near(name, names):
        return f"{no}; did you mean {near}?"
    if "." in name:
        return f"{no}; a function is named with a colon: {':'.join(name.rsplit('.', 1))}"
    there = f"there is {', '.join(names)}" if names else "there is none at all"
    return f"{no}; {there}; install its package, or name a function as module:function"


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a module does when it is imported, people read one line of it
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            near = _near_module(missing)
            hint = f"did you mean {near}?" if near else "install its package, or put its folder into PYTHONPATH"
            raise _Unusable(f"there is no module {missing}; {hint}") from None
        raise _Unusable(f"importing {name} failed: {_cause(error)}") from None


def _cause(error: BaseException) -> str:
    """An error of somebody's module in one line, with the line of the file that it comes from."""
    lines = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    # A syntax error names its own place: what was being run is the import.
    return said if isinstance(error, SyntaxError) else f"{said}, at {place_of(error)}"


def _near_module(missing: str) -> str | None:
    parent, _, last = missing.rpartition(".")
    package = sys.modules.get(parent)
    path = getattr(package, "__path__", None) if parent else None
    names = [one.name for one in pkgutil.iter_modules(path)] if path is not None or not parent else []
    near = _near(last, names)
    return f"{parent}.{near}" if near and parent else near


def _attribute(module: Any, name: str, attribute: str) -> Any:
    found, so_far = module, name
    for part in attribute.split("."):
        try:
            inner = getattr(found, part)
        except AttributeError:
            near = _near(part, getattr(found, "__dict__", ()))
            raise _Unusable(f"{so_far} has no '{part}'{f'; did you mean {near}?' if near else ''}") from None
        except Exception as error:  # noqa: BLE001  # the same as for a module: it may make its members itself
            raise _Unusable(f"reading '{part}' of {so_far} failed: {_cause(error)}") from None
        found, so_far = inner, f"{so_far}{':' if found is module else '.'}{part}"
    return found


def _check(kind: Kind, reference: str, function: Any) -> None:
    """Whether it can be called as its kind is, as far as can be told without a call."""
    if inspect.isclass(function) or not callable(function):
        what = "a class" if inspect.isclass(function) else f"of the type {type(function).__name__}"
        raise _Unusable(f"{reference} is {what}; a function is wanted, or an object that can be called")
    called = (function, type(function).__call__)
    if any(map(inspect.iscoroutinefunction, called)) or any(map(inspect.isasyncgenfunction, called)):
        raise _Unusable(f"{reference} is asynchronous; a plain function is wanted, which must not wait for anything")
    if any(map(inspect.isgeneratorfunction, called)):
        raise _Unusable(f"{reference} has a yield; a function that returns is wanted")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some functions written in C do not tell
    given = _GIVEN[kind]
    try:
        signature.bind(*given)
    except TypeError:
        takes = ", ".join(map(_parameter, signature.parameters.values()))
        raise _Unusable(f"{reference} takes ({takes}), but a {kind} is called with ({', '.join(given)})") from None


def _parameter(parameter: inspect.Parameter) -> str:
    bare = parameter.replace(annotation=inspect.Parameter.empty)
    return str(bare) if parameter.kind is not inspect.Parameter.KEYWORD_ONLY else f"{bare} by name"


def _near(word: str, right: Iterable[str]) -> str | None:
    close = get_close_matches(word, [name for name in right if not name.startswith("_")], 1)
    return close[0] if close else None
