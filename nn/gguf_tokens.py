"""The tokenizer of a GGUF file: a tokenizer of the library `tokenizers`, in and out.

A file has the tokens, the merges or the score of each token, and the name of the pattern that cuts
a text into words. The names are llama.cpp's; the patterns are those of the models' own tokenizers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["CONTROL", "read_tokenizer", "tokenizer_values"]

_REST = r"[^\r\n\p{L}\p{N}]?\p{L}+|NUMBERS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|" + _REST
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# {name: the patterns that cut a text, one after the other}
_PATTERNS = {
    "gpt-2": [_GPT2],
    "smollm": [r"\p{N}", _GPT2],
    "llama-bpe": [_WORDS.replace("NUMBERS", r"\p{N}{1,3}")],
    "qwen2": [_WORDS.replace("NUMBERS", r"\p{N}")],
    "tekken": [
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
        r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
}
_SAME = {"llama3": "llama-bpe", "llama-v3": "llama-bpe", "deepseek-r1-qwen": "qwen2",
         "starcoder": "smollm", "refact": "smollm"}  # fmt: skip
# A word that is a token is taken whole, and the token bos stands before a prompt.
_WHOLE = ("llama-bpe", "tekken")
_NORMAL, _UNKNOWN, CONTROL, _USER, _UNUSED, _BYTE = range(1, 7)  # types of tokens
_SPACE = "\u2581"  # a space, in the tokens of sentencepiece
# Where sentencepiece or a converter changed the text before: not built.
_CHANGES = ("precompiled_charsmap", "remove_extra_whitespaces")

# ---------------------------------------------------------------- reading


def read_tokenizer(values: Mapping[str, Any]) -> Any:
    """The tokenizer that the values tokenizer.ggml.* of a file describe.

    It puts the tokens before a prompt that the file wants there. Raises ValueError naming what is
    not built.
    """
    import tokenizers as library

    own = {k[15:]: value for k, value in values.items() if k.startswith("tokenizer.ggml.")}
    kind, tokens, types = own.get("model"), own.get("tokens"), own.get("token_type")
    if kind not in ("gpt2", "llama"):
        raise ValueError(f"tokenizer.ggml.model is {kind!r}; gpt2 and llama are built")
    if not isinstance(tokens, list) or not isinstance(types, list) or len(tokens) != len(types):
        raise ValueError("tokenizer.ggml.tokens and token_type must be two lists of one length")
    if changes := [name for name in _CHANGES if own.get(name)]:
        raise ValueError(f"tokenizer.ggml.{changes[0]} is set, which is not built")
    vocabulary = {
        token: i for i, token in enumerate(tokens)
        if types[i] != _UNUSED or token != f"[PAD{i}]"  # which fills up the rows of the model
    }  # fmt: skip
    try:
        model, whole = (_byte_level if kind == "gpt2" else _sentencepiece)(library, own, vocabulary)
    except ValueError:
        raise
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"the tokenizer is damaged ({error})") from error
    for special, group in ((True, (_UNKNOWN, CONTROL)), (False, (_USER,))):
        added = [token for token, its in zip(tokens, types, strict=True) if its in group]
        options = {"special": special, "normalized": False}
        model.add_tokens([library.AddedToken(token, **options) for token in added])
    if not own.get("add_bos_token", whole):
        return model
    bos = own.get("bos_token_id")
    if type(bos) is not int or not 0 <= bos < len(tokens):
        raise ValueError(f"the token bos stands before a prompt, and bos_token_id is {bos!r}")
    model.post_processor = library.processors.TemplateProcessing(
        single=[tokens[bos], "$A"], special_tokens=[(tokens[bos], bos)]
    )
    return model


def _byte_level(library, own, vocabulary):
    """A tokenizer like GPT-2's, and whether words that are tokens are taken whole."""
    name = own.get("pre", "default")
    name = _SAME.get(name, name)
    if name not in _PATTERNS:
        names = ", ".join([*_PATTERNS, *_SAME])
        raise ValueError(f"tokenizer.ggml.pre is {name!r}, which is not built; built are {names}")
    merges = [tuple(merge.split(" ", 1)) for merge in own.get("merges", ())]
    if odd := [merge for merge in merges if len(merge) != 2]:
        raise ValueError(f"tokenizer.ggml.merges has {odd[0]}, and not two tokens")
    whole = name in _WHOLE
    model = library.Tokenizer(library.models.BPE(vocabulary, merges, ignore_merges=whole))
    if name == "qwen2":  # as in the models' own tokenizer; llama.cpp leaves this out
        model.normalizer = library.normalizers.NFC()
    byte_level = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    cuts = [library.pre_tokenizers.Split(library.Regex(p), "isolated") for p in _PATTERNS[name]]
    model.pre_tokenizer = library.pre_tokenizers.Sequence([*cuts, byte_level])
    model.decoder = library.decoders.ByteLevel()
    return model, whole


def _sentencepiece(library, own, vocabulary):
    """A tokenizer like Llama 2's. What has no token is spelt in tokens like <0xE2>."""
    tokens, types, scores = (own.get(name) for name in ("tokens", "token_type", "scores"))
    if not isinstance(scores, list) or len(scores) != len(tokens):
        raise ValueError("tokenizer.ggml.scores must be a list, one for each token")
    unk = own.get("unknown_token_id")
    unk = None if unk is None else tokens[unk]
    merges = _merges(tokens, types, scores)
    model = library.Tokenizer(
        library.models.BPE(vocabulary, merges, unk_token=unk, fuse_unk=True, byte_fallback=True)
    )
    decoders, normalizers = library.decoders, library.normalizers
    space = [normalizers.Replace(" ", _SPACE)]
    text = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if own.get("add_space_prefix", True):
        space.insert(0, normalizers.Prepend(_SPACE))
        text.append(decoders.Strip(" ", 1, 0))
    model.normalizer, model.decoder = normalizers.Sequence(space), decoders.Sequence(text)
    return model, True


def _merges(tokens, types, scores):
    """All pairs of tokens that make a third one; those that make the token of best score first."""
    normal = {token for token, kind in zip(tokens, types, strict=True) if kind == _NORMAL}
    found = [
        (-scores[i], -cut, token[:cut], token[cut:])
        for i, token in enumerate(tokens)
        if types[i] == _NORMAL
        for cut in range(1, len(token))
        if token[:cut] in normal and token[cut:] in normal
    ]
    return [(left, right) for _, _, left, right in sorted(found)]


# ---------------------------------------------------------------- writing


def tokenizer_values(text: str, size: int) -> dict[str, Any]:
    """The values tokenizer.ggml.* of a tokenizer.json, for a model with `size` rows of tokens.

    Raises ValueError naming what llama.cpp does not have.
    """
    content = json.loads(text)
    model, added = content["model"], content["added_tokens"]
    if model["type"] != "BPE":
        raise ValueError(f"the tokenizer is of type {model['type']}, and only BPE is built")
    known = {**model["vocab"], **{token["content"]: token["id"] for token in added}}
    if (last := max(known.values())) >= size:
        raise ValueError(f"the tokenizer has an id {last}, and the model only {size} rows")
    tokens, types = [f"[PAD{i}]" for i in range(size)], [_UNUSED] * size
    for token, i in known.items():
        byte = model["byte_fallback"] and re.fullmatch("<0x[0-9A-F]{2}>", token)
        tokens[i], types[i] = token, _BYTE if byte else _NORMAL
    for token in added:
        if odd := [key for key in ("single_word", "lstrip", "rstrip") if token[key]]:
            raise ValueError(f"the token {token['content']!r} has {odd[0]}, which no file can say")
        types[token["id"]] = CONTROL if token["special"] else _USER
    merges = [tuple(pair.split(" ", 1) if isinstance(pair, str) else pair)
              for pair in model["merges"]]  # fmt: skip
    values: dict[str, Any] = {"tokens": tokens, "token_type": types}
    if not model["byte_fallback"]:
        joined = {"merges": [" ".join(pair) for pair in merges]} if merges else {}
        return {**values, "model": "gpt2", "pre": _pattern_name(content), **joined}
    if (unk := known.get(model["unk_token"] or "<unk>")) is not None:
        types[unk], values["unknown_token_id"] = _UNKNOWN, unk
    values |= {"model": "llama", "scores": _scores(values, merges)}
    return {**values, "add_space_prefix": _has_space_prefix(content)}


def _scores(values, merges):
    """Scores that have the effect of these merges."""
    rank: dict[str, int] = {}
    for left, right in merges:
        rank.setdefault(left + right, len(rank))
    scores = [-float(rank.get(token, len(rank))) for token in values["tokens"]]
    if {*merges} != {*_merges(values["tokens"], values["token_type"], scores)}:
        raise ValueError(
            "the tokenizer spells in bytes like Llama 2's, and joins other pairs of tokens than "
            "all that make a token, as llama.cpp does"
        )
    return scores


def _has_space_prefix(content):
    """Whether a tokenizer like Llama 2's puts a space before a text."""
    cut, changes = content["pre_tokenizer"], _parts(content["normalizer"], "normalizers")
    if cut and not changes and cut["type"] == "Metaspace" and not cut["split"]:
        return cut["prepend_scheme"] != "never"
    kinds = [part["type"] for part in changes]
    if cut or kinds not in (["Prepend", "Replace"], ["Replace"]):
        raise ValueError("the tokenizer changes or cuts a text otherwise than Llama 2's")
    return len(kinds) == 2


def _parts(entry, name):
    """The entries of a tokenizer.json that one entry stands for: those of a Sequence, or itself."""
    if entry is None:
        return []
    if entry["type"] != "Sequence":
        return [entry]
    return [part for one in entry[name] for part in _parts(one, name)]


def _pattern_name(content):
    """The name of what cuts a text into words."""
    patterns: list[Any] = []
    for part in _parts(content["pre_tokenizer"], "pretokenizers"):
        its = part.get("pattern", {}).get("Regex")
        if part["type"] == "Split" and part["behavior"] == "Isolated" and not part["invert"]:
            patterns.append(its)
        elif part["type"] == "Digits" and part["individual_digits"]:
            patterns.append(r"\p{N}")
        elif part["type"] == "ByteLevel" and not part["add_prefix_space"]:
            patterns += [_GPT2] if part["use_regex"] else []
        else:
            patterns.append(None)
    name = next((name for name, its in _PATTERNS.items() if its == patterns), None)
    changes = [part["type"] for part in _parts(content["normalizer"], "normalizers")]
    if name is None or changes not in ([], ["NFC"] if name == "qwen2" else []):
        raise ValueError(
            "the tokenizer cuts a text into words in a way that has no name in GGUF files; built "
            f"are {', '.join(_PATTERNS)}"
        )
    return name
