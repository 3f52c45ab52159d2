"""Files and environment → `Loaded`, or one `SettingsError` with every fault: the steps, in their order."""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from consumer.errors import SettingsError
from consumer.settings.contradictions import contradictions
from consumer.settings.environment import CONFIG, read_environment
from consumer.settings.loaded import Loaded
from consumer.settings.models import EmbeddedSettings, Kafka, Output, Settings
from consumer.settings.nodes import Node, Place, Problem, dotted, overlay, plain
from consumer.settings.secret_files import name_secret_files, read_secret_files
from consumer.settings.section import Section
from consumer.settings.shapes import fields
from consumer.settings.validation import Validation
from consumer.settings.vendor import vendor_credentials
from consumer.settings.yaml_tree import read


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


__all__ = ["KafkaSettings", "load", "load_embedded", "load_kafka", "sources"]


class KafkaSettings(Section):
    """What is needed to read and write the topics, and nothing of the moderation service."""

    kafka: Kafka
    """Where events are read from."""
    output: Output = Output()
    """Where verdicts and dead letters are written."""


Model = TypeVar("Model", bound=EmbeddedSettings)


def sources(paths: Sequence[Path | str], environ: Mapping[str, str]) -> list[str]:
    """The names of the files that `load` reads for these arguments."""
    return [os.fspath(path) for path in paths] or [name for name in [environ.get(CONFIG)] if name]


def load(paths: Sequence[Path | str], environ: Mapping[str, str]) -> Loaded:
    """Read the settings: YAML files, each over those before it, then the environment over all of them.

    Args:
        paths: YAML files; when there are none, the one that `MODERATION_CONFIG` names, if it names any.
        environ: the environment, usually `os.environ`.

    Raises:
        SettingsError: something is wrong; `problems` has one line for each fault.
    """
    names = sources(paths, environ)
    problems: list[Problem] = []
    return Loaded(*_validated(Settings, _files(names, problems), environ, names, problems))


def load_embedded(source: Path | str | Mapping[str, Any], environ: Mapping[str, str]) -> EmbeddedSettings:
    """Read settings of which the section `kafka` may be missing: one YAML file or a mapping, then the environment.

    Raises:
        SettingsError: something is wrong; `problems` has one line for each fault.
    """
    problems: list[Problem] = []
    names: list[str] = []
    if isinstance(source, (str, os.PathLike)):
        names = [os.fspath(source)]
        root = _files(names, problems)
    else:
        root = name_secret_files(plain(source, Place("settings")), EmbeddedSettings, problems)
    settings, _ = _validated(EmbeddedSettings, root, environ, names, problems)
    return settings


def load_kafka(paths: Sequence[Path | str], environ: Mapping[str, str]) -> KafkaSettings:
    """Read the same settings as `load`, but look at the sections of Kafka only: no credentials need to be there.

    Raises:
        SettingsError: something is wrong with them; `problems` has one line for each fault.
    """
    names = sources(paths, environ)
    problems: list[Problem] = []
    root = _files(names, problems)
    root = overlay(root, name_secret_files(read_environment(environ, root.place, problems), Settings, problems))
    others = fields(Settings).keys() - fields(KafkaSettings).keys()
    root = Node(root.place, {name: node for name, node in root.value.items() if name not in others})
    root, secrets = read_secret_files(root, KafkaSettings, problems)
    validation = Validation(problems, secrets, {}, whole=Settings)
    settings = validation.section(KafkaSettings, root)
    problems += contradictions(cast("Settings", settings), validation.places, root.place)
    problems = [problem for problem in problems if not problem.path or problem.path[0] not in others]
    if problems:
        raise _error(problems, names)
    return settings


def _validated(
    model: type[Model], root: Node, environ: Mapping[str, str], names: list[str], problems: list[Problem]
) -> tuple[Model, Mapping[str, str]]:
    """The settings in a tree and the environment over it, with the origin of each value."""
    given = read_environment(environ, root.place, problems)
    root = overlay(root, name_secret_files(given, Settings, problems))
    needs = vendor_credentials(root, environ)
    root, secrets = read_secret_files(root, Settings, problems)
    validation = Validation(problems, secrets, needs.hints, needs.required, whole=Settings)
    settings = validation.section(model, root)
    # Without Kafka, checks that look at it end as they do at any value that is missing.
    problems += contradictions(cast("Settings", settings), validation.places, root.place)
    if problems:
        raise _error(problems, names)
    return settings, MappingProxyType({dotted(path): str(at) for path, at in validation.places.items()})


def _files(names: list[str], problems: list[Problem]) -> Node:
    """All files as one tree. When one cannot be read at all, the rest would only look incomplete: nothing goes on."""
    trees = [read(name, problems) for name in names]
    if None in trees:
        raise _error(problems, names)
    root = Node(Place("environment"), {})
    for index, tree in enumerate(name_secret_files(tree, Settings, problems) for tree in trees if tree is not None):
        root = overlay(root, tree) if index else tree
    return root


def _error(problems: list[Problem], names: list[str]) -> SettingsError:
    """The problems in the order in which people read: file after file from top to bottom, then the variables."""
    rank = {name: index for index, name in enumerate(names)}
    ordered = sorted(problems, key=lambda one: (rank.get(one.place.source, len(rank)), one.place, dotted(one.path)))
    return SettingsError(list(dict.fromkeys(map(str, ordered))))
