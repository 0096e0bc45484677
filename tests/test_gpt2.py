"""GPT-2 folders in and out, beside Hugging Face's transformers where that is installed."""

import copy
import json
import logging
import os
import pickle
import re
import warnings

import numpy as np
import pytest

import nn
import tinygpt
from autograd import grad
from nn.files import load_arrays, save_arrays
from nn.run.tokenizers import load_tokenizer
from tinygpt import BPETokenizer, GPTConfig, TinyGPT

RNG = np.random.default_rng
SHAPE = dict(vocab_size=60, block_size=12, n_layer=2, n_head=2, n_embd=8)
TEXT = "To be, or not to be, that is the question. 죽느냐 사느냐\n" * 30


def small(**changes):
    return TinyGPT(GPTConfig(**{**SHAPE, "bias": True, **changes}), RNG(0)).eval()


IDS = RNG(1).integers(0, 60, (3, 12))
pytestmark = pytest.mark.usefixtures("short_reports", "no_wait_for_the_disk")
posix = pytest.mark.skipif(os.name != "posix", reason="a mapped file cannot be replaced elsewhere")

# ---------------------------------------------------------------- without transformers


@pytest.mark.parametrize("tie_weights", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "gelu_erf", "relu", "silu", "tanh"])
def test_a_folder_comes_back(tmp_path, tie_weights, bias, activation):
    model = small(
        tie_weights=tie_weights, bias=bias, activation=activation, d_ff=20, eps=1e-3,
        scale_attention=False, scale_by_layer=True, dropout=0.1)  # fmt: skip
    model.save_pretrained(tmp_path / "new" / "folder")
    loaded = TinyGPT.from_pretrained(tmp_path / "new" / "folder")
    assert loaded.config == model.config and not loaded.training
    np.testing.assert_array_equal(loaded(IDS).data, model(IDS).data)
    loaded.loss(IDS, IDS).backward()  # and it can be trained
    nn.AdamW(loaded.parameters()).step()
    assert (loaded(IDS).data != model(IDS).data).any()
    again = TinyGPT.from_pretrained(str(tmp_path / "new" / "folder"))
    np.testing.assert_array_equal(again(IDS).data, model(IDS).data)  # the file is as it was


def foreign(tmp_path, model, change=lambda config: None, dtype=np.float32, prefix="transformer."):
    """A folder as another program would write it."""
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["tinygpt"]
    change(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    arrays, _ = load_arrays(tmp_path / "model.safetensors")
    arrays = {name.replace("transformer.", prefix): a.astype(dtype) for name, a in arrays.items()}
    save_arrays(tmp_path / "model.safetensors", arrays)
    return arrays


@pytest.mark.parametrize("prefix", ["transformer.", ""])
def test_folders_of_others(tmp_path, prefix):
    model = small()
    arrays = foreign(tmp_path, model, prefix=prefix)
    arrays[f"{prefix}h.0.attn.bias"] = np.tril(np.ones((1, 1, 12, 12)))
    arrays[f"{prefix}h.1.attn.masked_bias"] = np.array(-1e4)
    arrays["lm_head.weight"] = arrays[f"{prefix}wte.weight"]  # tied, and stored all the same
    del arrays[f"{prefix}h.0.mlp.c_fc.bias"]  # which is zeros
    save_arrays(tmp_path / "model.safetensors", arrays)
    np.testing.assert_array_equal(TinyGPT.from_pretrained(tmp_path)(IDS).data, model(IDS).data)


def test_half_precision(tmp_path):
    model = small()
    foreign(tmp_path, model, dtype=np.float16)
    loaded = TinyGPT.from_pretrained(tmp_path)
    assert loaded(IDS).dtype == np.float32
    np.testing.assert_allclose(loaded(IDS).data, model(IDS).data, atol=5e-4)


def test_shards(tmp_path):
    model = small()
    arrays = foreign(tmp_path, model)
    (tmp_path / "model.safetensors").unlink()
    names = sorted(arrays)
    files = {"a.safetensors": names[:5], "b.safetensors": names[5:]}
    for file, part in files.items():
        save_arrays(tmp_path / file, {name: arrays[name] for name in part})
    index = {"weight_map": {name: file for file, part in files.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    np.testing.assert_array_equal(TinyGPT.from_pretrained(tmp_path)(IDS).data, model(IDS).data)
    for broken in ([1], {"wte.weight": 3}):
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": broken}))
        with pytest.raises(ValueError, match="weight_map must give each weight a file"):
            TinyGPT.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(ValueError, match=r"there is no file .*b\.safetensors"):
        TinyGPT.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": ...}, "no vocab_size in it"),
        ({"n_embd": ...}, "no n_embd in it"),
        ({"n_positions": ...}, "has no n_positions, the longest context"),
        ({"model_type": "llama"}, "model_type is 'llama', only gpt2 is known here"),
        ({"activation_function": "mish"}, "activation_function 'mish' is not one of gelu_new"),
        ({"add_cross_attention": True}, "add_cross_attention is not built here"),
        ({"n_embd": 16}, r"wte.weight has shape \(60, 8\), the model needs \(60, 16\)"),
        ({"n_layer": 3}, r"missing: transformer.h.2.ln_1.weight"),
        ({"n_layer": 1}, "unexpected: transformer.h.1.attn.c_attn.bias"),
        ({"n_head": 3}, "n_embd 8 cannot be divided among n_head 3"),
        ({"n_layer": "two"}, "config.json: n_layer must be a whole number, got 'two'"),
    ],
)
def test_configs_that_do_not_fit(tmp_path, change, message):
    def apply(config):
        config.update(change)
        for name in [name for name, value in change.items() if value is ...]:
            del config[name]

    foreign(tmp_path, small(), apply)
    with pytest.raises(ValueError, match=message):
        TinyGPT.from_pretrained(tmp_path)


def test_weights_that_do_not_fit(tmp_path):
    arrays = foreign(tmp_path, small())
    name = "transformer.h.1.mlp.c_fc.weight"
    save_arrays(tmp_path / "model.safetensors", {**arrays, name: arrays[name].T})
    with pytest.raises(ValueError, match=rf"{name} has shape \(32, 8\), the model needs \(8, 32\)"):
        TinyGPT.from_pretrained(tmp_path)
    del arrays[name]
    save_arrays(tmp_path / "model.safetensors", arrays)
    with pytest.raises(ValueError, match=rf"missing: {name} \(8, 32\)"):
        TinyGPT.from_pretrained(tmp_path)
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[:-100])
    with pytest.raises(ValueError, match="is not all there"):
        TinyGPT.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"there is no model\.safetensors in"):
        TinyGPT.from_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin, a pickle, which can run any code"):
        TinyGPT.from_pretrained(tmp_path)


def test_what_is_no_gpt2(tmp_path):
    model = small(norm_first=False, positions="sinusoidal")
    expected = "cannot be a GPT-2: norm_first is false.*; positions are sinusoidal: GPT-2's are"
    with pytest.raises(ValueError, match=expected):
        model.save_pretrained(tmp_path)
    tokenizer = tinygpt.CharTokenizer([chr(65 + i) for i in range(60)])
    tinygpt.save(tmp_path, model, tokenizer)  # a run can have it all the same
    np.testing.assert_array_equal(tinygpt.load(tmp_path)[0](IDS).data, model(IDS).data)


@pytest.fixture
def tokenizer():
    pytest.importorskip("tokenizers")
    more = "Whether 'tis nobler in the mind to suffer the slings and arrows of outrageous fortune"
    return BPETokenizer().fit(TEXT + more * 9, 300)  # <|endoftext|> is token 299


def test_a_tokenizer_in_two_files(tmp_path, tokenizer):
    tokenizer._model.model.save(str(tmp_path))  # vocab.json and merges.txt
    vocabulary = json.loads((tmp_path / "vocab.json").read_text("utf-8"))
    vocabulary["<|endoftext|>"] = len(vocabulary)
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    loaded = load_tokenizer(tmp_path)
    assert (
        loaded.encode(TEXT) == tokenizer.encode(TEXT) and loaded.decode(loaded.encode(TEXT)) == TEXT
    )
    assert (loaded.vocab_size, loaded.stop) == (tokenizer.vocab_size, tokenizer.stop)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(ValueError, match=r"vocab\.json is not a tokenizer"):
        load_tokenizer(tmp_path)


# ---------------------------------------------------------------- end tokens


def with_tokens(tmp_path, tokenizer, config=None, generation=None, **changes):
    """A folder of another program with a tokenizer, and the special tokens that it names."""
    foreign(tmp_path, small(vocab_size=tokenizer.vocab_size, **changes))
    content = json.loads((tmp_path / "config.json").read_text())
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        del content[name]
    (tmp_path / "config.json").write_text(json.dumps({**content, **(config or {})}))
    if generation is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    tokenizer.save(tmp_path)
    return tmp_path


ENDS = [  # config.json, generation_config.json, what ends a text
    ({}, None, 299), ({"eos_token_id": 7}, None, 7), ({"eos_token_id": [7, 9]}, None, [7, 9]),
    ({"eos_token_id": 7}, {"eos_token_id": 9}, 9), ({}, {"eos_token_id": [9, 7]}, [9, 7]),
    ({"eos_token_id": 7}, {"pad_token_id": 3}, 7), ({"eos_token_id": None}, None, None),
    ({"eos_token_id": 7}, {"eos_token_id": None}, None), ({"eos_token_id": 7.0}, None, 7),
    ({"eos_token_id": 50256}, None, 299), ({"eos_token_id": [50256, 7]}, None, 7),
    ({"eos_token_id": 0}, None, 0), ({"eos_token_id": []}, None, None),
]  # fmt: skip


@pytest.mark.parametrize(("config", "generation", "end"), ENDS, ids=str)
def test_what_ends_a_text(tmp_path, tokenizer, config, generation, end):
    model, loaded = tinygpt.load(with_tokens(tmp_path / "in", tokenizer, config, generation))
    assert loaded.stop == end
    assert loaded.separator == (end[0] if isinstance(end, list) else 299 if end is None else end)
    tinygpt.save(tmp_path / "out", model, loaded)  # and it is written again
    assert tinygpt.load(tmp_path / "out")[1].stop == end
    content = json.loads((tmp_path / "out" / "config.json").read_text())
    assert content["eos_token_id"] == end
    assert content["pad_token_id"] == (generation or {}).get("pad_token_id")


@pytest.mark.parametrize("value", ["7", True, -0.5, [7, "9"], [[7]], {"id": 7}, [None]])
@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_end_tokens_of_no_number(tmp_path, tokenizer, value, file):
    key = {"eos_token_id": value}
    with_tokens(tmp_path, tokenizer, *([key] if file == "config.json" else [{}, key]))
    expected = f"{file}: eos_token_id must be the id of a token, a list of ids or null, got "
    with pytest.raises(ValueError, match=re.escape(expected + repr(value))):
        TinyGPT.from_pretrained(tmp_path)


@pytest.mark.parametrize("several", [False, True])
def test_the_program_stops_at_the_end_token(tmp_path, tokenizer, capsys, several):
    tokenizer._model.add_special_tokens(["</s>"])  # 300
    folder = with_tokens(tmp_path, tokenizer)
    command = ["generate", str(folder), "--prompt", "To be", "--temperature", "0",
               "--max-new-tokens", "8"]  # fmt: skip
    tinygpt.main(command)
    whole = capsys.readouterr().out
    model, loaded = tinygpt.load(folder)
    prompt = loaded.encode("To be")
    ids = model.generate(prompt, 8, temperature=0, stop=loaded.stop)[len(prompt) :].tolist()
    assert whole == f"To be{loaded.decode(ids)}\n"
    end = next(i for i in ids[1:] if i != ids[0])
    with_tokens(tmp_path, tokenizer, {"eos_token_id": [300, end] if several else end})
    for extra in ([], ["--num-samples", "2"]):
        tinygpt.main([*command, *extra])
        expected = f"To be{loaded.decode(ids[: ids.index(end)])}\n"
        assert capsys.readouterr().out.startswith(expected)


def test_what_names_no_end(tmp_path):
    for name, tokenizer, end in (
        ("char", tinygpt.CharTokenizer([chr(65 + i) for i in range(60)]), None),
        ("word", tinygpt.WordTokenizer([*tinygpt.WordTokenizer.specials, *map(str, range(56))]), 3),
        ("none", None, None),
    ):
        model = small()
        tinygpt.save(tmp_path / name, model, tokenizer)
        content = json.loads((tmp_path / name / "config.json").read_text())
        assert [content[f"{n}_token_id"] for n in ("bos", "eos", "pad")] == [None, end, None]
        # An earlier version named the last letter as the end: the tokenizer knows better.
        content["eos_token_id"] = 59
        del content["tinygpt"]
        (tmp_path / name / "config.json").write_text(json.dumps(content))
        save_arrays(tmp_path / name / "model.safetensors", gpt2_arrays(model))
        if tokenizer:
            assert tinygpt.load(tmp_path / name)[1].stop == end


def gpt2_arrays(model):
    return nn.gpt2._gpt2_arrays(model.state_dict(), model.config.n_layer)


def test_a_model_that_is_trained_further_keeps_its_end(tmp_path, tokenizer):
    tokenizer._model.add_special_tokens(["</s>", "<pad>"])
    ids = {"eos_token_id": 300, "bos_token_id": 300, "pad_token_id": 301}
    base = with_tokens(tmp_path / "base", tokenizer, ids, bias=True)
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(TEXT, encoding="utf-8")
    flags = "--max-iters 2 --eval-interval 9 --eval-iters 1 --batch-size 2".split()
    tinygpt.main(["train", str(tmp_path / "a.txt"), str(tmp_path / "b.txt"), "--init-from",
                  str(base), "--out-dir", str(tmp_path / "run"), *flags])  # fmt: skip
    run, kept = tmp_path / "run", tmp_path / "run" / "tokens" / "tokens.bin"
    for resumed in (False, True):
        if resumed:
            kept.unlink()  # it is made again
            tinygpt.main(["train", "--out-dir", str(run), "--resume", "--max-iters", "3"])
        content = json.loads((run / "config.json").read_text())
        assert {name: content[name] for name in ids} == ids
        assert tinygpt.load(run)[1].stop == 300
        assert np.fromfile(kept, "<u2").tolist().count(300) == 1  # between the two files


# ---------------------------------------------------------------- rows and tokens


@pytest.mark.parametrize("rows", [299, 300, 301, 320, 512])
def test_more_or_fewer_rows_than_tokens(tmp_path, tokenizer, capsys, rows):
    model = small(vocab_size=rows)
    last = model.token_embedding.weight.data
    last[300:] = 9 * np.sign(model.norm.weight.data)  # these rows are likelier than all others
    model.norm.bias.data += 1
    foreign(tmp_path, model)
    tokenizer.save(tmp_path)
    loaded, reader = tinygpt.load(tmp_path)
    assert reader.encode("To be") == tokenizer.encode("To be")
    np.testing.assert_array_equal(loaded(IDS).data, model(IDS).data)
    for flags in (["--temperature", "0"], ["--num-samples", "2", "--seed", "1"], ["--seed", "5"]):
        if rows > 300:
            assert np.argmax(loaded(IDS).data[0, -1]) >= 300
        tinygpt.main(["generate", str(tmp_path), "--prompt", "To be", *flags,
                      "--max-new-tokens", "9"])  # fmt: skip
        out = capsys.readouterr().out
        assert out.startswith("To be") and len(reader.encode(out)) > 7
    for seed in range(3):
        tinygpt.main(["generate", str(tmp_path), "--seed", str(seed), "--max-new-tokens", "2"])
    if rows == 299:
        text = "<|endoftext|>"
        expected = r"the text has the token '<\|endoftext\|>' of id 299, and the model has rows for"
        with pytest.raises(ValueError, match=expected):
            reader.encode(f"To be{text}")
        capsys.readouterr()
        with pytest.raises(SystemExit):
            tinygpt.main(["generate", str(tmp_path), "--prompt", text])
        assert "has the token '<|endoftext|>' of id 299" in capsys.readouterr().err


def two_files(tmp_path, tokenizer, **files):
    """vocab.json and merges.txt, and more files beside them."""
    tokenizer._model.model.save(str(tmp_path))
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def stripped(token, **options):
    return {"content": token, "lstrip": False, "rstrip": False, "single_word": False,
            "normalized": False, **options}  # fmt: skip


SAMPLE = "To be<pad> or  <pad>not </s> <extra> be"
BESIDE = [  # the files beside vocab.json, and the tokens that they make of SAMPLE
    {}, {"added_tokens": {"<pad>": 299}}, {"added_tokens": {"<extra>": 300, "<pad>": 299}},
    {"added_tokens": {"</s>": 299}, "special_tokens_map": {"eos_token": "</s>"}},
    {"added_tokens": {"</s>": 299, "<pad>": 300, "<extra>": 301},
     "special_tokens_map": {"eos_token": stripped("</s>", lstrip=True), "pad_token": "<pad>",
                            "additional_special_tokens": ["<extra>"]}},
    {"tokenizer_config": {"add_prefix_space": False, "eos_token": "</s>", "add_bos_token": False,
                          "added_tokens_decoder": {
        "299": stripped("</s>", special=True), "300": stripped("<pad>", rstrip=True)}}},
]  # fmt: skip


@pytest.mark.parametrize("files", BESIDE, ids=range(len(BESIDE)))
def test_tokens_added_beside_a_vocabulary(tmp_path, tokenizer, files):
    loaded = load_tokenizer(two_files(tmp_path, tokenizer, **files))
    decoder = files.get("tokenizer_config", {}).get("added_tokens_decoder", {})
    added = {**files.get("added_tokens", {}), **{v["content"]: int(k) for k, v in decoder.items()}}
    ids = loaded.encode(SAMPLE)
    for token in ("<pad>", "</s>", "<extra>"):
        assert ids.count(added.get(token, -1)) == (SAMPLE.count(token) if token in added else 0)
    stripped = BESIDE.index(files) == 5  # one space, which belongs to the token beside it
    assert len(loaded.decode(ids)) == len(SAMPLE) - stripped
    assert loaded.stop == (299 if "</s>" in added else None)
    assert loaded.vocab_size == 299 + len(added)


NAMED = [  # the files beside tokenizer.json, and the tokens that they make one token
    {"tokenizer_config": {"eos_token": "</s>"}},
    {"special_tokens_map": {"eos_token": "</s>", "pad_token": "<pad>"}},
    {"tokenizer_config": {"added_tokens_decoder": {
        "300": stripped("<|endoftext|>", special=True), "301": stripped("<pad>", special=True)}}},
    {"added_tokens": {"<pad>": 301}}, {"special_tokens_map": {"eos_token": stripped("</s>")}},
    {"tokenizer_config": {"added_tokens_decoder": {"299": stripped("</s>", lstrip=True)}}},
    {"tokenizer_config": {"added_tokens_decoder": {
        "300": stripped("<|endoftext|>", rstrip=True, special=True)}}},
    {"tokenizer_config": {"model_max_length": 12, "extra_special_tokens": {}, "eos_token": None}},
]  # fmt: skip


def whole_file(tmp_path, tokenizer, **files):
    """tokenizer.json, with "</s>" as a token of its vocabulary, and more files beside it."""
    content = json.loads(tokenizer.to_json())
    content["model"]["vocab"]["</s>"] = 299
    content["added_tokens"][0]["id"] = 300
    for name, each in {**files, "tokenizer": content}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(each))
    return tmp_path


@pytest.mark.parametrize("files", NAMED, ids=range(len(NAMED)))
def test_tokens_named_beside_a_tokenizer(tmp_path, tokenizer, files):
    loaded = load_tokenizer(whole_file(tmp_path, tokenizer, **files))
    for token, i in (("</s>", 299), ("<|endoftext|>", 300), ("<pad>", 301)):
        one = token == "<|endoftext|>" or f'"{token}"' in json.dumps(files)
        assert (loaded.encode(f"To{token}be").count(i) == 1) == one
    assert loaded.stop == (299 if any(part.get("eos_token") for part in files.values()) else 300)
    again = load_tokenizer(loaded.save(tmp_path / "again").parent)
    assert again.encode(SAMPLE) == loaded.encode(SAMPLE)  # all of it is in tokenizer.json


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"added_tokens": {"<pad>": "299"}}, "ids are whole numbers, got ['299']"),
        ({"added_tokens": {"<pad>": True}}, "ids are whole numbers, got [True]"),
        ({"added_tokens": {"<pad>": -1}}, "ids are whole numbers, got [-1]"),
        ({"added_tokens": {"<pad>": 7}}, "'<pad>' has the id 7 beside it, which "),
        ({"added_tokens": {"<a>": 299, "<b>": 299}}, "'<b>' has the id 299 beside it, which '<a>'"),
        ({"added_tokens": ["<pad>"]}, "added_tokens.json is damaged, or of another program"),
        ({"tokenizer_config": {"added_tokens_decoder": {"x": "<pad>"}}}, "is damaged (invalid lit"),
        ({"tokenizer_config": {"added_tokens_decoder": ["<pad>"]}}, "is damaged ("),
        ({"tokenizer_config": {"added_tokens_decoder": {"299": 3}}}, "is damaged ("),
        ({"special_tokens_map": {"eos_token": {"content": ["</s>"]}}}, "is damaged ("),
        ({"vocab": {"a": "1"}}, "vocab.json is not a tokenizer ("),
        ({"vocab": {"a": 1.5}}, "vocab.json is not a tokenizer ("),
        ({"vocab": ["a"]}, "vocab.json is not a tokenizer ("),
    ],
    ids=str,
)
def test_added_tokens_that_are_wrong(tmp_path, tokenizer, files, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_tokenizer(two_files(tmp_path, tokenizer, **files))


# ---------------------------------------------------------------- tied weights, sizes, values


@pytest.mark.parametrize("prefix", ["transformer.", ""])
@pytest.mark.parametrize("tied", [True, False, None])
@pytest.mark.parametrize("held", ["wte", "head", "both", "different"])
def test_one_table_for_embedding_and_head(tmp_path, held, tied, prefix):
    def change(config):
        config["tie_word_embeddings"] = tied
        if tied is None:  # which is true
            del config["tie_word_embeddings"]

    model = small()
    arrays = foreign(tmp_path, model, change, prefix=prefix)
    table, tied = arrays[f"{prefix}wte.weight"], tied is not False
    head = table if held != "different" else RNG(5).standard_normal(table.shape, np.float32)
    if held != "wte":
        arrays["lm_head.weight"] = head
    if held == "head":
        del arrays[f"{prefix}wte.weight"]
    save_arrays(tmp_path / "model.safetensors", arrays)
    if not tied and held in ("wte", "head"):
        missing = "lm_head" if held == "wte" else "transformer.wte"
        with pytest.raises(ValueError, match=rf"missing: {missing}\.weight"):
            TinyGPT.from_pretrained(tmp_path)
        return
    loaded = TinyGPT.from_pretrained(tmp_path)
    assert loaded.config.tie_weights == (tied and held != "different")
    expected = small(tie_weights=False)
    expected.load_state_dict({**model.state_dict(), "head.weight": head.T})
    np.testing.assert_allclose(loaded(IDS).data, expected.eval()(IDS).data, atol=1e-6)


def test_nothing_of_a_file_is_left_out_in_silence(tmp_path):
    arrays = foreign(tmp_path, small(bias=True))
    for name in ("score.weight", "v_head.summary.bias", "h.0.attn.c_attn.lora", "h.9.attn.c.bias"):
        save_arrays(tmp_path / "model.safetensors", {**arrays, name: np.ones(2, np.float32)})
        with pytest.raises(ValueError, match=f"unexpected: {name}$"):
            TinyGPT.from_pretrained(tmp_path)
    twice = {**arrays, "wte.weight": arrays["transformer.wte.weight"] + 1}
    save_arrays(tmp_path / "model.safetensors", twice)
    with pytest.raises(ValueError, match=r"the weights have transformer\.wte\.weight twice"):
        TinyGPT.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    save_arrays(tmp_path / "a.safetensors", arrays)
    save_arrays(tmp_path / "b.safetensors", {"transformer.ln_f.bias": np.ones(8, np.float32)})
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"b\.safetensors holds transformer\.ln_f\.bias, as"):
        TinyGPT.from_pretrained(tmp_path)


def test_biases_that_a_model_has_no_place_for(tmp_path):
    """Written here without biases, and given some by a program that kept the checksums."""
    model = small(bias=False)
    arrays = gpt2_arrays(model)
    model.save_pretrained(tmp_path)
    _, header = load_arrays(tmp_path / "model.safetensors")
    arrays["transformer.ln_f.bias"] += 1
    save_arrays(tmp_path / "model.safetensors", arrays, header)
    with pytest.raises(ValueError, match=r"unexpected: norm\.bias"):
        TinyGPT.from_pretrained(tmp_path)


WRONG = ["12", True, None, [12], {"x": 12}, float("nan"), float("inf"), 10**400, -1, 0, 2.5]
SIZES = ["vocab_size", "n_positions", "n_layer", "n_head", "n_embd", "n_inner"]


@pytest.mark.parametrize("value", WRONG, ids=lambda value: str(value)[:9])
@pytest.mark.parametrize("key", [
    *SIZES, "layer_norm_epsilon", "tie_word_embeddings", "scale_attn_weights",
    "scale_attn_by_inverse_layer_idx", "activation_function",
])  # fmt: skip
def test_values_of_another_type(tmp_path, key, value):
    foreign(tmp_path, small(), lambda config: config.update({key: value}))
    text = value is None or key in SIZES or value in ("12", True, [12], {"x": 12})
    if (key, value) == ("n_inner", None) or (value is True and key[:3] in ("tie", "sca")):
        return  # which are right
    if key == "layer_norm_epsilon" and value in (0, 2.5):
        return
    with pytest.raises(ValueError) as caught:
        TinyGPT.from_pretrained(tmp_path)
    assert type(caught.value) is ValueError and "\n" not in str(caught.value)
    assert re.match(rf"{re.escape(str(tmp_path))}/config\.json:? .*{key}", str(caught.value)), text
    assert value is None or repr(value)[:20] in str(caught.value)


@pytest.mark.parametrize("key", SIZES)
def test_sizes_far_beyond_the_weights_take_no_time(tmp_path, key):
    value = 6 * 10**9
    foreign(tmp_path, small(), lambda config: config.update({key: value}))
    with pytest.raises(ValueError, match=r"config\.json: "):
        TinyGPT.from_pretrained(tmp_path)


def test_a_number_is_the_same_in_any_type(tmp_path):
    model = small()
    foreign(tmp_path, model, lambda config: config.update(
        {key: float(config[key]) for key in SIZES}, layer_norm_epsilon=1e-05))  # fmt: skip
    loaded = TinyGPT.from_pretrained(tmp_path)
    assert loaded.config.n_layer == 2 and type(loaded.config.n_layer) is int
    np.testing.assert_array_equal(loaded(IDS).data, model(IDS).data)


@pytest.mark.parametrize("own", [[1], "text", 3, {"n_layer": 2}, {"vocab_size": "60"}])
def test_our_own_part_of_a_config_that_is_wrong(tmp_path, own):
    small().save_pretrained(tmp_path)
    content = {**json.loads((tmp_path / "config.json").read_text()), "tinygpt": own}
    (tmp_path / "config.json").write_text(json.dumps(content))
    arrays, _ = load_arrays(tmp_path / "model.safetensors")
    save_arrays(tmp_path / "model.safetensors", arrays, {"seals": "{}"})
    with pytest.raises(ValueError, match=r"config\.json( is damaged|: vocab_size must be a whole)"):
        TinyGPT.from_pretrained(tmp_path)


# ---------------------------------------------------------------- mapped files, dropout


@posix
def test_saving_over_the_folder_a_model_came_from(tmp_path):
    model = small()
    model.save_pretrained(tmp_path)
    loaded = TinyGPT.from_pretrained(tmp_path)
    for _ in range(2):
        loaded.save_pretrained(tmp_path)
        np.testing.assert_array_equal(TinyGPT.from_pretrained(tmp_path)(IDS).data, model(IDS).data)
    np.testing.assert_array_equal(loaded(IDS).data, model(IDS).data)
    loaded.token_embedding.weight.data *= 2
    loaded.save_pretrained(tmp_path)
    np.testing.assert_array_equal(TinyGPT.from_pretrained(tmp_path)(IDS).data, loaded(IDS).data)


@posix
def test_what_is_trained_is_no_file(tmp_path):
    """A file that is written into changes a model that was opened, but not one in training."""
    small(n_embd=16).save_pretrained(tmp_path / "base")
    path = tmp_path / "base" / "model.safetensors"
    loaded, before = TinyGPT.from_pretrained(tmp_path / "base").train(), path.read_bytes()
    loaded.loss(IDS, IDS).backward()
    nn.AdamW(loaded.parameters()).step()
    weights = {name: array.copy() for name, array in loaded.state_dict().items()}
    with open(path, "r+b") as file:  # as `cp` does; save_pretrained replaces the file
        file.write(before[:1000] + bytes(len(before) - 1000))
    for name, array in loaded.state_dict().items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)


def test_training_further_in_a_loop_of_ones_own(tmp_path):
    small(dropout=0.5).save_pretrained(tmp_path)
    model = TinyGPT.from_pretrained(tmp_path).train()
    for again in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        losses = {again.loss(IDS, np.roll(IDS, -1)).item() for _ in range(5)}
        assert len(losses) == 5  # dropout acts
        again.loss(IDS, IDS).backward()
        assert all(p.grad is not None for p in again.parameters())
        values = []
        for _ in range(2):
            rng = RNG(3)
            for module in again.modules():
                if isinstance(module, nn.Dropout):
                    module.rng = rng
            values.append(again.loss(IDS, IDS).item())
        assert values[0] == values[1]
    model.activation_checkpointing = True
    model.loss(IDS, IDS).backward()


# ---------------------------------------------------------------- beside transformers


@pytest.fixture(scope="module")
def library():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("torch")
        return pytest.importorskip("transformers")


def theirs(library, **changes):
    import torch

    torch.manual_seed(0)
    shape = dict(vocab_size=60, n_positions=12, n_layer=2, n_head=2, n_embd=8)
    quiet = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, initializer_range=0.3)
    config = library.GPT2Config(
        **{**shape, **quiet, "bos_token_id": 59, "eos_token_id": 59, **changes}
    )
    return library.GPT2LMHeadModel(config).eval()


def logits_of(model, ids):
    import torch

    with torch.no_grad():
        return model(torch.tensor(ids)).logits.numpy()


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"n_inner": 20}, {"activation_function": "gelu"}, {"activation_function": "relu"},
        {"activation_function": "gelu_pytorch_tanh"}, {"activation_function": "silu"},
        {"activation_function": "tanh"}, {"layer_norm_epsilon": 0.1},
        {"scale_attn_weights": False}, {"scale_attn_by_inverse_layer_idx": True},
        {"scale_attn_by_inverse_layer_idx": True, "scale_attn_weights": False},
        {"tie_word_embeddings": False}, {"n_head": 1, "n_layer": 3, "n_embd": 6},
        {"reorder_and_upcast_attn": True},
    ],
    ids=str,
)  # fmt: skip
def test_the_same_as_transformers_both_ways(library, tmp_path, changes):
    import torch

    original = theirs(library, **changes)
    original.save_pretrained(tmp_path / "theirs")
    model = TinyGPT.from_pretrained(tmp_path / "theirs")
    np.testing.assert_allclose(model(IDS).data, logits_of(original, IDS), atol=1e-5)

    targets = np.roll(IDS, -1)
    logits = original(torch.tensor(IDS)).logits
    torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), torch.tensor(targets).flatten()
    ).backward()
    expected = dict(original.named_parameters())
    names = nn.gpt2.gpt2_names(model.config.n_layer)
    gradients = grad(model.loss(IDS, targets), model.parameters())
    for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True):
        g = expected[names[name]].grad.numpy()
        g = g.T if name == "head.weight" else g
        np.testing.assert_allclose(gradient.data, g, atol=1e-5, err_msg=name)

    prompt = torch.tensor(IDS[:1, :3])
    mask = torch.ones_like(prompt)
    drawn = original.generate(prompt, attention_mask=mask, max_new_tokens=9, do_sample=False,
                              eos_token_id=None, pad_token_id=0)  # fmt: skip
    np.testing.assert_array_equal(model.generate(IDS[0, :3], 9, temperature=0), drawn[0].numpy())

    model.save_pretrained(tmp_path / "ours")
    back, report = library.GPT2LMHeadModel.from_pretrained(
        tmp_path / "ours", output_loading_info=True)  # fmt: skip
    assert not any(report.values()), report
    np.testing.assert_allclose(logits_of(back.eval(), IDS), logits_of(original, IDS), atol=1e-5)


@pytest.mark.parametrize(("config", "generation", "end"), ENDS, ids=str)
def test_transformers_stops_where_this_does(library, tmp_path, tokenizer, config, generation, end):
    import torch

    if generation == {"pad_token_id": 3}:
        pytest.skip("there transformers stops nowhere; here config.json is asked, too")
    model, _ = tinygpt.load(with_tokens(tmp_path, tokenizer, block_size=64))
    prompts = [[1], [5], [60], [200]]
    endless = [model.generate(p, 20, temperature=0).tolist() for p in prompts]
    for found in {row[1 + n] for row in endless for n in range(4)}:  # tokens that come
        named = {7: found, 9: found, (7, 9): [found, 9], (9, 7): [9, found]}
        parts = copy.deepcopy((config, generation))
        for part in filter(None, parts):
            value = part.get("eos_token_id")
            value = tuple(value) if isinstance(value, list) else value
            if value in named:
                part["eos_token_id"] = named[value]
        with_tokens(tmp_path, tokenizer, *parts, block_size=64)
        model, loaded = tinygpt.load(tmp_path)
        original = library.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
        for prompt in prompts:
            drawn = original.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False,
                                      attention_mask=torch.ones(1, 1), pad_token_id=0)  # fmt: skip
            ours = model.generate(prompt, 20, temperature=0, stop=loaded.stop).tolist()
            assert ours == drawn[0].tolist()


FILES = [*((two_files, files) for files in BESIDE[1:]), *((whole_file, files) for files in NAMED)]


@pytest.mark.parametrize(("write", "files"), FILES, ids=range(len(FILES)))
def test_added_tokens_are_those_of_transformers(library, tmp_path, tokenizer, write, files):
    ours = load_tokenizer(write(tmp_path, tokenizer, config={"model_type": "gpt2"}, **files))
    theirs = library.AutoTokenizer.from_pretrained(tmp_path)
    rng, words = RNG(0), ["<pad>", "</s>", "<extra>", " ", "to", "be", "느냐", "\n", "<", "  x"]
    for _ in range(200):
        text = "".join(rng.choice(words, rng.integers(1, 9)))
        assert ours.encode(text) == theirs(text)["input_ids"], text


def test_a_run_opens_in_transformers(library, tmp_path, tokenizer, caplog):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    flags = "--tokenizer bpe --vocab-size 300 --block-size 8 --n-layer 1 --n-head 2 --n-embd 8"
    tinygpt.main(["train", str(tmp_path / "text.txt"), "--out-dir", str(tmp_path / "run"), "--arch",
                  "gpt", *flags.split(), "--max-iters", "2", "--eval-iters", "1"])  # fmt: skip
    logging.getLogger("transformers").propagate = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = library.AutoModelForCausalLM.from_pretrained(tmp_path / "run")
        reader = library.AutoTokenizer.from_pretrained(tmp_path / "run")
    assert not caplog.records
    ours, own = tinygpt.load(tmp_path / "run")
    ids = own.encode("To be, 죽느냐")
    assert reader("To be, 죽느냐")["input_ids"] == ids
    assert reader.decode(ids) == "To be, 죽느냐"
    np.testing.assert_allclose(ours(ids[:8]).data, logits_of(model, [ids[:8]])[0], atol=1e-5)


def test_a_run_that_transformers_trained_further(library, tmp_path):
    import torch

    small(bias=False).save_pretrained(tmp_path / "ours")
    model = library.GPT2LMHeadModel.from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():
        for parameter in model.parameters():  # its biases too
            parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path / "theirs")
    loaded = TinyGPT.from_pretrained(tmp_path / "theirs")
    np.testing.assert_allclose(loaded(IDS).data, logits_of(model, IDS), atol=1e-5)
