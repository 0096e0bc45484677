"""Several classes of models as one Architecture: the field `arch` of a config says whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields, make_dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

from ..config import option
from ..files import read_json
from .command import select
from .contract import Architecture

__all__ = ["all_options", "several"]


def several(architectures: Mapping[str, Architecture], default: str) -> Architecture:
    """An Architecture that stands for all of these; new models are of `default` if none is named.

    Each is under the value that the field `arch` of its configs has. Files without that field are
    of the first: they were written before there were others.
    """
    first = next(iter(architectures))

    def configure(arch: str = first, **options: Any) -> Any:
        config = architectures[arch].config
        if others := sorted(options.keys() - select(options, config).keys()):
            able = [n for n, a in architectures.items() if select(options, a.config) == options]
            instead = f", or take --arch {able[0]}" if able else ""
            raise ValueError(f"--arch {arch} has no {', '.join(others)}: leave it out{instead}")
        return config(**options)

    def load(directory: Path) -> Any:
        arch = _arch_of(directory / "config.json", architectures, first)
        return architectures[arch].open(directory)

    return Architecture(
        lambda config, rng: architectures[config.arch].model(config, rng),
        configure,
        lambda folder, model, *more: architectures[model.config.arch].save(folder, model, *more),
        load,
        lambda config, checkpointing: architectures[config.arch].kept(config, checkpointing),
        next((a.load_file for a in architectures.values() if a.load_file), None),
        defaults={"arch": default},
    )


def _arch_of(path, architectures, first):
    """Whose model is described by a config.json. Raises ValueError if it is of none."""
    content = read_json(path)
    if isinstance(own := content.get("tinygpt"), dict):
        arch, known = own.get("arch", first), list(architectures)
        if arch in known:
            return arch
        raise ValueError(f"{path}: arch is {arch!r}, and not one of {', '.join(known)}")
    types = {kind: arch for arch, a in architectures.items() for kind in a.types}
    kind = content.get("model_type", next(iter(types)))
    if kind not in types:
        raise ValueError(
            f"{path}: the model is of the family {kind!r}, which is not built here; built are "
            f"{', '.join(types)}"
        )
    return types[kind]


def all_options(architectures: Mapping[str, Architecture], default: str) -> type:
    """A dataclass with the options of all configs, and `arch`, for the command line."""
    found: dict[str, Any] = {}
    for architecture in architectures.values():
        hints = get_type_hints(architecture.config)
        for one in fields(architecture.config):
            its = field(default=one.default, metadata=one.metadata)
            found.setdefault(one.name, (one.name, hints[one.name], its))
    names = Literal[tuple(architectures)]  # type: ignore[valid-type]
    found["arch"] = ("arch", names, option(default, "the class of models"))
    return make_dataclass("Options", found.values(), kw_only=True)
