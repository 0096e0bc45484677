"""GGUF files in and out, beside the reader, the writer and the numbers of the library `gguf`."""

import itertools
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import nn
from nn.gguf import load_gguf, save_gguf
from nn.gguf_tokens import read_tokenizer, tokenizer_values
from nn.llama import Llama, LlamaConfig
from nn.run.tokenizers import BPETokenizer, CharTokenizer, WordTokenizer
from tinygpt import GPTConfig, TinyGPT

gguf = pytest.importorskip("gguf")
tokenizers = pytest.importorskip("tokenizers")

RNG = np.random.default_rng
TEXT = "To be, or not to be, that is the question. 죽느냐 사느냐 1234 {'x': 1}\n" * 30
TOKENIZER = BPETokenizer().fit(TEXT, 300)
SHAPE = dict(qk_norm=False, rope_theta=1e4, vocab_size=320, block_size=16, n_layer=2, n_head=4,
             n_kv_head=2, n_embd=32, d_ff=48)  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192}  # fmt: skip
IDS = RNG(1).integers(0, 299, (2, 16))


def small(**changes):
    """A model whose biases and norms are drawn, too."""
    model = Llama(LlamaConfig(**{**SHAPE, **changes}), RNG(0)).eval()
    for p in model.parameters():
        if p.ndim == 1:
            p.data += RNG(p.size).normal(0, 0.1, p.shape).astype(np.float32)
    return model


def opened(path):
    return load_gguf(path, Llama, LlamaConfig)


def values_in(path):
    """The values of a file, read by the library."""
    return {key: field.contents() for key, field in gguf.GGUFReader(path).fields.items()}


def types_in(path):
    return {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}


# ---------------------------------------------------------------- there and back

PARTS = {
    "llama": dict(),
    "llama, all biases": dict(qkv_bias=True, output_bias=True, mlp_bias=True, eps=1e-6),
    "llama, wide heads": dict(head_dim=16, tie_weights=False, rope_theta=1e6),
    "llama, linear": dict(rope_scaling={"rope_type": "linear", "factor": 2.5}),
    "llama, llama3": dict(head_dim=64, rope_theta=500_000.0, rope_scaling=LLAMA3),
    "qwen2": dict(qkv_bias=True, tie_weights=False),
    "qwen3": dict(qk_norm=True, head_dim=16),
}


@pytest.mark.parametrize("parts", PARTS)
def test_a_model_comes_back(tmp_path, parts):
    model, path = small(**PARTS[parts]), tmp_path / "new" / "model.gguf"
    save_gguf(path, model, TOKENIZER, "f32")
    found, tokenizer = opened(path)
    ends = dict(bos_token_id=299, eos_token_id=299)  # as in GPT-2
    assert found.config == replace(model.config, token_ids=ends)
    assert not found.training
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(found.state_dict()[name], array, strict=True)
    np.testing.assert_array_equal(found(IDS).data, model(IDS).data)
    assert tokenizer.encode(TEXT).ids == TOKENIZER.encode(TEXT)
    assert values_in(path)["general.architecture"] == parts.split(",")[0]
    again = tmp_path / "again.gguf"
    save_gguf(again, found, BPETokenizer(tokenizer), "f32")
    assert opened(again)[0].config == found.config
    found.train().loss(IDS, IDS).backward()  # and it can be trained
    nn.AdamW(found.parameters()).step()
    assert (found(IDS).data != model(IDS).data).any()
    np.testing.assert_array_equal(opened(path)[0](IDS).data, model(IDS).data)  # the file is not


@pytest.mark.parametrize(("kind", "error"), [("f16", 2**-11), ("q8_0", 1 / 254 + 2**-11)])
def test_fewer_bits(tmp_path, kind, error):
    model, path = small(d_ff=64, n_embd=36, head_dim=16, qkv_bias=True), tmp_path / "model.gguf"
    save_gguf(path, model, TOKENIZER, kind)
    found = opened(path)[0]
    assert found.config.head_dim == 16
    for name, array in model.state_dict().items():
        new = found.state_dict()[name]
        assert new.dtype == np.float32
        assert abs(new - array).max() <= (error * abs(array).max() if array.ndim == 2 else 0)
    types = types_in(path)
    assert {types[name] for name in types if "norm" in name or "bias" in name} == {"F32"}
    assert types["blk.0.ffn_down.weight"] == ("Q8_0" if kind == "q8_0" else "F16")
    assert types["blk.0.attn_q.weight"] == "F16"  # 32 does not divide a row of 36
    assert values_in(path)["general.file_type"] == {"f16": 1, "q8_0": 7}[kind]


def test_what_llama_cpp_reads(tmp_path):
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    ids = dict(bos_token_id=5, eos_token_id=[299, 7, 8], pad_token_id=9)
    model = small(token_ids=ids, chat_template=template, rope_theta=1e5)
    save_gguf(tmp_path / "tiny.gguf", model, TOKENIZER, "f16")
    values = values_in(tmp_path / "tiny.gguf")
    tokens = values.pop("tokenizer.ggml.tokens")
    assert tokens[299:302] == ["<|endoftext|>", "[PAD300]", "[PAD301]"] and len(tokens) == 320
    assert values.pop("tokenizer.ggml.token_type") == [1] * 299 + [3] + [5] * 20
    assert len(values.pop("tokenizer.ggml.merges")[0].split(" ")) == 2
    assert abs(values.pop("llama.attention.layer_norm_rms_epsilon") - 1e-5) < 1e-12
    assert {key: value for key, value in values.items() if not key.startswith("GGUF.")} == {
        "general.architecture": "llama", "general.type": "model", "general.name": "tiny",
        "general.file_type": 1, "general.quantization_version": 2, "llama.vocab_size": 320,
        "llama.context_length": 16, "llama.block_count": 2, "llama.embedding_length": 32,
        "llama.feed_forward_length": 48, "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2, "llama.attention.key_length": 8,
        "llama.attention.value_length": 8, "llama.rope.freq_base": 1e5,
        "llama.rope.dimension_count": 8, "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.bos_token_id": 5,
        "tokenizer.ggml.eos_token_id": 299, "tokenizer.ggml.eot_token_id": 7,
        "tokenizer.ggml.eom_token_id": 8, "tokenizer.ggml.padding_token_id": 9,
        "tokenizer.ggml.add_bos_token": False, "tokenizer.chat_template": template,
    }  # fmt: skip
    found = opened(tmp_path / "tiny.gguf")[0].config
    assert found.token_ids == ids and found.chat_template == template


def test_the_old_file_stays_if_writing_fails(tmp_path):
    model, path = small(), tmp_path / "model.gguf"
    save_gguf(path, model, TOKENIZER, "f32")
    before = path.read_bytes()
    model.blocks[1].attention.v.weight.data[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"blk\.1\.attn_v\.weight has numbers too large for f16"):
        save_gguf(path, model, TOKENIZER, "f16")
    assert path.read_bytes() == before and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("kind", ["f16", "q8_0", "f32"])
def test_memory(tmp_path, kind):
    model = small(vocab_size=4096, n_embd=256, n_layer=4, n_head=4, n_kv_head=4, d_ff=1024)
    size = sum(array.nbytes for array in model.state_dict().values())
    path = tmp_path / "model.gguf"
    save_gguf(path, model, TOKENIZER, kind)
    tracemalloc.start()
    save_gguf(path, model, TOKENIZER, kind)
    writing = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    found = opened(path)[0]
    reading = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert writing < size / 2, "the largest array, and what its conversion needs"
    assert reading < (0.3 if kind == "f32" else 1.4) * size
    del found


# ---------------------------------------------------------------- files of others


def foreign(path, model, tokenizer=TOKENIZER, types=lambda name: "F32", without=(), change=None,
            arch="llama", tensors=None, **values):  # fmt: skip
    """A file as the converter of llama.cpp writes it, by the library's writer."""
    c, state = model.config, model.state_dict()
    theirs = {
        f"{arch}.context_length": c.block_size, f"{arch}.block_count": c.n_layer,
        f"{arch}.embedding_length": c.n_embd, f"{arch}.feed_forward_length": c.d_ff,
        f"{arch}.attention.head_count": c.n_head, f"{arch}.attention.head_count_kv": c.n_kv_head,
        f"{arch}.attention.layer_norm_rms_epsilon": 1e-5, f"{arch}.rope.freq_base": 10_000.0,
    }  # fmt: skip
    tokens = tokenizer_values(tokenizer.to_json(), c.vocab_size) if tokenizer else {}
    theirs |= {f"tokenizer.ggml.{key}": value for key, value in tokens.items()}
    theirs |= {key.replace("__", "."): value for key, value in values.items()}
    writer = gguf.GGUFWriter(path, arch)
    for key, value in theirs.items():
        if key not in without:
            kind = gguf.GGUFValueType.get_type(value)
            writer.add_key_value(key, value, gguf.GGUFValueType.UINT32 if kind == 5 else kind)
    short = {"token_embedding": "token_embd", "norm": "output_norm", "head": "output"}
    short |= {"norm1": "attn_norm", "norm2": "ffn_norm"}
    for name, array in state.items():
        path, _, kind = name.rpartition(".")
        *block, layer = path.split(".", 2) if path.startswith("blocks") else [path]
        layer = short.get(layer, layer.replace("attention.", "attn_")
                          .replace("feed_forward.", "ffn_"))  # fmt: skip
        new = ".".join([*(block and ["blk", block[1]]), layer, kind])
        array = array.T if array.ndim == 2 and "embed" not in name else array
        if arch == "llama" and layer in ("attn_q", "attn_k"):
            heads = c.n_head if layer == "attn_q" else c.n_kv_head
            pairs = array.reshape(heads, 2, c.head_dim // 2, *array.shape[1:])
            array = pairs.swapaxes(1, 2).reshape(array.shape)
        if new in without:
            continue
        dtype = gguf.GGMLQuantizationType[types(new) if array.ndim == 2 else "F32"]
        writer.add_tensor(new, gguf.quants.quantize(np.ascontiguousarray(array), dtype),
                          raw_dtype=dtype)  # fmt: skip
    for name, array in (tensors or {}).items():
        writer.add_tensor(name, array)
    finish(writer)


def finish(writer):
    """Write what a writer of the library has been told, and close its file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("arch", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q5_1"])
def test_types_of_numbers(tmp_path, arch, kind):
    model = small(d_ff=64, qkv_bias=arch == "qwen2", qk_norm=arch == "qwen3")
    foreign(tmp_path / "model.gguf", model, types=lambda name: kind, arch=arch)
    found, dtype = opened(tmp_path / "model.gguf")[0], gguf.GGMLQuantizationType[kind]
    for name, array in model.state_dict().items():
        if array.ndim == 2:
            turned = name != "token_embedding.weight"
            raw = np.ascontiguousarray(array.T if turned else array)
            array = gguf.quants.dequantize(gguf.quants.quantize(raw, dtype), dtype)
            array = array.T if turned else array
        np.testing.assert_array_equal(found.state_dict()[name], array)
    assert found(IDS).dtype == np.float32


def test_defaults_and_what_does_not_matter(tmp_path):
    foreign(tmp_path / "model.gguf", small(n_kv_head=4), without=[
        "llama.attention.head_count_kv", "llama.rope.freq_base"], general__alignment=64,
        llama__expert_count=0, llama__vocab_size=99, llama__rope__scaling__type="none",
        llama__attention__causal=True, llama__attention__sliding_window=5,
        tokenizer__chat_template="x", general__description="a model", general__tags=["a", "b"],
        tokenizer__ggml__eos_token_id=4_000_000_000)  # fmt: skip
    config = opened(tmp_path / "model.gguf")[0].config
    assert (config.n_kv_head, config.rope_theta, config.windows) == (4, 10_000.0, [5, 5])
    assert config.chat_template == "x" and config.token_ids is None


def test_ends_that_an_old_file_does_not_name(tmp_path):
    model = TOKENIZER._model.from_str(TOKENIZER.to_json())
    model.add_special_tokens(["<|begin_of_text|>", "<|eot_id|>"])
    foreign(
        tmp_path / "model.gguf", small(), BPETokenizer(model), tokenizer__ggml__eos_token_id=299
    )
    assert opened(tmp_path / "model.gguf")[0].config.token_ids == {"eos_token_id": [299, 301]}


BAD = {
    "its architecture is 'gemma3'; built are llama, qwen2, qwen3": dict(arch="gemma3"),
    "llama.expert_count is 8, which is not built": dict(llama__expert_count=8),
    "llama.logit_scale is 0.5, which is not built": dict(llama__logit_scale=0.5),
    "llama.rope.scaling.type is 'yarn'; built are": dict(llama__rope__scaling__type="yarn"),
    "rope.dimension_count is 4, and only 8 is built": dict(llama__rope__dimension_count=4),
    "value_length is 16, and only 8 is built": dict(llama__attention__value_length=16),
    "attention.causal is False, and only True": dict(llama__attention__causal=False),
    "it has no llama.block_count": dict(without=["llama.block_count"]),
    "it has no token_embd.weight": dict(without=["token_embd.weight"]),
    "it has no blk.1.attn_k.weight (16, 32)": dict(without=["blk.1.attn_k.weight"]),
    "it has no blk.2.attn_norm.weight": dict(llama__block_count=3),
    "'blk.0.odd.weight' is not known": dict(tensors={"blk.0.odd.weight": np.zeros(1, "f4")}),
    "llama.block_count is 4000000000": dict(llama__block_count=4_000_000_000),
    "llama.attention.head_count must be a": dict(llama__attention__head_count=[4, 4]),
    "llama.attention.head_count_kv 3 does not divide": dict(llama__attention__head_count_kv=3),
    "blk.0.attn_q.weight has shape (32, 32), its values say (64, 32)":
        dict(llama__attention__head_count=8, llama__attention__key_length=8),
    "rope_freqs.weight is not that of Llama 3.1":
        dict(tensors={"rope_freqs.weight": np.array([1, 2, 3, 4], "f4")}),
    "rope_freqs.weight is not that of":
        dict(tensors={"rope_freqs.weight": np.ones(3, "f4")}),
    "it has 320 tokens, and token_embd.weight only 319 rows": dict(
        tensors={"token_embd.weight": np.zeros((319, 32), "f4")}, without=["token_embd.weight"]),
    "one of 3 parts": dict(split__count=3),
    "tokenizer.ggml.model is 't5'; gpt2 and llama": dict(tokenizer__ggml__model="t5"),
    "tokenizer.ggml.model is None": dict(tokenizer=None),
    "tokenizer.ggml.pre is 'viking', which is not built": dict(tokenizer__ggml__pre="viking"),
    "precompiled_charsmap is set": dict(tokenizer__ggml__precompiled_charsmap=[1, 2]),
    "stands before a prompt, and bos_token_id is None": dict(tokenizer__ggml__add_bos_token=True),
    "two lists of one length": dict(tokenizer__ggml__token_type=[1]),
    "the tokenizer is damaged": dict(tokenizer__ggml__merges=["no such", "x y"]),
    "merges has ('ab',), and not two tokens": dict(tokenizer__ggml__merges=["a b", "ab"]),
    "scores must be a list": dict(tokenizer__ggml__model="llama"),
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_what_is_not_built_is_named(tmp_path, message):
    path = tmp_path / "model.gguf"
    foreign(path, small(), **BAD[message])
    with pytest.raises(ValueError) as caught:
        opened(path)
    assert message in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_files_that_are_damaged(tmp_path):
    path, bad = tmp_path / "model.gguf", tmp_path / "bad.gguf"
    with pytest.raises(ValueError, match="there is no file"):
        opened(path)
    save_gguf(path, small(), TOKENIZER, "q8_0")
    whole = path.read_bytes()
    for content, message in {
        b"": "damaged, or not a GGUF file: it is empty",
        b"PK\3\4" + whole: "is not a GGUF file",
        b"GGUF": "version 0 of GGUF",
        b"GGUF\1\0\0\0" + whole[8:]: "version 1 of GGUF",
        b"GGUF\0\0\0\3" + whole[8:]: "is for big-endian machines",
        whole[:-1]: "is not all there, it ends before",
        whole[: len(whole) // 2]: "is not all there, it ends before",
    }.items():
        bad.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            opened(bad)
    for end in range(8, 9000, 97):
        bad.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"is damaged|is not all there"):
            opened(bad)
    rng = RNG(0)
    for _ in range(150):  # it opens, or says in one line why not
        content, at = bytearray(whole), int(rng.integers(8, 9000))
        content[at] = rng.integers(256)
        bad.write_bytes(content)
        try:
            opened(bad)
        except ValueError as error:
            assert str(bad) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("library", ["gguf", "tokenizers"])
def test_the_libraries_are_named(tmp_path, monkeypatch, library):
    save_gguf(tmp_path / "model.gguf", small(), TOKENIZER)
    monkeypatch.setitem(sys.modules, library, None)
    for use in (lambda path: save_gguf(path, small(), TOKENIZER), opened):
        with pytest.raises(ValueError, match=rf"need the library {library}: pip install"):
            use(tmp_path / "model.gguf")


# ---------------------------------------------------------------- what a file cannot say


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(windows=[None, 8]), "windows: llama.cpp reads them for no model"),
        (dict(qk_norm=True, qkv_bias=True, output_bias=True), "qk_norm beside biases"),
        (dict(qk_norm=True, rope_scaling=LLAMA3), "qk_norm beside biases or a rope_type llama3"),
        (dict(rope_scaling={**LLAMA3, "low_freq_factor": 2.0}), "rope_type llama3 must have"),
        (dict(vocab_size=299), "has an id 299, and the model only 299 rows"),
        (dict(token_ids={"eos_token_id": [1, 2, 3, 4]}), "a file can say 3 at most"),
    ],
)
def test_models_that_a_file_cannot_say(tmp_path, changes, message):
    with pytest.raises(ValueError, match=f"cannot write .*model.gguf: .*{message}"):
        save_gguf(tmp_path / "model.gguf", small(**changes), TOKENIZER)
    assert not [*tmp_path.iterdir()]


def test_windows_that_change_nothing(tmp_path):
    save_gguf(tmp_path / "model.gguf", small(windows=[16, None]), TOKENIZER)
    assert opened(tmp_path / "model.gguf")[0].config.windows is None


def test_other_models_tokenizers_and_kinds(tmp_path):
    path, gpt = tmp_path / "model.gguf", TinyGPT(GPTConfig(vocab_size=300), RNG(0))
    with pytest.raises(ValueError, match="only a model of --arch llama can be a GGUF file here"):
        save_gguf(path, gpt, TOKENIZER)
    for tokenizer in (CharTokenizer("ab"), WordTokenizer()):
        message = f"no tokenizer of {tokenizer.kind}s: train a model with --tokenizer bpe"
        with pytest.raises(ValueError, match=message):
            save_gguf(path, small(), tokenizer)
    with pytest.raises(ValueError, match="written as f32, f16, q8_0, got 'q4'"):
        save_gguf(path, small(), TOKENIZER, "q4")


# ---------------------------------------------------------------- tokenizers

SPECIAL = ["<|im_start|>", "<|im_end|>"]
SAMPLES = [
    TEXT[:200], "", " ", "a  b\n\n c\r\n", "I'll we'VE 12345 3.14 ² Ⅷ ٣", "ABCdef camelCase",
    "<|im_start|>user\nhi<|im_end|> <tool> x<tool>", "e\u0301 \u00e9 \u017f 's 'S",
    "🙂👩\u200d👩 中文 ไทย",
    "x+=1 // /* */ http://a.b/c?d=e", "\x00\u3000\u00a0", "== != ---- ++++",
]  # fmt: skip


def with_pattern(pre, normalizer=None):
    """A trained vocabulary behind another pre-tokenizer, with special and other added tokens."""
    model = tokenizers.Tokenizer.from_str(TOKENIZER.to_json())
    model.pre_tokenizer, model.normalizer = pre, normalizer or model.normalizer
    model.add_special_tokens(SPECIAL)
    model.add_tokens([tokenizers.AddedToken("<tool>", normalized=False)])
    return model


def split(pattern):
    return tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")


def sequence(*parts, use_regex=False):
    level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    return tokenizers.pre_tokenizers.Sequence([*parts, level])


WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")  # fmt: skip
OWN = {  # as the tokenizer.json of such models has it
    "gpt-2": tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": sequence(tokenizers.pre_tokenizers.Digits(individual_digits=True), use_regex=True),
    "llama-bpe": sequence(split(WORDS % "{1,3}")),
    "qwen2": sequence(split(WORDS % "")),
}


@pytest.mark.parametrize("name", OWN)
def test_patterns(name):
    nfc = tokenizers.normalizers.NFC() if name == "qwen2" else None
    model = with_pattern(OWN[name], nfc)
    values = tokenizer_values(model.to_str(), 310)
    assert values["pre"] == name and values["model"] == "gpt2"
    assert values["token_type"][299:304] == [3, 3, 3, 4, 5]
    found = read_tokenizer(named({**values, "add_bos_token": False}))
    assert [*BPETokenizer(found).begin] == []
    for text in SAMPLES:
        assert found.encode(text).ids == model.encode(text).ids, text
        plain = nfc.normalize_str(text) if nfc else text
        assert found.decode(found.encode(text).ids, skip_special_tokens=False) == plain
    again = tokenizer_values(found.to_str(), 310)
    assert again == values


def named(values):
    return {f"tokenizer.ggml.{key}": value for key, value in values.items()}


def test_the_other_patterns():
    values = tokenizer_values(TOKENIZER.to_json(), 300)
    pieces = {
        "default": ["a", "++", " ", "123", "45", " b"],  # digits by threes
        "tekken": ["a", "++", " ", "1", "2", "3", "4", "5", " b"],
        "llama3": ["a", "++", " ", "123", "45", " b"],
        "deepseek-r1-qwen": ["a", "++", " ", "1", "2", "3", "4", "5", " b"],
        "starcoder": ["a", "++", " ", "1", "2", "3", "4", "5", " b"],
    }
    for name, expected in pieces.items():
        found = read_tokenizer(named({**values, "pre": name, "bos_token_id": 0}))
        parts = found.pre_tokenizer.pre_tokenize_str("a++ 12345 b")
        assert [part.replace("Ġ", " ") for part, _ in parts] == expected
    cased = read_tokenizer(named({**values, "pre": "tekken", "bos_token_id": 0}))
    assert [p for p, _ in cased.pre_tokenizer.pre_tokenize_str("ABCdefGH")] == ["ABCdef", "GH"]
    assert read_tokenizer(named({k: v for k, v in values.items() if k != "pre"}))  # default


def test_what_stands_before_a_prompt(tmp_path):
    values = tokenizer_values(TOKENIZER.to_json(), 300)
    for name, default in {"gpt-2": [], "qwen2": [], "llama-bpe": [299], "tekken": [299]}.items():
        its = {**values, "pre": name, "bos_token_id": 299}
        assert [*BPETokenizer(read_tokenizer(named(its))).begin] == default
        for add in (True, False):
            model = read_tokenizer(named({**its, "add_bos_token": add}))
            begin = [299] if add else []
            assert [*BPETokenizer(model).begin] == begin
            assert [*begin, *BPETokenizer(model).encode("To be")] == model.encode("To be").ids
    model = read_tokenizer(named({**values, "bos_token_id": 299, "add_bos_token": True}))
    save_gguf(tmp_path / "model.gguf", small(), BPETokenizer(model))
    assert [*BPETokenizer(opened(tmp_path / "model.gguf")[1]).begin] == [299]


def test_a_word_that_is_a_token_is_taken_whole():
    values = tokenizer_values(TOKENIZER.to_json(), 301)
    values["tokens"][300], values["token_type"][300] = "xyzzy", 1  # no merges make it
    for name, whole in {"llama-bpe": True, "gpt-2": False}.items():
        found = read_tokenizer(named({**values, "pre": name, "bos_token_id": 0}))
        assert (300 in found.encode("xyzzy").ids) == whole


SPIECE = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "▁a", "ab", "aa", "▁ab",
          "▁▁", "▁▁▁▁", "a", "b", "c", "▁", "aaa"]  # fmt: skip
SENTENCEPIECE = {
    "model": "llama", "tokens": SPIECE, "token_type": [2, 3, 3] + [6] * 256 + [1] * 11,
    "scores": [0.0] * 259 + [-float(i) for i in range(11)], "unknown_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def by_scores(text):
    """sentencepiece's own rule: join the pair of best score, the leftmost first."""
    ids = {token: i for i, token in enumerate(SPIECE)}
    parts, scores = list("▁" + text.replace(" ", "▁")), SENTENCEPIECE["scores"]
    while True:
        pairs = [(-scores[ids[a + b]], i) for i, (a, b) in enumerate(itertools.pairwise(parts))
                 if a + b in ids]  # fmt: skip
        if not pairs:
            break
        _, i = min(pairs)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    spelt = [[p] if p in ids else [f"<0x{b:02X}>" for b in p.encode()] for p in parts]
    return [ids[token] for several in spelt for token in several]


def test_sentencepiece(tmp_path):
    model = read_tokenizer(named(SENTENCEPIECE))
    rng = RNG(3)
    for _ in range(300):
        text = "".join(rng.choice(list("aaabbc  é한"), rng.integers(1, 20)))
        ids = model.encode(text, add_special_tokens=False).ids
        assert ids == by_scores(text), text
        assert model.decode(ids) == text
    assert model.encode("ab").ids == [1, 262]
    assert model.encode("ab</s>c").ids == [1, 262, 2, 268, 267]
    bare = read_tokenizer(named({**SENTENCEPIECE, "add_space_prefix": False}))
    bare.model.unk_token = None  # as transformers writes it
    assert tokenizer_values(bare.to_str(), 300)["unknown_token_id"] == 0
    assert bare.encode("ab", add_special_tokens=False).ids == [260]
    for one in (model, bare):
        path = tmp_path / "model.gguf"
        save_gguf(path, small(), BPETokenizer(one, 2))
        found, its = opened(path)
        assert its.encode("ab  aaa é</s>").ids == one.encode("ab  aaa é</s>").ids
        assert found.config.token_ids["eos_token_id"] == 2


def changed(**changes):
    model = with_pattern(OWN["gpt-2"])
    for name, value in changes.items():
        setattr(model, name, value)
    return model


pre, norm = tokenizers.pre_tokenizers, tokenizers.normalizers


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (changed(pre_tokenizer=pre.Whitespace()), "a way that has no name in GGUF files"),
        (changed(pre_tokenizer=pre.ByteLevel(add_prefix_space=True)), "no name in GGUF files"),
        (changed(pre_tokenizer=None), "no name in GGUF files"),
        (changed(normalizer=norm.Lowercase()), "no name in GGUF files"),
        (changed(normalizer=norm.NFC()), "no name in GGUF files"),
        (tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, "a")), "WordLevel, and only"),
    ],
)
def test_tokenizers_that_a_file_cannot_say(model, message):
    with pytest.raises(ValueError, match=message):
        tokenizer_values(model.to_str(), 310)


def test_tokenizers_like_llama_2_that_a_file_cannot_say():
    model = read_tokenizer(named(SENTENCEPIECE))
    model.normalizer = norm.Sequence([norm.NFKC(), norm.Replace(" ", "▁")])
    with pytest.raises(ValueError, match="changes or cuts a text otherwise than Llama 2's"):
        tokenizer_values(model.to_str(), 310)
    model.normalizer, model.pre_tokenizer = None, pre.Metaspace(prepend_scheme="never", split=False)
    assert tokenizer_values(model.to_str(), 310)["add_space_prefix"] is False
    vocabulary = {token: i for i, token in enumerate(SPIECE)}
    bpe = tokenizers.models.BPE(vocabulary, [("a", "b")], unk_token="<unk>", byte_fallback=True)
    model.model = bpe
    with pytest.raises(ValueError, match="joins other pairs of tokens"):
        tokenizer_values(model.to_str(), 310)
    model = with_pattern(OWN["gpt-2"])
    model.add_special_tokens([tokenizers.AddedToken("<mask>", lstrip=True)])
    with pytest.raises(ValueError, match="'<mask>' has lstrip"):
        tokenizer_values(model.to_str(), 310)
