"""Files that a crash cannot spoil: arrays in safetensors files, JSON, the folder of a model.

A new file is complete before it takes the place of the old one. A file that was written with a
checksum is compared with it when it is read.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "check_seals", "checksum", "load_arrays", "load_model", "locked", "map_file", "read_json",
    "save_arrays", "save_model", "write_atomically", "write_json",
]  # fmt: skip


def write_atomically(path: Path | str, write: Callable[[str], object]) -> None:
    """Call write(name) on a temporary file beside `path`, then rename it to `path`.

    Folders that are missing are made. The file and its new name are forced to the disk: after a
    power cut there is the old file or the new one. Raises OSError if it cannot be written; then the
    old file stays as it was.
    """
    path, temporary = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
        os.close(handle)
        write(temporary)
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        _force(temporary, os.O_RDWR)  # Windows forces only what may be written
        os.replace(temporary, path)
        if os.name == "posix":  # elsewhere a folder cannot be opened
            _force(path.parent, os.O_RDONLY)
    except BaseException as error:
        if temporary:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        if isinstance(error, FileExistsError):
            raise OSError(f"cannot write {path}: {path.parent} is a file, not a folder") from error
        if isinstance(error, OSError):
            raise OSError(f"cannot write {path}: {error.strerror or error}") from error
        raise


def _force(path, access):
    handle = os.open(path, access)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(directory: Path | str) -> Iterator[None]:
    """Make a directory and hold its lock; ValueError if another process holds it.

    The lock also ends with the process, even if that is killed. Half-written files that a killed
    process left are removed.
    """
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = open(directory / ".lock", "w")  # noqa: SIM115  # closed, and so unlocked, below
    except OSError as error:
        raise OSError(f"cannot write to the directory {directory}: {error.strerror}") from error
    with file:
        try:
            import fcntl
        except ImportError:  # not on Windows: nothing stops a second process there
            pass
        else:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(
                    f"another process is at work in {directory}: wait for its end, or choose "
                    "another directory"
                ) from error
        for path in directory.glob(".*.tmp"):
            path.unlink()
        yield


# ---------------------------------------------------------------- arrays

_DTYPES = {np.dtype(bool): "BOOL"} | {
    np.dtype(f"<{code}"): f"{code[0].upper()}{8 * int(code[1])}"  # "<f4": F32
    for code in "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8".split()
}
_KINDS = {name: dtype for dtype, name in _DTYPES.items()}


def save_arrays(
    path: Path | str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays, and strings in the header, to a safetensors file with a checksum.

    Equal arrays and strings make equal files. Raises TypeError for a dtype that the format does
    not have. The format: github.com/huggingface/safetensors.
    """
    arrays = {name: np.asarray(array) for name, array in sorted(arrays.items())}
    metadata = {"format": "pt", **(metadata or {})}  # an entry that other readers ask for
    _check_types(arrays, metadata)
    metadata["checksum"] = _checksum_of_arrays(arrays, metadata)
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        dtype = _DTYPES[array.dtype]
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)

    def write(name):
        with open(name, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for array in arrays.values():
                file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    write_atomically(path, write)


def _check_types(arrays, metadata):
    """Raise TypeError for a dtype, or an entry of the header, that the format does not have."""
    for name, array in arrays.items():
        if array.dtype not in _DTYPES:
            raise TypeError(f"cannot save {name} of dtype {array.dtype}: convert it with .astype")
    for name, value in metadata.items():
        if not isinstance(value, str):
            raise TypeError(f"cannot save {name} in the header: expected a string, got {value!r}")


def map_file(path: Path | str, kind: str) -> np.ndarray:
    """The bytes of a file, mapped into memory; writing to them does not change the file.

    `kind` is what it should be, for a message. Raises ValueError if it cannot be read.
    """
    try:
        return np.memmap(path, np.uint8, "c").view(np.ndarray)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError:  # nothing can be mapped
        raise ValueError(f"{path} is damaged, or not {kind}: it is empty") from None


def load_arrays(
    path: Path | str, sealed: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the header of a safetensors file; bfloat16 becomes float32.

    The arrays are the file itself, mapped into memory, so that opening it copies nothing; writing
    to an array does not change the file. A program that writes into the file meanwhile, as `cp`
    does, changes them; one that replaces it, as save_arrays does, does not. Raises ValueError if it
    is not a safetensors file, if its checksum does not fit, or if it has no checksum but must be
    `sealed`.
    """
    raw = map_file(path, "a safetensors file")
    try:
        arrays, metadata = _parsed(raw)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged, or not a safetensors file ({error})") from error
    seal = metadata.pop("checksum", None)
    if (seal or sealed) and seal != _checksum_of_arrays(arrays, metadata):
        what = "is not what was written: it was damaged since" if seal else "has no checksum"
        raise ValueError(f"{path} {what}; take a copy of it, or train again")
    return arrays, metadata


def _parsed(raw):
    """The arrays and the __metadata__ in the bytes of a safetensors file."""
    size = int.from_bytes(raw[:8].tobytes(), "little")
    if size > len(raw) - 8:
        raise ValueError(f"a header of {size} bytes in a file of {len(raw)}")
    header = json.loads(raw[8 : 8 + size].tobytes())
    metadata = dict(header.pop("__metadata__", {}))
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its __metadata__ may hold strings only")
    data, end = raw[8 + size :], 0
    arrays = {}
    for name, entry in header.items():
        arrays[name] = _entry(name, data, **entry)
        end = max(end, entry["data_offsets"][1])
    if end != len(data):
        raise ValueError(f"{len(data)} bytes of data, and {end} in the header")
    return arrays, metadata


def _entry(name, data, dtype, shape, data_offsets):
    """One array of a file, from its entry in the header."""
    begin, end = data_offsets
    kind = np.dtype("<u2") if dtype == "BF16" else _KINDS.get(dtype)
    if kind is None:
        raise ValueError(f"{name} has dtype {dtype}, which NumPy has no type for")
    if not 0 <= begin <= end <= len(data) or end - begin != math.prod(shape) * kind.itemsize:
        raise ValueError(f"{name} of shape {shape} and dtype {dtype} is not all there")
    array = data[begin:end].view(kind)
    if dtype == "BF16":  # the upper half of a float32
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return (array if array.flags.aligned else array.copy()).reshape(shape)


def _checksum_of_arrays(arrays, header):
    """A CRC of names, dtypes, shapes and bytes, and of the header, in hexadecimal."""
    value = zlib.crc32(json.dumps(sorted(header.items())).encode())
    for name, array in sorted(arrays.items()):
        value = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), value)
        value = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, value)
    return f"{value:08x}"


# ---------------------------------------------------------------- JSON


def write_json(path: Path | str, content: Mapping[str, Any]) -> None:
    """Write a mapping as a JSON file."""
    text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    write_atomically(path, lambda name: Path(name).write_text(text, "utf-8", "surrogatepass"))


def read_json(path: Path | str, names: str = "") -> dict[str, Any]:
    """The object in a JSON file. Raises ValueError if it is missing, or lacks one of `names`."""
    try:
        content = json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        raise ValueError(f"{path} is damaged, or not a JSON file ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged, or of another program: no object is in it")
    missing = [name for name in names.split() if name not in content]
    if missing:
        raise ValueError(f"{path} is damaged, or of another program: no {', '.join(missing)} in it")
    return content


# ---------------------------------------------------------------- the folder of a model


def checksum(path: Path | str) -> int:
    """The CRC of a file. Raises ValueError if it cannot be read."""
    value = 0
    try:
        with open(path, "rb") as file:
            while data := file.read(1 << 20):
                value = zlib.crc32(data, value)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    return value


def save_model(
    directory: Path | str,
    model: Any,
    tokenizer: Any = None,
    notes: Any = None,
    config: Mapping[str, Any] | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write config.json, the tokenizer, and model.safetensors, with checksums of all three in it.

    `model.config` is a dataclass. `config` and `arrays` are for other programs: keys that
    config.json gets beside ours, and the weights under the names that those programs expect.
    """
    directory = Path(directory)
    theirs = {"model_type": "tinygpt"} if config is None else config
    write_json(directory / "config.json", {**theirs, "tinygpt": asdict(model.config)})
    files = [directory / "config.json", *([tokenizer.save(directory)] if tokenizer else [])]
    header = {"seals": json.dumps({path.name: checksum(path) for path in files})}
    header["notes"] = json.dumps(notes)
    arrays = model.state_dict() if arrays is None else arrays
    save_arrays(directory / "model.safetensors", arrays, header)


def load_model(directory: Path | str, model: Callable[[Any, None], Any], config: type) -> Any:
    """A model from a folder of save_model, made by model(config(...), None), in evaluation mode.

    Its weights are mapped, not copied. Raises ValueError naming the wrong file or weight.
    """
    directory = Path(directory)
    fields = read_json(directory / "config.json", "tinygpt")["tinygpt"]
    arrays, header = load_arrays(directory / "model.safetensors")
    check_seals(directory, header)
    try:
        made = model(config(**fields), None)
        made.load_state_dict(arrays, assign=True)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the model in {directory} cannot be opened: {error}") from error
    return made.eval()


def check_seals(directory: Path | str, header: Mapping[str, str]) -> None:
    """Raises ValueError naming a file that has changed since model.safetensors was written."""
    directory = Path(directory)
    try:
        seals = dict(json.loads(header.get("seals", "{}")))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"the seals in model.safetensors of {directory} are damaged") from error
    for name, seal in seals.items():
        if checksum(directory / name) != seal:
            raise ValueError(
                f"{directory / name} was changed or damaged since model.safetensors was written"
            )
