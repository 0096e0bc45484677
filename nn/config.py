"""Options as dataclasses: fields with a help text for the command line, and their checks."""

from __future__ import annotations

import math
import typing
from dataclasses import field
from typing import Any, Literal, get_args, get_origin

__all__ = ["choices", "option", "require"]


def option(default: Any, help: str) -> Any:
    """A field of a dataclass with a default and a help text; a command line makes it a flag.

    >>> from dataclasses import dataclass, fields
    >>> @dataclass
    ... class Oven:
    ...     degrees: float = option(180.0, "how hot")
    >>> Oven().degrees, fields(Oven)[0].metadata["help"]
    (180.0, 'how hot')
    """
    return field(default=default, metadata={"help": help})


def require(config: Any, names: str, low: float, below: float = math.inf) -> None:
    """Raise ValueError unless all fields in `names` are numbers in [low, below).

    Also checks every field whose type is a Literal: it must have one of the values listed there.
    """
    for name in names.split():
        value = getattr(config, name)
        if not isinstance(value, (int, float)):
            raise ValueError(f"{name} must be a number, got {value!r}")
        if not low <= value < below:  # refuses nan, too
            limit = f"below {below}" if below < math.inf else "finite"
            raise ValueError(f"{name} must be at least {low} and {limit}, got {value}")
    for name, kind in typing.get_type_hints(type(config)).items():
        if (allowed := choices(kind)) and getattr(config, name) not in allowed:
            either = " or ".join(map(str, allowed))
            raise ValueError(f"{name} must be {either}, got {getattr(config, name)!r}")


def choices(kind: Any) -> tuple[Any, ...]:
    """The values of a Literal type; an empty tuple for any other type."""
    return get_args(kind) if get_origin(kind) is Literal else ()
