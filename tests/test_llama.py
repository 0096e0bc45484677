"""Models of Llama's family and their folders, beside transformers where that is installed."""

import functools
import json
import math
import tracemalloc

import numpy as np
import pytest
from common import RNG, TEXT, main, refused, weights
from hypothesis import given, settings
from hypothesis import strategies as st

import nn
import tinygpt
from autograd import Tensor, check_gradients
from nn.files import load_arrays, save_arrays
from nn.llama import Llama, LlamaConfig
from nn.llama_files import family_of, llama_names
from tinygpt import BPETokenizer, Sampling

SHAPE = dict(qk_norm=False, rope_theta=1e4, vocab_size=11, block_size=16, n_layer=2, n_head=4,
             n_kv_head=2, n_embd=8)  # fmt: skip
IDS = RNG(1).integers(0, 11, (3, 12))
LINEAR = {"rope_type": "linear", "factor": 4.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}  # fmt: skip
FAMILIES = {
    "llama": dict(),
    "llama 2": dict(n_kv_head=4, tie_weights=False, eps=1e-6),
    "llama 3": dict(rope_scaling=LLAMA3, rope_theta=500_000.0),
    "llama with biases": dict(qkv_bias=True, output_bias=True, mlp_bias=True),
    "mistral": dict(windows=[3, 3], n_kv_head=1),
    "mistral with wide heads": dict(windows=None, n_head=3, n_kv_head=1, head_dim=6),
    "qwen2": dict(qkv_bias=True, rope_scaling=LINEAR),
    "qwen2 with windows": dict(qkv_bias=True, windows=[None, 4], tie_weights=False),
    "qwen3": dict(qk_norm=True, head_dim=6),
    "qwen3 with biases": dict(qk_norm=True, qkv_bias=True, output_bias=True, windows=[5, None]),
}
each_family = pytest.mark.parametrize("changes", FAMILIES.values(), ids=FAMILIES)


def small(**changes):
    """A model whose parameters are all random, so that none is a 1 or a 0 by chance."""
    model = Llama(LlamaConfig(**{**SHAPE, **changes}), RNG(0)).eval()
    rng = RNG(5)
    for p in model.parameters():
        p.data += rng.standard_normal(p.shape, dtype=np.float32) / 3
    return model


def oracle(model, ids):
    """Logits (T, V) of ids (T,), position by position and head by head, as the papers write it."""
    c, w = model.config, {n: p.astype(float) for n, p in model.state_dict().items()}

    def norm(x, name):
        return x / math.sqrt(np.mean(x * x) + c.eps) * w[name]

    def linear(x, name):
        return x @ w[f"{name}.weight"] + w.get(f"{name}.bias", 0)

    def placed(x, t):  # channels i and i + D/2 as a complex number
        z = (x[: c.head_dim // 2] + 1j * x[c.head_dim // 2 :]) * np.exp(1j * t * c.frequencies())
        return np.concatenate([z.real, z.imag])

    xs = [w["token_embedding.weight"][i] for i in ids]
    for n in range(c.n_layer):
        name, window = f"blocks.{n}.attention", (c.windows or [None] * c.n_layer)[n]
        heads = {"q": [], "k": [], "v": []}
        for t, x in enumerate(xs):
            for kind, found in heads.items():
                parts = linear(norm(x, f"blocks.{n}.norm1.weight"), f"{name}.{kind}")
                parts = parts.reshape(-1, c.head_dim)
                if c.qk_norm and kind != "v":
                    parts = [norm(part, f"{name}.{kind}_norm.weight") for part in parts]
                found.append(parts if kind == "v" else [placed(part, t) for part in parts])
        for t in range(len(xs)):
            out = []
            for h in range(c.n_head):
                g = h // (c.n_head // c.n_kv_head)
                seen = [s for s in range(t + 1) if window is None or t - s < window]
                scores = [heads["q"][t][h] @ heads["k"][s][g] / c.head_dim**0.5 for s in seen]
                p = np.exp(scores) / np.exp(scores).sum()
                out.append(sum(a * heads["v"][s][g] for a, s in zip(p, seen, strict=True)))
            y = xs[t] + linear(np.concatenate(out), f"{name}.output")
            x = norm(y, f"blocks.{n}.norm2.weight")
            gate = linear(x, f"blocks.{n}.feed_forward.gate")
            hidden = gate / (1 + np.exp(-gate)) * linear(x, f"blocks.{n}.feed_forward.up")
            xs[t] = y + linear(hidden, f"blocks.{n}.feed_forward.down")
    last = np.array([norm(x, "norm.weight") for x in xs])
    return last @ w.get("head.weight", w["token_embedding.weight"].T)


# ---------------------------------------------------------------- the model


@each_family
def test_the_model_is_the_one_of_the_papers(changes):
    model = small(**changes).to(np.float64)
    np.testing.assert_allclose(model(IDS[0]).data, oracle(model, IDS[0]), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(model(IDS).data[1], model(IDS[1]).data, rtol=1e-10, atol=1e-10)
    single = small(**changes)  # float32 in, float32 out
    assert single(IDS).dtype == np.float32
    np.testing.assert_allclose(single(IDS).data, model(IDS).data, rtol=1e-4, atol=1e-4)


@each_family
def test_gradients_of_every_parameter(changes):
    model = small(**changes).to(np.float64)
    names = [name for name, _ in model.named_parameters()]
    places = {id(p): n for n, p in model.named_parameters()}
    owners = [
        (vars(module), key, places[id(value)])
        for module in model.modules()
        for key, value in vars(module).items()
        if type(value) is Tensor
    ]

    def loss(*tensors):
        for attributes, key, name in owners:
            attributes[key] = tensors[names.index(name)]
        return model.loss(IDS[:2, :6], IDS[:2, 1:7])

    check_gradients(loss, *model.state_dict().values(), order=1, entries=3)


def test_second_derivatives_reach_through_a_block():
    model = small(n_layer=1, qk_norm=True).to(np.float64)
    block, (rotation, masks) = model.blocks[0], model._places((3,), 0, None)
    x = RNG(2).standard_normal((3, 8))
    check_gradients(lambda x: block(x, rotation, masks[0]), x, order=2, entries=8)


def test_the_loss_is_the_mean_cross_entropy():
    model = small()
    logits = model(IDS[:, :-1])
    expected = nn.functional.cross_entropy(logits, IDS[:, 1:])
    np.testing.assert_allclose(model.loss(IDS[:, :-1], IDS[:, 1:]).item(), expected.item(), 1e-5)
    model.loss(IDS[:, :-1], IDS[:, 1:]).backward()
    assert all(np.any(p.grad) for p in model.parameters())


def test_frequencies_of_scaled_positions():
    assert LlamaConfig(11).rope_theta == 100 and LlamaConfig(11, 500).rope_theta == 500
    plain = LlamaConfig(11, head_dim=8, rope_theta=1e4).frequencies()
    np.testing.assert_allclose(plain, [10_000 ** -(i / 8) for i in (0, 2, 4, 6)])
    linear = LlamaConfig(11, head_dim=8, rope_theta=1e4, rope_scaling=LINEAR).frequencies()
    np.testing.assert_allclose(linear, plain / 4)
    scaled = LlamaConfig(11, head_dim=16, rope_theta=50.0, rope_scaling=LLAMA3).frequencies()
    for new, old in zip(scaled, 50.0 ** -(np.arange(0, 16, 2) / 16), strict=True):
        wavelength = 2 * math.pi / old
        if wavelength < 64 / 4:
            assert new == old
        elif wavelength > 64 / 1:
            assert math.isclose(new, old / 8)
        else:
            smooth = (64 / wavelength - 1) / (4 - 1)
            assert math.isclose(new, (1 - smooth) * old / 8 + smooth * old)


def test_attention_weights_are_where_each_head_looks():
    model = small(windows=[None, 4])
    weights = model.attention_weights(IDS[0])
    assert weights.shape == (2, 4, 12, 12)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
    assert (np.triu(weights, 1) == 0).all() and (np.tril(weights[1], -4) == 0).all()
    assert (np.tril(weights[0], -4) > 0).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(n_kv_head=3), "n_kv_head 3 does not divide n_head 4"),
        (dict(n_embd=10), "n_embd 10 cannot be divided among n_head 4"),
        (dict(head_dim=3), "head_dim must be even"),
        (dict(n_kv_head=0), "n_kv_head must be at least 1"),
        (dict(rope_theta=0.5), "rope_theta must be at least 1"),
        (dict(windows=[3]), "windows must be 2 entries"),
        (dict(windows=[3, 0]), "windows must be 2 entries"),
        (dict(rope_scaling={"rope_type": "yarn", "factor": 2}), "rope_type 'yarn'"),
        (dict(rope_scaling={"rope_type": "linear"}), "rope_scaling needs numbers above 0 for fac"),
        (dict(rope_scaling={**LLAMA3, "low_freq_factor": 4.0}), "needs low_freq_factor < high"),
        (dict(arch="gpt"), "arch must be llama, got 'gpt'"),
    ],
)
def test_configs_that_make_no_sense(changes, message):
    with pytest.raises(ValueError, match=message):
        LlamaConfig(**{**SHAPE, **changes})


def test_too_many_tokens_are_refused():
    with pytest.raises(ValueError, match="17 tokens do not fit into block_size 16"):
        small()(np.zeros(17, int))


def test_what_a_model_prints():
    assert "q: Linear(8 -> 8)" in repr(small()) and "norm1: RMSNorm(8)" in repr(small())


# ---------------------------------------------------------------- generation


@settings(max_examples=20)
@given(
    st.sampled_from([*FAMILIES, "gpt"]), st.lists(st.integers(0, 10), min_size=1, max_size=20),
    st.sampled_from([0.0, 1.0]), st.integers(1, 9),
)  # fmt: skip
def test_the_same_tokens_however_they_are_computed(family, prompt, temperature, speculate):
    if family == "gpt":
        model = tinygpt.TinyGPT(tinygpt.GPTConfig(11, 16, 2, 2, 8), RNG(3)).eval()
    else:
        model = small(**FAMILIES[family])
    model.to(np.float64)
    options = dict(temperature=temperature, repetition_penalty=1.2)
    plain = tinygpt.generate(model, prompt, 24, Sampling(**options), RNG(7))
    generated = [
        model.generate(prompt, 24, rng=RNG(7), **options),
        model.generate(prompt, 24, rng=RNG(7), speculate=speculate, **options),
        [*prompt, *model.stream(prompt, 24, rng=RNG(7), **options)],
        [*prompt, *model.stream(prompt, 24, rng=RNG(7), speculate=speculate, **options)],
    ]
    for tokens in generated:
        assert [*map(int, tokens)] == [*map(int, plain)]
    if temperature == 0:  # prompts of other lengths beside it
        rows = model.generate([prompt, prompt[:1], prompt[: len(prompt) // 2 + 1]], 24, **options)
        for tokens in rows:
            alone = model.generate(tokens[:-24], 24, **options)
            assert tokens.tolist() == alone.tolist()


def test_guesses_save_passes():
    model, calls = small(), []

    def counted(ids, *rest):
        calls.append(np.shape(ids)[-1])
        return Llama.__call__(model, ids, *rest)

    class Counted:
        config, training, blocks, __call__ = (
            model.config,
            False,
            model.blocks,
            staticmethod(counted),
        )

        def decoder(self):
            return nn.cached_decoder(self)

    for p in model.parameters():
        p.data[...] = 0  # the likeliest token is 0 each time: the text repeats itself
    tokens = nn.sampling.generate(Counted(), [0, 0, 0, 0], 11, temperature=0, speculate=4)
    assert tokens.tolist() == [0] * 15
    assert calls == [8, 5, 3]  # four tokens and four guesses; one and four; and as many as fit


def test_a_decoder_keeps_what_two_texts_share():
    model = small().to(np.float64)
    decoder, none = model.decoder(), np.zeros(1, int)
    for ids in ([1, 2, 3, 4], [1, 2, 3, 4, 5, 6], [1, 2, 9], [1, 2, 9], [7], [*range(11), 1, 2, 3]):
        rows = np.array([ids])
        logits = decoder(rows, none)
        np.testing.assert_allclose(logits, model(rows).data[:, -1], rtol=1e-9, atol=1e-12)
    two = decoder(np.array([[1, 2], [0, 5]]), np.array([0, 1]))  # other rows, one with padding
    np.testing.assert_allclose(two[1], model([5]).data[-1], rtol=1e-9, atol=1e-12)
    three = decoder(np.array([[1, 2, 3, 4]]), none, 3)
    np.testing.assert_allclose(three, model([[1, 2, 3, 4]]).data[:, -3:], rtol=1e-9, atol=1e-12)


def test_a_decoder_that_was_interrupted_computes_again():
    model = small().to(np.float64)
    decoder, none, block = model.decoder(), np.zeros(1, int), model.blocks[1]
    decoder(np.array([[1, 2, 3, 4]]), none)
    model.blocks[1] = None  # the second block fails after the first has written its keys
    with pytest.raises(TypeError):
        decoder(np.array([[1, 9, 9, 9]]), none)
    model.blocks[1] = block
    rows = np.array([[1, 2, 3, 4, 5]])
    np.testing.assert_allclose(decoder(rows, none), model(rows).data[:, -1], rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------- folders


def foreign(directory, model, change=lambda config: None):
    """A folder as another program would write it."""
    model.save_pretrained(directory)
    path = directory / "config.json"
    config = json.loads(path.read_text())
    del config["tinygpt"]
    change(config)
    path.write_text(json.dumps(config))
    arrays, _ = load_arrays(directory / "model.safetensors")
    save_arrays(directory / "model.safetensors", {n: a.copy() for n, a in arrays.items()})


@each_family
def test_a_folder_comes_back(tmp_path, changes):
    model = small(**changes)
    model.config.chat_template = "{{ messages }}"
    model.save_pretrained(tmp_path / "ours")
    loaded = Llama.from_pretrained(tmp_path / "ours")
    assert loaded.config == model.config and not loaded.training
    np.testing.assert_array_equal(loaded(IDS).data, model(IDS).data)
    foreign(tmp_path / "theirs", model)
    other = Llama.from_pretrained(tmp_path / "theirs")
    assert {**vars(other.config), "token_ids": None} == vars(model.config)
    np.testing.assert_array_equal(other(IDS).data, model(IDS).data)
    loaded.loss(IDS, IDS).backward()  # and it can be trained
    nn.AdamW(loaded.parameters()).step()
    again = Llama.from_pretrained(tmp_path / "ours")
    np.testing.assert_array_equal(again(IDS).data, model(IDS).data)  # the file is as it was


def test_the_files_have_the_names_and_shapes_of_transformers(tmp_path):
    small(qk_norm=True, tie_weights=False).save_pretrained(tmp_path)
    arrays, header = load_arrays(tmp_path / "model.safetensors")
    assert arrays["model.layers.1.self_attn.k_proj.weight"].shape == (4, 8)  # [out, in]
    assert arrays["model.layers.0.mlp.up_proj.weight"].shape == (24, 8)
    assert arrays["lm_head.weight"].shape == arrays["model.embed_tokens.weight"].shape == (11, 8)
    assert "model.layers.0.self_attn.q_norm.weight" in arrays and header["format"] == "pt"
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "qwen3" and config["architectures"] == ["Qwen3ForCausalLM"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_and_several_files(tmp_path, dtype):
    model = small()
    foreign(tmp_path, model)
    arrays, _ = load_arrays(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names, parts = sorted(arrays), {}
    for i, some in enumerate((names[::2], names[1::2])):
        part = f"model-0000{i + 1}-of-00002.safetensors"
        parts |= dict.fromkeys(some, part)
        save_arrays(tmp_path / part, {n: arrays[n].astype(np.float16) for n in some})
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    if dtype == "bfloat16":  # the library's: float32 without its lower half
        library = pytest.importorskip("safetensors.numpy")
        pytest.importorskip("ml_dtypes")
        import ml_dtypes

        for i, some in enumerate((names[::2], names[1::2])):
            half = {n: arrays[n].astype(ml_dtypes.bfloat16) for n in some}
            library.save_file(half, tmp_path / f"model-0000{i + 1}-of-00002.safetensors")
    loaded = Llama.from_pretrained(tmp_path)
    np.testing.assert_allclose(loaded(IDS).data, model(IDS).data, rtol=0.1, atol=0.1)
    assert all(p.dtype == np.float32 for p in loaded.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gemma2"}, "model_type is 'gemma2', which is not built here; llama, mis"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0}, "rope_parameters": None}, "'yarn'"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "'dynamic'"),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "must be one set"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        ({"num_local_experts": 8}, "num_local_experts is 8, and it is not built"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0"),
        ({"no_rope_layers": [1, 0]}, r"no_rope_layers is \[1, 0\]"),
        ({"quantization_config": {"bits": 4}}, r"quantization_config is \{'bits': 4\}"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not silu"),
        ({"hidden_size": 12}, "has shape"),
        ({"num_hidden_layers": 3}, r"missing: model\.layers\.2\.input_layernorm\.weight"),
        ({"num_hidden_layers": 1}, r"unexpected: model\.layers\.1\.self_attn\.q_proj\.weight"),
        ({"num_key_value_heads": 3}, "num_key_value_heads 3 does not divide n_head 4"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers must be a whole number, got 'two'"),
        ({"vocab_size": None}, r"config\.json is damaged \(.*'vocab_size'\)"),
        ({"attention_bias": True}, r"missing: model\.layers\.0\.self_attn\.q_proj\.bias"),
        ({"model_type": "qwen3"}, r"missing: model\.layers\.0\.self_attn\.q_norm\.weight"),
    ],
)
def test_configs_that_do_not_fit(tmp_path, change, message):
    foreign(tmp_path, small(tie_weights=False), lambda config: config.update(change))
    with pytest.raises(ValueError, match=message) as error:
        Llama.from_pretrained(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_old_keys_of_the_positions(tmp_path):
    def change(config):
        del config["rope_parameters"], config["rope_theta"]
        config |= {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_theta": 500.0}

    foreign(tmp_path, small(), change)
    config = Llama.from_pretrained(tmp_path).config
    assert config.rope_theta == 500 and config.rope_scaling == {"rope_type": "linear", "factor": 2}


def test_what_transformers_takes_for_missing_keys(tmp_path):
    def change(config):
        for key in ("rms_norm_eps", "tie_word_embeddings", "num_key_value_heads", "head_dim",
                    "max_position_embeddings", "rope_parameters", "rope_theta"):  # fmt: skip
            del config[key]

    foreign(tmp_path, small(n_kv_head=4, tie_weights=False), change)
    c = Llama.from_pretrained(tmp_path).config
    assert (c.eps, c.n_kv_head, c.head_dim, c.block_size) == (1e-6, 4, 2, 2048)
    assert c.rope_theta == 10_000 and not c.tie_weights


def test_names_of_old_folders(tmp_path):
    model = small()
    foreign(tmp_path, model)
    arrays, _ = load_arrays(tmp_path / "model.safetensors")
    arrays = {name.removeprefix("model."): a.copy() for name, a in arrays.items()}
    arrays["layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(1, np.float32)
    save_arrays(tmp_path / "model.safetensors", arrays)
    np.testing.assert_array_equal(Llama.from_pretrained(tmp_path)(IDS).data, model(IDS).data)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"chat_template": "{{ one }}"}, "{{ one }}"),
        ({"chat_template": [{"name": "tool_use", "template": "{{ tools }}"},
                            {"name": "default", "template": "{{ one }}"}]}, "{{ one }}"),
        ({"chat_template": None}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_where_a_chat_template_is_kept(tmp_path, content, found):
    foreign(tmp_path, small())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(content))
    assert Llama.from_pretrained(tmp_path).config.chat_template == found
    (tmp_path / "chat_template.jinja").write_text("{{ own }}\n", encoding="utf-8")
    assert Llama.from_pretrained(tmp_path).config.chat_template == "{{ own }}\n"


def test_every_end_token_is_known(tmp_path):
    pytest.importorskip("tokenizers")
    model, tokenizer = small(vocab_size=300), BPETokenizer().fit(TEXT, 300)
    model.save_pretrained(tmp_path, tokenizer)
    foreign(tmp_path, model, lambda config: config.update(eos_token_id=2))
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 7]}))
    loaded, its = tinygpt.load(tmp_path)
    assert its.stop == [5, 7] and loaded.config.token_ids["eos_token_id"] == [5, 7]
    loaded.save_pretrained(tmp_path / "again", its)
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert config["eos_token_id"] == [5, 7]


def test_a_prompt_begins_as_the_folder_wants(tmp_path, capsys):
    library = pytest.importorskip("tokenizers")
    tokenizer = BPETokenizer().fit(TEXT, 300)
    start = tokenizer.separator
    tokenizer._model.post_processor = library.processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", start)]
    )
    assert tokenizer.begin == [start] and tokenizer.encode("To") == tokenizer.encode("To")
    model = small(vocab_size=tokenizer.vocab_size)
    model.save_pretrained(tmp_path, tokenizer)
    main("generate", tmp_path, "--prompt", "To be", "--max-new-tokens", 4, "--temperature", 0)
    expected = model.generate([start, *tokenizer.encode("To be")], 4, temperature=0)
    text = tokenizer.decode(x for x in expected[1:] if x != start)
    assert capsys.readouterr().out.rstrip("\n") == text.rstrip("\n")


def test_parts_that_no_family_has_together(tmp_path):
    for changes in (dict(qk_norm=True, mlp_bias=True), dict(output_bias=True),
                    dict(windows=[3, None])):  # fmt: skip
        with pytest.raises(ValueError, match="no family of models has these parts together"):
            small(**changes).save_pretrained(tmp_path)
    assert not any(tmp_path.iterdir())


def test_families_by_their_parts():
    for name, changes in FAMILIES.items():
        assert family_of(LlamaConfig(**{**SHAPE, **changes})) == name.split()[0]


# ---------------------------------------------------------------- by the program


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a small Llama, which is the default, trained for eight iterations."""
    folder = tmp_path_factory.mktemp("llama")
    (folder / "text").write_text(TEXT)
    main("train", folder / "text", "--out-dir", folder / "run", "--n-kv-head", 2, "--n-embd", 16,
         "--n-layer", 2, "--block-size", 16, "--batch-size", 4, "--max-iters", 8,
         "--eval-interval", 4, "--eval-iters", 1)  # fmt: skip
    return folder / "run"


def test_training_goes_on_to_the_bit(run, tmp_path):
    more = ("--arch", "llama", "--n-kv-head", 2, "--n-embd", 16, "--n-layer", 2, "--block-size",
            16, "--batch-size", 4, "--eval-interval", 4, "--eval-iters", 1)  # fmt: skip
    main("train", run.parent / "text", "--out-dir", tmp_path, "--max-iters", 4, *more)
    main("train", "--out-dir", tmp_path, "--resume", "--max-iters", 8)
    assert weights(tmp_path, "model") != b""
    arrays = [load_arrays(folder / "state.safetensors")[0] for folder in (run, tmp_path)]
    assert arrays[0].keys() == arrays[1].keys()
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])


def test_what_the_commands_do_with_a_llama(run, capsys, tmp_path):
    main("generate", run, "--prompt", "To", "--max-new-tokens", 8, "--temperature", 0)
    plain = capsys.readouterr().out
    main("generate", run, "--prompt", "To", "--max-new-tokens", 8, "--temperature", 0,
         "--speculate", 3)  # fmt: skip
    assert capsys.readouterr().out == plain
    main("evaluate", run, run.parent / "text")
    assert "perplexity" in capsys.readouterr().out
    main("explain", run, "To be", "--output", tmp_path / "a.png")
    assert "5 tokens, 2 layers of 4 heads" in capsys.readouterr().out
    assert (tmp_path / "a.png").stat().st_size > 10_000
    main("train", run.parent / "text", "--out-dir", tmp_path / "b", "--init-from", run,
         "--max-iters", 2, "--eval-iters", 1)  # fmt: skip
    assert tinygpt.load(tmp_path / "b")[0].config == tinygpt.load(run)[0].config


def test_a_config_takes_no_memory_however_large_the_model():
    tracemalloc.start()
    LlamaConfig(5, n_embd=4_000_000_000, rope_scaling={"rope_type": "linear", "factor": 2.0})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


def test_shorter_sequences_in_training(run, capsys, tmp_path):
    train = ("train", run.parent / "text", "--out-dir", tmp_path / "new", "--init-from", run)
    assert "context must be at least 1 and at most block_size 16, got 17" in refused(
        capsys, *train, "--context", 17)  # fmt: skip
    assert not (tmp_path / "new").exists()
    main(*train, "--context", 5, "--max-iters", 2, "--eval-iters", 1)
    assert "window 5, stride 5" in capsys.readouterr().out
    assert tinygpt.load(tmp_path / "new")[0].config == tinygpt.load(run)[0].config
    line = refused(capsys, "train", "--out-dir", tmp_path / "new", "--resume", "--context", 6)
    assert "the run has context 5 and cannot go on with 6" in line
    line = refused(capsys, "train", "--out-dir", tmp_path / "new", "--resume", "--dropout", 0.1)
    assert "the run has no dropout and cannot go on with 0.1" in line


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--dropout 0.1 --bias", "llama has no bias, dropout: leave it out, or take --arch gpt"),
        ("--no-norm-first", "--arch llama has no norm_first: leave it out, or take --arch gpt"),
        ("--arch gpt --n-kv-head 2", "gpt has no n_kv_head: leave it out, or take --arch llama"),
        ("--activation relu --head-dim 4", "--arch llama has no activation: leave it out"),
        ("--init-from {run} --dropout 0.1", "has no dropout and cannot be trained further with"),
    ],
)
def test_options_of_the_other_architecture_are_refused(run, capsys, tmp_path, flags, message):
    train = ("train", run.parent / "text", "--out-dir", tmp_path / "new")
    line = refused(capsys, *train, *flags.format(run=run).split())
    assert message in line and ("take" in message) == ("take" in line)
    assert not (tmp_path / "new").exists()


def test_what_a_run_of_a_llama_refuses(run, capsys):
    assert "cannot go on with gpt" in refused(
        capsys, "train", "--out-dir", run, "--resume", "--arch", "gpt")  # fmt: skip
    assert "speculate must be 0" in refused(
        capsys, "generate", run, "--prompt", "T", "--speculate", -1)  # fmt: skip


def test_a_family_that_is_not_built_is_named(tmp_path, capsys):
    foreign(tmp_path, small(), lambda config: config.update(model_type="phi3"))
    line = refused(capsys, "generate", tmp_path, "--prompt", "To")
    assert "of the family 'phi3', which is not built here; built are gpt2, llama, mistral" in line


def test_checkpointing_changes_no_gradient():
    losses = []
    for checkpointing in (False, True):
        model = small().to(np.float64).train()
        model.activation_checkpointing = checkpointing
        model.loss(IDS[:, :-1], IDS[:, 1:]).backward()
        losses.append([p.grad for p in model.parameters()])
    for one, other in zip(*losses, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


# ---------------------------------------------------------------- beside transformers


@pytest.fixture(scope="module")
def library():
    with np.errstate(all="ignore"):
        pytest.importorskip("torch")
        return pytest.importorskip("transformers")


def same_gradients(model, theirs, tolerance):
    """Compare the gradients of all parameters, relative to the largest entry of each."""
    gradients, names = {n: p.grad.numpy() for n, p in theirs.named_parameters()}, llama_names(2)
    for name, p in model.named_parameters():
        g = gradients[names[name]]
        g = g.T if g.shape != p.shape or "proj" in names[name] else g
        np.testing.assert_allclose(p.grad, g, rtol=0, atol=tolerance * np.abs(g).max())


def in_float64(theirs, frequencies):
    """A model of transformers whose angles and norms are float64, too: its own are float32."""
    import torch

    def rotary(x, position_ids):
        angles = (position_ids[..., None] * torch.tensor(frequencies)).tile(2)  # (B, T, D)
        return angles.cos(), angles.sin()

    def norm(module, x):
        eps = module.variance_epsilon
        return torch.nn.functional.rms_norm(x, module.weight.shape, module.weight, eps)

    theirs.model.rotary_emb.forward = rotary
    for module in theirs.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = functools.partial(norm, module)
    return theirs.double()


@each_family
def test_loss_and_gradients_in_float64(library, tmp_path, changes):
    import torch

    model = small(**changes)
    model.save_pretrained(tmp_path)
    auto = library.AutoModelForCausalLM  # whose "eager" has a softmax in float32
    theirs = auto.from_pretrained(tmp_path, attn_implementation="sdpa")
    logits = in_float64(theirs, model.frequencies)(torch.tensor(IDS)).logits[:, :-1]
    expected = torch.nn.functional.cross_entropy(logits.mT, torch.tensor(IDS[:, 1:]))
    loss = model.to(np.float64).loss(IDS[:, :-1], IDS[:, 1:])
    np.testing.assert_allclose(loss.data, expected.item(), rtol=1e-12)
    loss.backward()
    expected.backward()
    same_gradients(model, theirs, 1e-12)


def test_a_run_opens_in_transformers(library, run):
    import torch

    theirs, info = library.AutoModelForCausalLM.from_pretrained(run, output_loading_info=True)
    assert type(theirs) is library.LlamaForCausalLM and not any(info.values())
    model, tokenizer = tinygpt.load(run)
    ids = tokenizer.encode("To be, or not to")
    expected = theirs(torch.tensor([ids])).logits.detach().numpy()[0]
    np.testing.assert_allclose(model(ids).data, expected, rtol=0, atol=1e-5)


@each_family
def test_the_same_as_transformers_both_ways(library, tmp_path, changes):
    import torch

    model = small(**changes)
    model.save_pretrained(tmp_path / "ours")
    auto = library.AutoModelForCausalLM
    theirs, info = auto.from_pretrained(
        tmp_path / "ours", output_loading_info=True, attn_implementation="eager"
    )
    assert not any(info.values())
    ids = torch.tensor(IDS)
    result = theirs(ids, labels=ids)
    expected = result.logits.detach().numpy()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(model(IDS).data, expected, rtol=0, atol=1e-5 * scale)
    model.loss(IDS[:, :-1], IDS[:, 1:]).backward()
    result.loss.backward()
    same_gradients(model, theirs, 1e-4)
    tokens = theirs.generate(ids[:1, :5], max_new_tokens=11, do_sample=False, eos_token_id=None,
                             attention_mask=torch.ones_like(ids[:1, :5]))  # fmt: skip
    assert model.generate(IDS[0, :5], 11, temperature=0).tolist() == tokens[0].tolist()
    theirs.save_pretrained(tmp_path / "theirs")
    again = Llama.from_pretrained(tmp_path / "theirs")
    np.testing.assert_array_equal(again(IDS).data, model(IDS).data)
