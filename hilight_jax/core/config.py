"""Strict building of frozen dataclass configs from plain mappings.

A config is loose outside (an ``ml_collections.ConfigDict`` that a command line may override) and frozen inside:
``build`` turns the mapping into nested frozen dataclasses, which live beside the code that uses them, and refuses
every key that nothing reads and every value of the wrong type.
"""

import dataclasses
import operator
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from hilight_jax.core.errors import ConfigError, nearest

T = TypeVar("T")


def build(cls: type[T], mapping: Mapping[str, Any], where: str = "config") -> T:
    """Builds the frozen dataclass ``cls`` from ``mapping``, recursively.

    Args:
      cls: A dataclass; fields annotated with dataclasses are built from nested mappings.
      mapping: Keys to values; fields with defaults may be absent.
      where: Dotted path of ``mapping``, for error messages.

    Raises:
      ConfigError: A key is unknown (the nearest known one is named), missing, or holds a value of another type.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where} is {mapping!r}, but it must be a group of keys for {cls.__name__}.")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    for key in mapping:
        if key not in fields:
            known = ", ".join(sorted(fields))
            raise ConfigError(f"{where}.{key} is not a known key.{nearest(key, fields)} Known keys: {known}.")
    values = {}
    for name, field in fields.items():
        if name in mapping:
            values[name] = _convert(hints[name], mapping[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}.{name} is missing; add it to the config.")
    return cls(**values)


def check(config: Any, where: str, allows: Callable[[Any], bool], rule: str, *names: str) -> None:
    """Checks fields of a dataclass; it calls this in its ``__post_init__``.

    Args:
      config: The dataclass.
      where: Dotted path of ``config`` that ends in a dot, such as ``config.``, for error messages.
      allows: Returns True for an allowed value.
      rule: Completes "must be", such as ``at least 1``.
      *names: Its fields; ``loss.weight`` is a field of a field.

    Raises:
      ConfigError: A value is not allowed.
    """
    for name in names:
        value = operator.attrgetter(name)(config)
        if not allows(value):
            raise ConfigError(f"{where}{name} is {value}, but must be {rule}.")


def check_same(config: Any, where: str, first: str, second: str) -> None:
    """Checks that two fields are equal; raises ConfigError as ``check`` does."""
    ours, theirs = operator.attrgetter(first, second)(config)
    if ours != theirs:
        raise ConfigError(f"{where}{first} is {ours}, but {where}{second} is {theirs}; set both to the same.")


def to_dict(config: Any) -> Any:
    """Returns the config as JSON-compatible dicts and lists; ``build`` accepts it again."""
    if dataclasses.is_dataclass(config):
        return {field.name: to_dict(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, (tuple, list)):
        return [to_dict(item) for item in config]
    if isinstance(config, Mapping):
        return {key: to_dict(value) for key, value in config.items()}
    return config


def differences(old: Any, new: Any, where: str = "config") -> list[str]:
    """Lists, as ``"config.seed: 0 -> 1"``, the leaves in which two results of ``to_dict`` differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines = []
        for key in sorted(set(old) | set(new)):
            lines += differences(old.get(key), new.get(key), f"{where}.{key}")
        return lines
    return [] if old == new else [f"{where}: {old!r} -> {new!r}"]


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Returns ``value`` as the annotated type, or raises a sentence that names both."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else build(hint, value, where)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(arg for arg in args if arg is not type(None)), value, where)
    if origin is typing.Literal:
        if value not in args:
            raise ConfigError(f"{where} is {value!r}, but must be one of {', '.join(map(repr, args))}.")
        return value
    if origin is tuple:
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise ConfigError(f"{where} is {value!r}, but must be a list of values.")
        return tuple(_convert(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is {value!r}, but must be a group of keys.")
        return {key: _convert(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where} is {value!r} ({type(value).__name__}), but must be of type {hint.__name__}.")
    return value
