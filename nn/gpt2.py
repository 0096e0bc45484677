"""Reads and writes GPT-2 folders of Hugging Face's: names of weights, and keys of config.json.

https://huggingface.co/docs/transformers/model_doc/gpt2. Matrices are [in, out] there as here,
except the head, which is [out, in] there. The caller passes a class Model(config, rng) whose config
has the fields of tinygpt.GPTConfig, and whose weights have the names of those of tinygpt.TinyGPT.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .files import read_json, save_model
from .folders import TOKENS, Family, load_folder

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
    """The model in a GPT-2 folder, or in one of save_gpt2 or save_model: see folders.load_folder.

    Raises ValueError naming the key of config.json or the weight that is wrong.
    """
    return load_folder(directory, model, config, _GPT2)


def _complete(made, arrays, own):
    """Biases: zeros where one is missing, and none where this model has none and it is zeros."""
    state = made.state_dict()
    for name in state:
        if name.endswith(".bias") and not own:
            arrays.setdefault(name, state[name])
    for name in gpt2_names(made.config.n_layer):
        if name.endswith(".bias") and name not in state and not np.any(arrays.get(name, 0)):
            arrays.pop(name, None)


def _fields(path, config):
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


_GPT2 = Family(
    ("gpt2",), _KEYS, "vocab_size block_size n_layer n_head n_embd d_ff", _fields,
    lambda config: gpt2_names(config.n_layer), "transformer.",
    r"\.attn\.(bias|masked_bias)$",  # masks that old files hold
    lambda name: name == "head.weight", _complete,
)  # fmt: skip


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
        **dict(zip(TOKENS, (first, end, None), strict=True)),
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
