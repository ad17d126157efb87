"""Reads the configuration file: TOML into the one Config, with errors that say what to do."""

import difflib
import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import msgspec

from pointsman_shm.config import Config
from pointsman_shm.paths import InstancePaths, resolve_paths
from pointsman_shm.snapshot.config_pages import page_trouble

CONFIG_SIZE_MAX = 1024 * 1024


class ConfigError(Exception):
    """The configuration cannot be used: what is wrong, where, and what to do."""


def load_config(path: Path | None) -> Config:
    """Read `path`, or return the defaults for None.

    Raises ConfigError for a file that cannot be read, that group or others may write, that is
    not TOML, that has an unknown key, or a value of the wrong type or out of bounds.
    """
    if path is None:
        return Config()
    return parse_config(_read(path), str(path))


def parse_config(text: str, source: str) -> Config:
    """Build the Config from TOML text; `source` names it in errors."""
    try:
        table = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{source}: not TOML: nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not TOML: {error}") from error
    except ValueError as error:  # all else is well: Python takes no number of this many digits
        raise ConfigError(f"{source}: a number has thousands of digits: mend it") from error
    _refuse_unknown_keys(table, source)
    try:
        config = msgspec.convert(table, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_explain(str(error))}") from error
    if trouble := page_trouble(config):
        raise ConfigError(f"{source}: {trouble}")
    return config


def _read(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{path}: not a regular file: name a TOML file")
            if status.st_mode & 0o022:
                raise ConfigError(
                    f"{path}: group or others may write this file (mode "
                    f"{stat.S_IMODE(status.st_mode):04o}): chmod go-w {path}"
                )
            content = file.read(CONFIG_SIZE_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; check the name and its permissions"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{str(path)!r}: no file has such a name: {error}") from error
    if len(content) > CONFIG_SIZE_MAX:
        raise ConfigError(f"{path}: larger than {CONFIG_SIZE_MAX} bytes: not a configuration")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 text (byte {error.start}): save it as UTF-8"
        ) from None


def _refuse_unknown_keys(table: dict[str, Any], source: str) -> None:
    for dotted, known in _unknown_keys(table, Config, ""):
        name = dotted.rpartition(".")[2]
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        elsewhere = [key for key in all_keys() if key.rpartition(".")[2] == name]
        prefix = dotted[: len(dotted) - len(name)]
        if elsewhere:
            advice = f"did you mean {' or '.join(elsewhere)}?"
        elif close:
            advice = f"did you mean {prefix}{close[0]}?"
        else:
            advice = f"known here: {', '.join(sorted(known))}"
        raise ConfigError(f"{source}: unknown key {dotted}: {advice}")


def _unknown_keys(
    value: object, expected: object, prefix: str
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (dotted key, names known there) for every key that no section has."""
    struct = _struct_of(expected)
    if struct is None:
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_keys(item, struct, f"{prefix.rstrip('.')}[{index}].")
    if not isinstance(value, dict):
        return
    fields = {field.name: field.type for field in msgspec.structs.fields(struct)}
    for key, item in value.items():
        if key in fields:
            yield from _unknown_keys(item, fields[key], f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", tuple(fields)


def _struct_of(expected: object) -> type[msgspec.Struct] | None:
    """Find the one struct in a field's type, through Annotated, tuple and optional."""
    if isinstance(expected, type) and issubclass(expected, msgspec.Struct):
        return expected
    if get_origin(expected) is None:
        return None
    for argument in get_args(expected):
        found = _struct_of(argument) if argument is not NoneType else None
        if found is not None:
            return found
    return None


def all_keys() -> list[str]:
    """Every dotted key of a section, in the order of the sections."""
    return [
        f"{section.name}.{field.name}"
        for section in msgspec.structs.fields(Config)
        for field in msgspec.structs.fields(section.type)
    ]


def _explain(message: str) -> str:
    """Turn "Expected `int` >= 1 - at `$.nodes.max_nodes`" into a sentence that starts there."""
    what, _, where = message.partition(" - at `$")
    dotted = where.rstrip("`").lstrip(".")
    allowed = _allowed_words(dotted)
    if allowed:
        what = f"{what}: take one of {', '.join(allowed)}"
    what = what.replace("`object`", "a table").replace("`array`", "a list")
    return f"{dotted}: {what}" if dotted else what


def _allowed_words(dotted: str) -> tuple[str, ...]:
    """The words that a key with a fixed choice takes, or nothing."""
    expected: object = Config
    for name in dotted.split("."):
        struct = _struct_of(expected)
        fields = msgspec.structs.fields(struct) if struct is not None else ()
        expected = {field.name: field.type for field in fields}.get(name)
    return get_args(expected) if get_origin(expected) is Literal else ()


def configured_paths(
    config: Config,
    *,
    instance: str | None,
    state_dir: str | None,
    runtime_dir: str | None,
    environment: Mapping[str, str],
) -> InstancePaths:
    """Name everything of the instance: as a command line says, else as the configuration does.

    Raises PathError.
    """
    directories = config.directories
    return resolve_paths(
        instance or config.server.instance,
        state_dir=state_dir or directories.state_dir,
        runtime_dir=runtime_dir or directories.runtime_dir,
        environment=environment,
        user_id=os.geteuid(),
    )
