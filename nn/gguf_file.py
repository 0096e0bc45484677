"""The bytes of a GGUF file: named values, and named arrays, most of them quantized.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The library `gguf` (extra `gguf`) knows
the types of arrays and writes files. The header is read here: its reader takes ten seconds for a
vocabulary of 50,000 tokens.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .files import map_file, write_atomically

__all__ = ["KINDS", "Stored", "read_gguf", "write_gguf"]

KINDS = {"f32": 0, "f16": 1, "q8_0": 7}  # of files that are written: {name: general.file_type}
_CODES = "BbHhIif?__Qqd"  # the types of numbers, as `struct` calls them
_TEXT, _LIST = 8, 9
_SOME = 1 << 18  # numbers that are converted at once: they stay in the cache; whole blocks


def _library():
    try:
        import gguf
        import tokenizers  # noqa: F401  # which gguf_tokens.py needs
    except ImportError as error:
        raise ValueError(
            f"GGUF files need the library {error.name}: pip install gguf tokenizers"
        ) from None
    return gguf


@dataclass(frozen=True)
class Stored:
    """An array in a file."""

    path: Path | str
    data: np.ndarray  # the bytes of the file, mapped
    shape: tuple[int, ...]
    kind: Any  # a GGMLQuantizationType
    start: int
    end: int

    def numbers(self) -> np.ndarray:
        """The array in float32: the file itself, mapped, if it is of this type.

        Else some numbers after the other are read, so that little more than the result is held in
        memory.
        """
        if self.kind.name == "F32":
            array = self.data[self.start : self.end].view("<f4")
            return (array if array.flags.aligned else array.copy()).reshape(self.shape)
        library = _library()
        block, size = library.GGML_QUANT_SIZES[self.kind]
        out = np.empty(math.prod(self.shape), np.float32)
        with open(self.path, "rb") as file:
            file.seek(self.start)
            for first in range(0, out.size, _SOME):
                part = out[first : first + _SOME]
                raw = np.fromfile(file, np.uint8, part.size // block * size)
                part[:] = library.quants.dequantize(raw[None], self.kind)[0]  # as one long row
        return out.reshape(self.shape)


# ---------------------------------------------------------------- reading


def read_gguf(path: Path | str) -> tuple[dict[str, Any], dict[str, Stored]]:
    """The values and the arrays of a file. Raises ValueError if it is damaged, or another file."""
    library, data = _library(), map_file(path, "a GGUF file")
    if data[:4].tobytes() != b"GGUF":
        raise ValueError(f"{path} is not a GGUF file")
    version = int.from_bytes(data[4:8].tobytes(), "little")
    if version not in (2, 3):
        big = version and version % (1 << 16) == 0
        its = "is for big-endian machines" if big else f"is of version {version} of GGUF"
        raise ValueError(
            f"{path} {its}; versions 2 and 3 for little-endian machines are built: convert the "
            "model again"
        )
    try:
        values, infos, end = _Header(data.data).read()
        arrays = {}
        for name, (shape, kind, offset) in infos.items():
            kind = library.GGMLQuantizationType(kind)
            block, size = library.GGML_QUANT_SIZES[kind]
            if shape[-1] % block:
                raise ValueError(f"{name} has rows of {shape[-1]} numbers of type {kind.name}")
            align = values.get("general.alignment", 32)
            start = -(-end // align) * align + offset
            stop = start + math.prod(shape) // block * size
            arrays[name] = Stored(path, data, shape, kind, start, stop)
    except (struct.error, ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as e:
        raise ValueError(f"{path} is damaged: {e}") from e
    if short := [name for name, array in arrays.items() if array.end > len(data)]:
        raise ValueError(f"{path} is not all there, it ends before {short[0]}: copy it again")
    return values, arrays


class _Header:
    """Reads the header of a file from its bytes."""

    def __init__(self, raw):
        self.raw, self.at = raw, 8

    def read(self):
        """{name: value}, {name: (shape, type, offset)} of the arrays, and where the header ends."""
        arrays, values = self.number("Q"), self.number("Q")
        found = {self.text(): self.value(self.number("I")) for _ in range(values)}
        infos = {}
        for _ in range(arrays):
            name, sizes = self.text(), [self.number("Q") for _ in range(self.number("I"))]
            infos[name] = tuple(reversed(sizes)), self.number("I"), self.number("Q")
        return found, infos, self.at

    def number(self, code):
        (value,) = struct.unpack_from("<" + code, self.raw, self.at)
        self.at += struct.calcsize("<" + code)
        return value

    def text(self):
        start = self.at + 8
        self.at = start + struct.unpack_from("<Q", self.raw, self.at)[0]
        if self.at > len(self.raw):
            raise ValueError("a text goes beyond the end of the file")
        return str(self.raw[start : self.at], "utf-8")

    def value(self, kind):
        if kind == _TEXT:
            return self.text()
        if kind == _LIST:
            kind, count = self.number("I"), self.number("Q")
            if kind in (_TEXT, _LIST):
                return [self.value(kind) for _ in range(count)]
            found = np.frombuffer(self.raw, f"<{np.dtype(_CODES[kind]).str[1:]}", count, self.at)
            self.at += found.nbytes
            return found.tolist()
        value = self.number(_CODES[kind])
        # 1e-5 of float32 is 9.999999747378752e-06 here: the shortest number with its bits is meant.
        return float(str(np.float32(value))) if _CODES[kind] == "f" else value


# ---------------------------------------------------------------- writing


def write_gguf(
    path: Path | str, arch: str, values: Mapping[str, Any],
    arrays: Mapping[str, tuple[np.ndarray, np.ndarray | None]], kind: str,
) -> None:  # fmt: skip
    """Write a file of values and arrays; of each array the rows in an order, None: as they are.

    Matrices become float32 ("f32"), float16 ("f16") or numbers of 8 bits ("q8_0"), all else is
    float32. As in llama.cpp, rows that 32 does not divide are float16 in a file of 8 bits.
    """
    library = _library()
    types, value_types = library.GGMLQuantizationType, library.GGUFValueType

    def type_of(array):
        if kind == "f32" or array.ndim < 2:
            return types.F32
        return types.F16 if kind == "f16" or array.shape[-1] % 32 else types.Q8_0

    def write(temporary):
        writer = library.GGUFWriter(temporary, arch)
        try:
            for key, value in values.items():
                whole = type(value) is int  # llama.cpp wants these without a sign
                its_type = value_types.UINT32 if whole else value_types.get_type(value)
                writer.add_key_value(key, value, its_type)
            for name, (array, _) in arrays.items():
                block, size = library.GGML_QUANT_SIZES[its_type := type_of(array)]
                count = array.size // block * size
                writer.add_tensor_info(name, array.shape, array.dtype, count, its_type)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for name, (array, order) in arrays.items():
                rows = np.ascontiguousarray(array if order is None else array[order], np.float32)
                writer.write_tensor_data(_quantized(name, rows, type_of(array), kind))
        finally:
            writer.close()

    write_atomically(path, write)


def _quantized(name, rows, its_type, kind):
    """Rows of float32 as numbers of a type. Raises ValueError if some are too large for it."""
    try:
        with np.errstate(over="raise"):
            return _library().quants.quantize(rows, its_type)
    except FloatingPointError:
        raise ValueError(f"{name} has numbers too large for {kind}: take f32") from None
