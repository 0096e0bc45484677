"""Models of Llama's family in GGUF files, which llama.cpp and Ollama run, in and out.

Matrices are [out, in] there and [in, out] here. The caller passes a class Model(config, rng) and
its config, with the names and fields of nn.llama. Next to read: gguf_file.py, the bytes, and
gguf_tokens.py, the tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .gguf_file import KINDS, read_gguf, write_gguf
from .gguf_tokens import CONTROL, read_tokenizer, tokenizer_values
from .llama_files import transposed, weight_names

__all__ = ["load_gguf", "save_gguf"]

_BUILT = ("llama", "qwen2", "qwen3")  # architectures; Mistral's models are llama in these files
# {name of a value, without the architecture before it: field of our config}
_KEYS = {
    "context_length": "block_size", "block_count": "n_layer", "embedding_length": "n_embd",
    "feed_forward_length": "d_ff", "attention.head_count": "n_head",
    "attention.layer_norm_rms_epsilon": "eps", "attention.head_count_kv": "n_kv_head",
    "attention.key_length": "head_dim", "rope.freq_base": "rope_theta",
}  # fmt: skip
_NEEDED = [*_KEYS][:6]
# Other values that are looked at, or that change nothing. The rest must be 0, false or empty.
_KNOWN = (
    "attention.value_length attention.sliding_window attention.causal rope.dimension_count "
    "rope.scaling.type rope.scaling.factor rope.scaling.finetuned "
    "rope.scaling.original_context_length vocab_size tensor_data_layout"
).split()
_OUTSIDE = {
    "token_embedding.weight": "token_embd.weight", "norm.weight": "output_norm.weight",
    "head.weight": "output.weight",
}  # fmt: skip
_IN_A_BLOCK = {
    "norm1": "attn_norm", "norm2": "ffn_norm",
    **{f"attention.{x}": f"attn_{x}" for x in ("q", "k", "v", "output", "q_norm", "k_norm")},
    **{f"feed_forward.{x}": f"ffn_{x}" for x in ("gate", "up", "down")},
}  # fmt: skip
_FACTORS = "rope_freqs.weight"  # by what the turn of each pair of channels is divided
_LLAMA3 = {  # the scaling of Llama 3.1, 3.2 and 3.3, beside its factor: a file has only its effect
    "rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip
# {key of token_ids: names of the values that hold such a token}
_TOKENS = {
    "bos_token_id": ["bos_token_id"],
    "eos_token_id": ["eos_token_id", "eot_token_id", "eom_token_id"],
    "pad_token_id": ["padding_token_id"],
}
_ENDS = ("<|eot_id|>", "<|im_end|>", "<|eom_id|>")  # end a turn, though old files do not say so


def _names(n_layer):
    return weight_names(_OUTSIDE, _IN_A_BLOCK, "blk", n_layer)


def _order(name, arch, config):
    """Which row of ours each row of the file is, or None if they are the same.

    In queries and keys of a `llama` two channels that turn together are neighbours. Here, and in
    all other files, they are half a head apart.
    """
    heads = {"q": config.n_head, "k": config.n_kv_head}.get(name.split(".")[-2])
    if arch != "llama" or heads is None:
        return None
    return np.arange(heads * config.head_dim).reshape(heads, 2, -1).swapaxes(1, 2).ravel()


# ---------------------------------------------------------------- reading


def load_gguf(
    path: Path | str, model: Callable[[Any, None], Any], config: type
) -> tuple[Any, Any]:
    """The model of a file, and its tokenizer.

    The model is made by model(config(...), None), in evaluation mode, with float32 weights. The
    tokenizer is one of the library `tokenizers`. Raises ValueError naming what is wrong in the file
    or not built here.
    """
    values, stored = read_gguf(path)
    try:
        tokenizer = read_tokenizer(values)
        fields = _config(values, stored, config)
        made, arch = model(fields, None), values["general.architecture"]
        names = _names(fields.n_layer)
        _check(made, names, stored)
        arrays = {}
        for ours in made.state_dict():
            array, order = stored[names[ours]].numbers(), _order(ours, arch, fields)
            array = array if order is None else array[np.argsort(order)]
            arrays[ours] = array.T if transposed(ours) else array
        made.load_state_dict(arrays, assign=True)
    except (ValueError, NotImplementedError) as error:  # the latter for a type of numbers
        raise ValueError(f"cannot open {path}: {error}") from error
    return made.eval(), tokenizer


def _config(values, stored, config):
    """The config of a file's model. Raises ValueError for what would change it and is not built."""
    arch = values.get("general.architecture")
    if arch not in _BUILT:
        raise ValueError(f"its architecture is {arch!r}; built are {', '.join(_BUILT)}")
    own = {k[len(arch) + 1 :]: v for k, v in values.items() if k.startswith(f"{arch}.")}
    if values.get("split.count", 1) > 1:
        raise ValueError(
            f"it is one of {values['split.count']} parts: join them with llama-gguf-split --merge"
        )
    if missing := [key for key in _NEEDED if key not in own]:
        raise ValueError(f"it has no {', '.join(f'{arch}.{key}' for key in missing)}")
    if "token_embd.weight" not in stored:
        raise ValueError("it has no token_embd.weight: no model, or only a part of one, is in it")
    tokens, rows = len(values["tokenizer.ggml.tokens"]), stored["token_embd.weight"].shape[0]
    if tokens > rows:
        raise ValueError(f"it has {tokens} tokens, and token_embd.weight only {rows} rows")
    most = max(math.prod(array.shape) for array in stored.values())
    for key, value in own.items():
        if value and key not in (*_KEYS, *_KNOWN):
            raise ValueError(f"{arch}.{key} is {value!r:.60}, which is not built")
        if key in _KEYS and key != "context_length" and type(value) is int and value > most:
            raise ValueError(f"{arch}.{key} is {value}, and no array has more than {most} numbers")
    given = {ours: own[key] for key, ours in _KEYS.items() if key in own}
    fields = {"rope_theta": 10_000.0, **given} | {
        "vocab_size": rows,
        "tie_weights": "output.weight" not in stored,
        "qkv_bias": "blk.0.attn_q.bias" in stored,
        "output_bias": "blk.0.attn_output.bias" in stored,
        "mlp_bias": "blk.0.ffn_gate.bias" in stored,
        "qk_norm": arch == "qwen3",
        "chat_template": values.get("tokenizer.chat_template"),
        "token_ids": _token_ids(values) or None,
    }
    try:
        return _checked(config(**fields), arch, own, stored)
    except ValueError as error:  # that of a config begins with the name of a field
        name, _, rest = str(error).partition(" ")
        theirs = {ours: f"{arch}.{key}" for key, ours in _KEYS.items()}
        raise ValueError(f"{theirs.get(name, name)} {rest}") from error


def _checked(config, arch, own, stored):
    """The config with its windows and its scaling of the positions."""
    only = {
        "attention.value_length": config.head_dim, "rope.dimension_count": config.head_dim,
        "attention.causal": True,
    }  # fmt: skip
    for key, built in only.items():
        if own.get(key, built) != built:
            raise ValueError(f"{arch}.{key} is {own[key]}, and only {built} is built")
    kind, factor = own.get("rope.scaling.type", "linear"), own.get("rope.scaling.factor") or 1
    if kind not in ("none", "linear"):
        raise ValueError(f"{arch}.rope.scaling.type is {kind!r}; built are none and linear")
    scaling = None
    if kind == "linear" and factor != 1:
        scaling = {"rope_type": "linear", "factor": factor}
    window = own.get("attention.sliding_window")
    config = replace(
        config, rope_scaling=scaling, windows=[window] * config.n_layer if window else None
    )
    if _FACTORS not in stored:
        return config
    if scaling or arch != "llama":
        raise ValueError(f"it has {_FACTORS} beside rope.scaling, or is no llama: not built")
    factors = stored[_FACTORS].numbers()
    found = replace(config, rope_scaling=_LLAMA3 | {"factor": float(factors.max())})
    if factors.shape != (expected := _factors(found)).shape or abs(factors - expected).max() > 1e-3:
        raise ValueError(f"{_FACTORS} is not that of Llama 3.1, 3.2 or 3.3, which is built")
    return found


def _factors(config):
    """By what the scaling of a config divides its frequencies."""
    return replace(config, rope_scaling=None).frequencies() / config.frequencies()


def _token_ids(values):
    """{key: id, or list of ids} of the special tokens that a file names, and of those that end."""
    tokens, types = values["tokenizer.ggml.tokens"], values["tokenizer.ggml.token_type"]
    found = {
        key: [values.get(f"tokenizer.ggml.{name}", -1) for name in names]
        for key, names in _TOKENS.items()
    }
    ends = [i for i, kind in enumerate(types) if kind == CONTROL and tokens[i] in _ENDS]
    found["eos_token_id"] += ends
    for key, several in found.items():
        found[key] = list(dict.fromkeys(i for i in several if 0 <= i < len(tokens)))
    return {key: ids if ids[1:] else ids[0] for key, ids in found.items() if ids}


def _check(model, names, stored):
    """Raise ValueError naming arrays that are missing, not known, or of another shape."""
    shapes = {names[ours]: a.shape[:: -1 if transposed(ours) else 1]
              for ours, a in model.state_dict().items()}  # fmt: skip
    problems = [f"it has no {name} {shape}" for name, shape in shapes.items() if name not in stored]
    problems += [f"{name!r:.60} is not known" for name in stored if name not in {*shapes, _FACTORS}]
    problems += [
        f"{name} has shape {stored[name].shape}, its values say {shape}"
        for name, shape in shapes.items()
        if name in stored and stored[name].shape != shape
    ]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError("; ".join(problems[:5]) + more)


# ---------------------------------------------------------------- writing


def save_gguf(path: Path | str, model: Any, tokenizer: Any, kind: str = "q8_0") -> None:
    """Write a file that load_gguf, llama.cpp and Ollama can open.

    `kind` is how its matrices are stored: f32, f16, or q8_0, numbers of 8 bits. `tokenizer` is a
    BPETokenizer. Raises ValueError naming what such a file cannot say.
    """
    if kind not in KINDS:
        raise ValueError(f"a GGUF file is written as {', '.join(KINDS)}, got {kind!r}")
    config = model.config
    try:
        arch = _arch(config)
        values = {
            "general.type": "model", "general.name": Path(path).stem,
            "general.file_type": KINDS[kind], "general.quantization_version": 2,
            **{f"{arch}.{key}": value for key, value in _sizes(config).items()},
            **_tokens(config, tokenizer),
        }  # fmt: skip
    except ValueError as error:
        raise ValueError(f"cannot write {path}: {error}") from error
    names, arrays = _names(config.n_layer), {}
    for ours, array in model.state_dict().items():
        array = array.T if transposed(ours) else array
        arrays[names[ours]] = array, _order(ours, arch, config)
    if (config.rope_scaling or {}).get("rope_type") == "llama3":
        arrays[_FACTORS] = _factors(config), None
    write_gguf(path, arch, values, arrays, kind)


def _arch(config):
    """The architecture whose files can hold a model of this config."""
    if (arch := getattr(config, "arch", None)) != "llama":
        raise ValueError(f"only a model of --arch llama can be a GGUF file here, got {arch}")
    if any(window is not None and window < config.block_size for window in config.windows or ()):
        raise ValueError("windows: llama.cpp reads them for no model that is built here")
    biases = config.output_bias or config.mlp_bias
    scaling = config.rope_scaling or {}
    slowed = scaling.get("rope_type") == "llama3"
    if slowed and scaling != {**scaling, **_LLAMA3}:
        raise ValueError(f"rope_scaling of rope_type llama3 must have {_LLAMA3}, got {scaling}")
    if config.qk_norm:
        if biases or config.qkv_bias or slowed:
            raise ValueError("qk_norm beside biases or a rope_type llama3: llama.cpp has no such")
        return "qwen3"
    whole = config.n_head * config.head_dim == config.n_embd  # llama.cpp asks this of a qwen2
    return "qwen2" if config.qkv_bias and whole and not (biases or slowed) else "llama"


def _sizes(config):
    """The values that tell the sizes of a model."""
    values = {key: getattr(config, ours) for key, ours in _KEYS.items()}
    values |= {
        "attention.layer_norm_rms_epsilon": float(config.eps),
        "rope.freq_base": float(config.rope_theta),
        "vocab_size": config.vocab_size,
    }
    values |= dict.fromkeys(("attention.value_length", "rope.dimension_count"), config.head_dim)
    if (config.rope_scaling or {}).get("rope_type") == "linear":
        values["rope.scaling.type"] = "linear"
        values["rope.scaling.factor"] = float(config.rope_scaling["factor"])
    return values


def _tokens(config, tokenizer):
    """The values that tell the tokenizer, the special tokens and the chat template."""
    if getattr(tokenizer, "kind", None) != "bpe":
        raise ValueError(
            f"llama.cpp has no tokenizer of {getattr(tokenizer, 'kind', None)}s: train a model "
            "with --tokenizer bpe"
        )
    values = tokenizer_values(tokenizer.to_json(), config.vocab_size)
    begin = [*tokenizer.begin]
    if len(begin) > 1:
        raise ValueError(f"{len(begin)} tokens stand before a prompt: a file can say one, bos")
    ids = {"bos_token_id": tokenizer.separator, "eos_token_id": tokenizer.stop}
    ids |= config.token_ids or {}
    ids |= {"bos_token_id": begin[0]} if begin else {}
    for key, several in ids.items():
        several = several if isinstance(several, list) else [] if several is None else [several]
        if len(several) > len(names := _TOKENS[key]):
            raise ValueError(f"{key} is {several}: a file can say {len(names)} at most")
        values |= dict(zip(names, several, strict=False))
    values["add_bos_token"] = bool(begin)
    theirs = {f"tokenizer.ggml.{key}": value for key, value in values.items()}
    template = {"tokenizer.chat_template": config.chat_template} if config.chat_template else {}
    return theirs | template
