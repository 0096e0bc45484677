"""Folders of models as Hugging Face's transformers has them, whatever the family of the model.

A folder has config.json, the weights in one or several safetensors files, and the files of a
tokenizer. What differs from family to family is a `Family`: gpt2.py and llama_files.py have one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .files import check_seals, load_arrays, read_json

__all__ = ["TOKENS", "Family", "load_folder"]

TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")  # keys of special tokens


@dataclass(frozen=True)
class Family:
    """How the folders of a family differ from ours."""

    types: tuple[str, ...]  # its values of model_type
    keys: Mapping[str, str]  # {key of config.json: field of our config}
    sizes: str  # the fields that say how large the weights are
    fields: Callable[[Path, dict[str, Any]], dict[str, Any]]  # of our config, from a config.json
    names: Callable[[Any], dict[str, str]]  # {our name: theirs} of the weights of a config
    prefix: str  # of their names, which may be missing
    ignored: str  # a pattern of their names that old files have and nobody needs
    transposed: Callable[[str], bool]  # whether they have the weight of this name as [out, in]
    complete: Callable[[Any, dict[str, Any], bool], None] | None = None  # what may be missing


def load_folder(
    directory: Path | str, model: Callable[[Any, None], Any], config: type, family: Family
) -> Any:
    """The model in a folder of a family, made by model(config(...), None), in evaluation mode.

    It also opens folders that were written here. Float32 weights are mapped, not copied. Raises
    ValueError naming the key of config.json or the weight that is wrong.
    """
    directory = Path(directory)
    path = directory / "config.json"
    content = read_json(path)
    arrays, header = _arrays(directory)
    check_seals(directory, header)
    own = content.get("tinygpt")  # all fields of the config, if it was written here
    if own and "seals" not in header and content.get("model_type") in family.types:
        own = None  # another program, which knows only its own keys, wrote it later
    fields = _config(path, config, own or family.fields(path, content), family.keys)
    if not own:
        _check_sizes(path, fields, family, arrays)
    # If it was written here, config.json also names those of the tokenizer, which knows them.
    named = (own.get("token_ids") or {}) if own else content
    fields.token_ids = _token_ids(directory, named, fields) or None
    names = family.names(fields)
    arrays = _renamed(directory, arrays, names, family)
    if fields.tie_weights:
        _tie(arrays, fields)
    made = model(fields, None)
    if family.complete:
        family.complete(made, arrays, bool(own))
    try:
        made.load_state_dict(arrays, assign=True)
    except ValueError as error:
        text = str(error)
        for ours, theirs in names.items():
            text = text.replace(f" {ours} ", f" {theirs} ")
        raise ValueError(f"{directory}: {text}") from error
    return made.eval()


def _config(path, config, fields, keys):
    """config(**fields). Raises ValueError naming the file and its key if a field is wrong."""
    try:
        return config(**fields)
    except TypeError as error:
        raise ValueError(f"{path} is damaged ({error})") from error
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        theirs = {ours: key for key, ours in keys.items()}
        raise ValueError(f"{path}: {theirs.get(name, name)} {rest}") from error


def _check_sizes(path, fields, family, arrays):
    """Raise ValueError for a size far beyond the weights: making such a model may take for ever."""
    entries = sum(array.size for array in arrays.values())
    for key, ours in family.keys.items():
        size = getattr(fields, ours)
        if ours in family.sizes.split() and size * fields.n_layer > 4 * entries + (1 << 20):
            raise ValueError(
                f"{path}: {key} is {size}, n_layer {fields.n_layer}, and the weights beside it "
                f"have only {entries:,} entries"
            )


def _token_ids(directory, config, fields):
    """{key: id, list of ids, or None} of the special tokens, from the two files that name them.

    As in transformers, generation_config.json is asked first. Ids outside the vocabulary, which are
    never drawn, are left out: they are often GPT-2's, in the config.json of a smaller model.
    """
    path, found = directory / "generation_config.json", {}
    generation = read_json(path) if path.exists() else {}
    for key in TOKENS:
        where, content = ("config.json", config)
        if key in generation:
            where, content = path.name, generation
        if key not in content:
            continue
        value = content[key]
        ids = value if isinstance(value, list) else [] if value is None else [value]
        if not all(type(i) in (int, float) and i % 1 == 0 for i in ids):
            raise ValueError(
                f"{directory / where}: {key} must be the id of a token, a list of ids or null, "
                f"got {value!r}"
            )
        known = [int(i) for i in ids if 0 <= i < fields.vocab_size]
        if known or not ids:
            found[key] = None if not ids else known[0] if len(known) == 1 else known
    return found


def _arrays(directory):
    """{name: array} of model.safetensors, or of the files its index lists; and its header."""
    arrays: dict[str, np.ndarray] = {}
    header: dict[str, str] = {}
    for path in _weight_files(directory):
        part, header = load_arrays(path)
        if twice := arrays.keys() & part.keys():
            raise ValueError(f"{path} holds {', '.join(sorted(twice))}, as a file before it does")
        arrays |= part
    return arrays, header


def _weight_files(directory):
    single, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if single.exists():
        return [single]
    if index.exists():
        parts = read_json(index, "weight_map")["weight_map"]
        names: list[Any] = list(parts.values()) if isinstance(parts, dict) else [None]
        if not all(type(name) is str for name in names):
            raise ValueError(f"{index} is damaged: its weight_map must give each weight a file")
        return [directory / name for name in sorted(set(names))]
    others = sorted(path.name for path in directory.glob("*.bin"))
    if others:
        raise ValueError(
            f"{directory} has {others[0]}, a pickle, which can run any code when it is read: save "
            "it as model.safetensors"
        )
    raise ValueError(f"there is no model.safetensors in {directory}")


def _renamed(directory, arrays, names, family):
    """{our name: array, as we have it} of arrays under the names of a family; unknown ones stay."""
    ours = {theirs: name for name, theirs in names.items()}
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if re.search(family.ignored, name):
            continue
        full = name if name in ours else family.prefix + name
        new = ours.get(full, name)
        if new in found:
            raise ValueError(f"{directory}: the weights have {full} twice, also without its prefix")
        found[new] = array.T if new in names and family.transposed(new) else array
    return found


def _tie(arrays, fields):
    """Take one table for the embedding and the head, whichever is there, unless the two differ."""
    table, head = (arrays.get(f"{name}.weight") for name in ("token_embedding", "head"))
    if head is None:
        return
    if table is None:
        arrays["token_embedding.weight"] = head.T
    elif table.shape != head.T.shape or not np.array_equal(table, head.T, equal_nan=True):
        fields.tie_weights = False  # as transformers does: each is used
        return
    del arrays["head.weight"]
