"""Options as dataclasses: fields with a help text for the command line, and their checks."""

from __future__ import annotations

import math
import numbers
import sys
import types
import typing
from dataclasses import field, fields
from typing import Any, Literal, get_args, get_origin

import numpy as np

__all__ = ["check_types", "choices", "option", "require"]


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

    Also checks the types of all fields, see check_types.
    """
    check_types(config)
    for name in names.split():
        value = getattr(config, name)
        if not isinstance(value, (int, float)):
            raise ValueError(f"{name} must be a number, got {value!r}")
        if not low <= value < below:  # refuses nan, too
            limit = f"below {below}" if below < math.inf else "finite"
            raise ValueError(f"{name} must be at least {low} and {limit}, got {value}")


def check_types(config: Any) -> None:
    """Raise ValueError unless every field of a dataclass holds a value of its type.

    The same number of another type becomes one of Python's: 12.0 and np.int64(12) become 12. A
    field may also hold its default, and one whose type is a Literal only a value listed there.
    """
    hints = typing.get_type_hints(type(config))
    for this in fields(config):
        value = getattr(config, this.name)
        if value is not this.default:
            object.__setattr__(config, this.name, _typed(this.name, value, hints[this.name]))


def _typed(name, value, kind):
    """A value as a bool, an int or a float, if `kind` is such a type; else as it is."""
    allowed, several = choices(kind), get_origin(kind) in (typing.Union, types.UnionType)
    kinds = (set(get_args(kind)) if several else {kind}) - {type(None)}
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if isinstance(value, int) and abs(value) > sys.float_info.max:  # JSON can hold such a one
        number = False
    if allowed:
        if not isinstance(value, tuple(map(type, allowed))) or value not in allowed:
            raise ValueError(f"{name} must be {' or '.join(map(str, allowed))}, got {value!r:.60}")
    elif kinds == {bool}:
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"{name} must be true or false, got {value!r:.60}")
        return bool(value)
    elif kinds == {int}:
        if not number or value % 1 != 0:  # inf % 1 is nan
            raise ValueError(f"{name} must be a whole number, got {value!r:.60}")
        return int(value)
    elif kinds and kinds <= {int, float}:
        if not number:
            raise ValueError(f"{name} must be a number, got {value!r:.60}")
        return value if type(value) in (int, float) else float(value)
    return value


def choices(kind: Any) -> tuple[Any, ...]:
    """The values of a Literal type; an empty tuple for any other type."""
    return get_args(kind) if get_origin(kind) is Literal else ()
