"""Reads and writes GPT-2 folders of Hugging Face's: names of weights, and keys of config.json.

https://huggingface.co/docs/transformers/model_doc/gpt2. Matrices are [in, out] there as here,
except the head, which is [out, in] there. The caller passes a class Model(config, rng) whose config
has the fields of tinygpt.GPTConfig, and whose weights have the names of those of tinygpt.TinyGPT.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .files import check_seals, load_arrays, read_json, save_model

__all__ = ["gpt2_misfits", "gpt2_names", "load_gpt2", "save_gpt2"]

# {our name: GPT-2's, without the prefix "transformer." or, in block N, "transformer.h.N."}
_OUTSIDE = {
    "token_embedding.weight": "wte.weight",
    "position_embedding.weight": "wpe.weight",
    "norm.weight": "ln_f.weight",
    "norm.bias": "ln_f.bias",
}
_IN_A_BLOCK = {
    "norm1": "ln_1", "attention.qkv": "attn.c_attn", "attention.projection": "attn.c_proj",
    "norm2": "ln_2", "feed_forward.expand": "mlp.c_fc", "feed_forward.projection": "mlp.c_proj",
}  # fmt: skip
_HEAD = "lm_head.weight"
# {key of config.json: field of our config}
_KEYS = {
    "vocab_size": "vocab_size", "n_positions": "block_size", "n_layer": "n_layer",
    "n_head": "n_head", "n_embd": "n_embd", "n_inner": "d_ff", "activation_function": "activation",
    "layer_norm_epsilon": "eps", "scale_attn_weights": "scale_attention",
    "scale_attn_by_inverse_layer_idx": "scale_by_layer", "tie_word_embeddings": "tie_weights",
}  # fmt: skip
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")  # keys of special tokens
_ACTIVATIONS = {
    "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu_fast": "gelu", "gelu": "gelu_erf",
    "relu": "relu", "silu": "silu", "swish": "silu", "tanh": "tanh",
}  # fmt: skip


def gpt2_names(n_layer: int) -> dict[str, str]:
    """{our name: GPT-2's} of all weights that a model of n_layer blocks can have."""
    names = {ours: f"transformer.{theirs}" for ours, theirs in _OUTSIDE.items()}
    for n in range(n_layer):
        for ours, theirs in _IN_A_BLOCK.items():
            for kind in ("weight", "bias"):
                names[f"blocks.{n}.{ours}.{kind}"] = f"transformer.h.{n}.{theirs}.{kind}"
    return {**names, "head.weight": _HEAD}


# ---------------------------------------------------------------- reading


def load_gpt2(directory: Path | str, model: Callable[[Any, None], Any], config: type) -> Any:
    """The model in a GPT-2 folder, made by model(config(...), None), in evaluation mode.

    It also opens folders of save_gpt2 and save_model. Float32 weights are mapped, not copied.
    Raises ValueError naming the key of config.json or the weight that is wrong.
    """
    directory = Path(directory)
    path = directory / "config.json"
    content = read_json(path)
    arrays, header = _arrays(directory)
    check_seals(directory, header)
    own = content.get("tinygpt")  # all fields of the config, if it was written here
    if own and "seals" not in header and content.get("model_type") == "gpt2":
        own = None  # another program, which knows only its own keys, wrote it later
    fields = _made(path, config, own or _fields(path))
    if not own:
        _check_sizes(path, fields, arrays)
    # If it was written here, config.json also names those of the tokenizer, which knows them.
    named = (own.get("token_ids") or {}) if own else content
    fields.token_ids = _token_ids(directory, named, fields) or None
    arrays = _renamed(directory, arrays, gpt2_names(fields.n_layer))
    if fields.tie_weights:
        _tie(arrays, fields)
    made = model(fields, None)
    state, names = made.state_dict(), gpt2_names(fields.n_layer)
    for name in state:  # a bias that is missing is zeros
        if name.endswith(".bias") and not own:
            arrays.setdefault(name, state[name])
    for name in [n for n in names if n.endswith(".bias") and n not in state]:
        if not np.any(arrays.get(name, 0)):  # zeros that GPT-2 has where this model has no bias
            arrays.pop(name, None)
    try:
        made.load_state_dict(arrays, assign=True)
    except ValueError as error:
        text = str(error)
        for ours, theirs in names.items():
            text = text.replace(f" {ours} ", f" {theirs} ")
        raise ValueError(f"{directory}: {text}") from error
    return made.eval()


def _made(path, config, fields):
    """config(**fields). Raises ValueError naming the file and its key if a field is wrong."""
    try:
        return config(**fields)
    except TypeError as error:
        raise ValueError(f"{path} is damaged ({error})") from error
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        theirs = {ours: key for key, ours in _KEYS.items()}
        raise ValueError(f"{path}: {theirs.get(name, name)} {rest}") from error


def _fields(path):
    """The fields of a GPTConfig from a config.json, except dropout, which each training chooses.

    Raises ValueError naming a key that is missing, or whose value is not supported here.
    """
    config = read_json(path, "vocab_size n_embd n_layer n_head")
    if config.get("model_type", "gpt2") != "gpt2":
        raise ValueError(f"{path}: model_type is {config['model_type']!r}, only gpt2 is known here")
    if config.get("add_cross_attention"):
        raise ValueError(f"{path}: add_cross_attention is not built here, only decoders are")
    config.setdefault("n_positions", config.get("n_ctx"))
    if config["n_positions"] is None:
        raise ValueError(f"{path} has no n_positions, the longest context")
    activation = config.get("activation_function", "gelu_new")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise ValueError(
            f"{path}: activation_function {activation!r} is not one of {', '.join(_ACTIVATIONS)}"
        )
    config["activation_function"] = _ACTIVATIONS[activation]
    return {"bias": True, **{ours: config[key] for key, ours in _KEYS.items() if key in config}}


def _check_sizes(path, fields, arrays):
    """Raise ValueError for a size far beyond the weights: making such a model may take for ever."""
    entries = sum(array.size for array in arrays.values())
    for key, ours in _KEYS.items():
        size = getattr(fields, ours)
        if key.startswith(("vocab_size", "n_")) and size * fields.n_layer > 4 * entries + (1 << 20):
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
    for key in _TOKENS:
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


def _renamed(directory, arrays, names):
    """{our name: array} of arrays under the names of GPT-2; an unknown name stays.

    The prefix "transformer." may be missing. The masks that old files hold (attn.bias and
    attn.masked_bias) are left out.
    """
    ours = {theirs: name for name, theirs in names.items()}
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if re.search(r"\.attn\.(bias|masked_bias)$", name):
            continue
        full = name if name in ours else f"transformer.{name}"
        new = ours.get(full, name)
        if new in found:
            raise ValueError(f"{directory}: the weights have {full} twice, also without its prefix")
        found[new] = array.T if full == _HEAD else array
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


# ---------------------------------------------------------------- writing


def gpt2_misfits(config: Any) -> list[str]:
    """Why a model of this GPTConfig cannot be a GPT-2: reasons in words, none if it can."""
    misfits = []
    if not config.norm_first:
        misfits.append("norm_first is false: GPT-2 normalizes before each layer")
    if config.positions != "learned":
        misfits.append(f"positions are {config.positions}: GPT-2's are learned")
    return misfits


def save_gpt2(directory: Path | str, model: Any, tokenizer: Any = None, notes: Any = None) -> None:
    """Write a folder that load_gpt2 and Hugging Face's GPT2LMHeadModel can open.

    Raises ValueError naming what this model has and GPT-2 does not.
    """
    if misfits := gpt2_misfits(model.config):
        raise ValueError(f"this model cannot be a GPT-2: {'; '.join(misfits)}")
    config = _config(model.config, tokenizer)
    arrays = _gpt2_arrays(model.state_dict(), model.config.n_layer)
    save_model(directory, model, tokenizer, notes, config, arrays)


def _config(config, tokenizer):
    """The config.json of a GPTConfig. Special tokens that nobody has named are null."""
    theirs = {ours: name for name, ours in reversed(_ACTIVATIONS.items())}
    first, end = (tokenizer.separator, tokenizer.stop) if tokenizer else (None, None)
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        **{key: getattr(config, ours) for key, ours in _KEYS.items()},
        "activation_function": theirs[config.activation],
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        **dict(zip(_TOKENS, (first, end, None), strict=True)),
        **(config.token_ids or {}),
    }


def _gpt2_arrays(state: Mapping[str, np.ndarray], n_layer: int) -> dict[str, np.ndarray]:
    """{GPT-2's name: array} of a state_dict, with zeros for biases that it does not have."""
    arrays = {}
    for ours, theirs in gpt2_names(n_layer).items():
        if ours in state:
            arrays[theirs] = state[ours].T if theirs == _HEAD else state[ours]
        elif ours.endswith(".bias"):
            arrays[theirs] = np.zeros(state[f"{ours[:-4]}weight"].shape[-1], np.float32)
    return arrays
