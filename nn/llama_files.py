"""Reads and writes folders of Llama's family as Hugging Face's transformers has them.

https://huggingface.co/docs/transformers/model_doc/llama, and those of mistral, qwen2 and qwen3.
All matrices are [out, in] there, and [in, out] here. The caller passes a class Model(config, rng)
and its config, with the names and fields of nn.llama.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .files import read_json, save_model, write_atomically
from .folders import TOKENS, Family, load_folder

__all__ = [
    "FAMILIES", "family_of", "llama_names", "load_llama", "save_llama", "transposed",
    "weight_names",
]  # fmt: skip

_KEYS = {
    "vocab_size": "vocab_size", "max_position_embeddings": "block_size",
    "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
    "num_key_value_heads": "n_kv_head", "hidden_size": "n_embd", "head_dim": "head_dim",
    "intermediate_size": "d_ff", "rms_norm_eps": "eps", "tie_word_embeddings": "tie_weights",
}  # fmt: skip
_NEEDED = "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads"
# What transformers takes for a key that is missing, by model_type.
_COMMON = {"rms_norm_eps": 1e-6, "tie_word_embeddings": False, "hidden_act": "silu"}
_QWEN = {"max_position_embeddings": 32768, "num_key_value_heads": 32, "sliding_window": 4096,
         "max_window_layers": 28}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"max_position_embeddings": 2048},
    "mistral": {"max_position_embeddings": 131072, "num_key_value_heads": 8,
                "sliding_window": 4096},
    "qwen2": _QWEN,
    "qwen3": {**_QWEN, "head_dim": 128},
}  # fmt: skip
# Keys of models that compute something else, and the values that mean that they do not.
_NOT_BUILT = (
    "quantization_config num_experts num_local_experts n_routed_experts attn_logit_softcapping "
    "final_logit_softcapping query_pre_attn_scalar no_rope_layers no_rope_layer_interval "
    "embedding_multiplier residual_multiplier attention_multiplier logits_scaling logit_scale"
).split()
_OUTSIDE = {
    "token_embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}  # fmt: skip
_IN_A_BLOCK = {
    "norm1": "input_layernorm", "norm2": "post_attention_layernorm",
    **{f"attention.{x}": f"self_attn.{x}_proj" for x in "qkv"},
    "attention.output": "self_attn.o_proj",
    **{f"attention.{x}_norm": f"self_attn.{x}_norm" for x in "qk"},
    **{f"feed_forward.{x}": f"mlp.{x}_proj" for x in ("gate", "up", "down")},
}  # fmt: skip


def llama_names(n_layer: int) -> dict[str, str]:
    """{our name: theirs} of all weights that a model of n_layer blocks can have."""
    return weight_names(_OUTSIDE, _IN_A_BLOCK, "model.layers", n_layer)


def weight_names(
    outside: Mapping[str, str], in_a_block: Mapping[str, str], blocks: str, n_layer: int
) -> dict[str, str]:
    """{our name: theirs}, where their block N is called `blocks`.N."""
    inside = {
        f"blocks.{n}.{ours}.{kind}": f"{blocks}.{n}.{theirs}.{kind}"
        for n in range(n_layer)
        for ours, theirs in in_a_block.items()
        for kind in ("weight", "bias")
    }
    return {**outside, **inside}


def transposed(name: str) -> bool:
    """Whether the weight of this name, ours, is [out, in] in the files of other programs."""
    return name.endswith("weight") and not ("norm" in name or name == "token_embedding.weight")


# ---------------------------------------------------------------- reading


def load_llama(directory: Path | str, model: Callable[[Any, None], Any], config: type) -> Any:
    """The model in a folder of Llama's family, or in one of save_llama: see folders.load_folder.

    Raises ValueError naming the key of config.json or the weight that is wrong or not built here.
    """
    return load_folder(directory, model, config, _LLAMA)


def _fields(path, config):
    """The fields of a LlamaConfig from a config.json. Raises ValueError naming a wrong key."""
    kind = config.get("model_type")
    if kind not in FAMILIES:
        raise ValueError(
            f"{path}: model_type is {kind!r}, which is not built here; {', '.join(FAMILIES)} are"
        )
    config = {**_COMMON, **FAMILIES[kind], **read_json(path, _NEEDED)}
    for key in _NOT_BUILT:
        if config.get(key) not in (None, False, 0, 1, []):
            raise ValueError(f"{path}: {key} is {config[key]!r:.60}, and it is not built here")
    if config["hidden_act"] not in ("silu", "swish"):
        raise ValueError(f"{path}: hidden_act {config['hidden_act']!r} is not silu, the only one")
    fields = {ours: config[key] for key, ours in _KEYS.items() if config.get(key) is not None}
    biases = bool(config.get("attention_bias")) and kind in ("llama", "qwen3")
    return {
        **fields,
        **_rope(path, config),
        "qkv_bias": biases or kind == "qwen2",
        "output_bias": biases,
        "mlp_bias": bool(config.get("mlp_bias")) and kind == "llama",
        "qk_norm": kind == "qwen3",
        "windows": _windows(path, kind, config),
        "chat_template": _chat_template(path.parent),
    }


def _rope(path, config):
    """rope_theta and rope_scaling, from the keys of transformers 5 or from those before it."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, dict) or any(isinstance(value, dict) for value in rope.values()):
        raise ValueError(f"{path}: rope_parameters {rope!r:.60} must be one set of parameters")
    rope = {"rope_theta": config.get("rope_theta", 10_000.0), **rope}
    kind = rope.pop("type", "default")
    rope["rope_type"] = rope.get("rope_type") or kind
    part = rope.pop("partial_rotary_factor", config.get("partial_rotary_factor"))
    if part not in (None, 1):
        raise ValueError(f"{path}: partial_rotary_factor is {part!r}, and only 1 is built here")
    theta = rope.pop("rope_theta")
    return {"rope_theta": theta, "rope_scaling": None if rope["rope_type"] == "default" else rope}


def _windows(path, kind, config):
    """How many keys each layer sees, or None if all see all."""
    size, n = config.get("sliding_window"), config["num_hidden_layers"]
    if kind == "llama" or size is None or not isinstance(n, int):
        return None
    if kind == "mistral":
        return [size] * n
    if not config.get("use_sliding_window"):
        return None
    sliding, full = "sliding_attention", "full_attention"
    first = config["max_window_layers"]
    types = config.get("layer_types") or [sliding if i >= first else full for i in range(n)]
    if not isinstance(types, list) or {*types} - {sliding, full}:
        raise ValueError(f"{path}: layer_types must be {full} or {sliding}, got {types!r:.60}")
    return [size if one == sliding else None for one in types]


def _chat_template(directory):
    """The template of a folder, from the file of its own or from the tokenizer's config."""
    own, other = directory / "chat_template.jinja", directory / "tokenizer_config.json"
    if own.exists():
        try:
            return own.read_text("utf-8")
        except (OSError, UnicodeError) as error:
            raise ValueError(f"cannot read {own}: {error}") from error
    found = read_json(other).get("chat_template") if other.exists() else None
    if isinstance(found, list):  # several, each with its name
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


_LLAMA = Family(
    tuple(FAMILIES), _KEYS, "vocab_size n_layer n_head n_kv_head n_embd head_dim d_ff", _fields,
    lambda config: llama_names(config.n_layer), "model.",
    r"rotary_emb\.inv_freq$",  # computed from the config
    transposed,
)  # fmt: skip


# ---------------------------------------------------------------- writing


def save_llama(directory: Path | str, model: Any, tokenizer: Any = None, notes: Any = None) -> None:
    """Write a folder that load_llama and the classes of transformers can open.

    Raises ValueError if the parts of this model are together in none of the families.
    """
    directory, state = Path(directory), model.state_dict()
    config = _config(model.config, tokenizer)
    arrays = {
        theirs: state[ours].T if transposed(ours) else state[ours]
        for ours, theirs in llama_names(model.config.n_layer).items()
        if ours in state
    }
    if template := model.config.chat_template:
        write_atomically(directory / "chat_template.jinja",
                         lambda name: Path(name).write_text(template, "utf-8"))  # fmt: skip
    save_model(directory, model, tokenizer, notes, config, arrays)


def family_of(config: Any) -> str:
    """The model_type that has the parts of a LlamaConfig. Raises ValueError if none has."""
    c, windows = config, set(config.windows or [None])
    if c.qk_norm and c.qkv_bias == c.output_bias and not c.mlp_bias:
        return "qwen3"
    if c.qkv_bias and not (c.qk_norm or c.output_bias or c.mlp_bias):
        return "qwen2"
    if not c.qk_norm and c.qkv_bias == c.output_bias:
        whole = c.n_embd % c.n_head == 0  # transformers asks this of a llama
        if windows == {None} and whole:
            return "llama"
        if len(windows) == 1 and not (c.qkv_bias or c.mlp_bias):
            return "mistral"
    raise ValueError(
        f"no family of models has these parts together: qk_norm {c.qk_norm}, qkv_bias {c.qkv_bias},"
        f" output_bias {c.output_bias}, mlp_bias {c.mlp_bias}, windows {c.windows}"
    )


def _config(config, tokenizer):
    """The config.json of a LlamaConfig. Special tokens that nobody has named are null."""
    kind, scaling = family_of(config), dict(config.rope_scaling or {"rope_type": "default"})
    windows = config.windows or [None]
    size = next((w for w in windows if w is not None), None)
    types = ["full_attention" if w is None else "sliding_attention" for w in windows]
    own: dict[str, Any] = {
        "llama": {"attention_bias": config.output_bias, "mlp_bias": config.mlp_bias},
        "mistral": {"sliding_window": size},
    }.get(kind, {"sliding_window": size, "use_sliding_window": size is not None})
    if kind.startswith("qwen") and size is not None:
        own |= {"layer_types": types, "max_window_layers": types.count("full_attention")}
    if kind == "qwen3":
        own["attention_bias"] = config.output_bias
    first, end = (tokenizer.separator, tokenizer.stop) if tokenizer else (None, None)
    return {
        "model_type": kind,
        "architectures": [f"{kind.capitalize()}ForCausalLM"],
        "hidden_act": "silu",
        "dtype": "float32",
        **{key: getattr(config, ours) for key, ours in _KEYS.items()},
        **own,
        "rope_parameters": {"rope_theta": config.rope_theta, **scaling},
        "rope_theta": config.rope_theta,  # these two for transformers before 5
        "rope_scaling": config.rope_scaling,
        **dict(zip(TOKENS, (first, end, None), strict=True)),
        **(config.token_ids or {}),
    }
