"""GPT-2 folders in and out, beside Hugging Face's transformers where that is installed."""

import json
import logging
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
        ({"n_layer": "two"}, "n_layer must be a number, got 'two'"),
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
    return BPETokenizer().fit(TEXT, 300)


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


def test_a_run_opens_in_transformers(library, tmp_path, tokenizer, caplog):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    flags = "--tokenizer bpe --vocab-size 300 --block-size 8 --n-layer 1 --n-head 2 --n-embd 8"
    tinygpt.main(["train", str(tmp_path / "text.txt"), "--out-dir", str(tmp_path / "run"),
                  *flags.split(), "--max-iters", "2", "--eval-iters", "1"])  # fmt: skip
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
