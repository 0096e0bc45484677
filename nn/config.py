"""Dataclasses of options: each field checked, and with its help beside it for a command line."""

from __future__ import annotations

import math
import typing
from dataclasses import field
from typing import Any, Literal, get_args, get_origin

__all__ = ["choices", "option", "require"]


def option(default: Any, help: str) -> Any:
    """A field of a dataclass with a default and a help text: it gets a flag of its name.

    >>> from dataclasses import dataclass, fields
    >>> @dataclass
    ... class Oven:
    ...     degrees: float = option(180.0, "how hot")
    >>> Oven().degrees, fields(Oven)[0].metadata["help"]
    (180.0, 'how hot')
    """
    return field(default=default, metadata={"help": help})


def require(config: Any, names: str, low: float, below: float = math.inf) -> None:
    """Raise ValueError naming the field unless all `names` are numbers with low <= field < below.

    The fields whose type is a Literal are checked too: each must be one of its values.
    """
    for name in names.split():
        value = getattr(config, name)
        if not isinstance(value, (int, float)):
            raise ValueError(f"{name} must be a number, got {value!r}")
        if not low <= value < below:  # nan is not
            limit = f"below {below}" if below < math.inf else "finite"
            raise ValueError(f"{name} must be at least {low} and {limit}, got {value}")
    for name, kind in typing.get_type_hints(type(config)).items():
        if (allowed := choices(kind)) and getattr(config, name) not in allowed:
            either = " or ".join(map(str, allowed))
            raise ValueError(f"{name} must be {either}, got {getattr(config, name)!r}")


def choices(kind: Any) -> tuple[Any, ...]:
    """The values of a Literal type; none of another type."""
    return get_args(kind) if get_origin(kind) is Literal else ()
