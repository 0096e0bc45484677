"""The program, used as a user does: tokenizers, model, generation, and the command line."""

import functools
import io
import math
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from common import RNG, ROOT, TEXT, refused, small
from hypothesis import assume, given
from hypothesis import strategies as st

import nn.functional
import nn.run.explain
import tinygpt
from autograd import Tensor, grad
from nn.files import load_arrays, save_arrays
from nn.run.monitor import plain
from nn.run.writer import unescaped
from nn.sampling import Sampling, penalize
from tinygpt import CharTokenizer, GPTConfig, LlamaConfig, TrainConfig, WordTokenizer

SMALL_FLAGS = "--block-size 8 --n-layer 1 --n-head 2 --n-embd 8 --batch-size 4 --max-iters 6"
FLAGS = [*SMALL_FLAGS.split(), "--eval-interval", "3", "--eval-iters", "2"]

pytestmark = pytest.mark.usefixtures("short_reports", "no_wait_for_the_disk")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The directory of a model trained for a moment."""
    directory = tmp_path_factory.mktemp("trained")
    text = directory.with_suffix(".txt")
    text.write_text(TEXT)
    tinygpt.main(["train", str(text), "--out-dir", str(directory), *FLAGS])
    return directory


# ---------------------------------------------------------------- the model


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("tie_weights", [True, False])
def test_shapes_and_a_gradient_for_every_parameter(positions, norm_first, tie_weights):
    model = small(positions=positions, norm_first=norm_first, tie_weights=tie_weights, bias=True)
    ids = RNG(1).integers(0, 11, (3, 8))
    assert model(ids).shape == (3, 8, 11) and model(ids).dtype == np.float32
    np.testing.assert_allclose(model(ids[1]).data, model(ids).data[1], rtol=1e-4, atol=1e-6)
    assert model(ids[0, :5].tolist()).shape == (5, 11)
    model.loss(ids, np.roll(ids, 1)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.dtype == np.float32 and parameter.grad.any(), name


def test_whole_gradient_by_finite_differences():
    model = small().to(np.float64)
    ids = RNG(1).integers(0, 11, (2, 8))
    parameters, rng = model.parameters(), RNG(2)
    gradients = grad(model.loss(ids, np.roll(ids, 1)), parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction, losses = rng.standard_normal(parameter.shape), []
        for step in (1e-5, -2e-5):
            parameter.data += step * direction
            losses.append(model.loss(ids, np.roll(ids, 1)).item())
        parameter.data += 1e-5 * direction
        slope = (losses[0] - losses[1]) / 2e-5
        np.testing.assert_allclose(np.vdot(gradient.data, direction), slope, rtol=1e-5, atol=1e-8)


def test_loss_of_a_new_model_is_that_of_chance():
    ids = RNG(1).integers(0, 11, (8, 8))
    assert small().loss(ids, np.roll(ids, 1)).item() == pytest.approx(math.log(11), abs=0.05)


def test_no_position_sees_the_future():
    ids = RNG(1).integers(0, 11, (1, 8))
    changed = ids.copy()
    changed[0, 5:] = (changed[0, 5:] + 1) % 11
    model = small()
    np.testing.assert_array_equal(model(ids).data[0, :5], model(changed).data[0, :5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_embd": 10, "n_head": 4}, "n_embd 10 cannot be divided among n_head 4.*such as 12"),
        ({"n_layer": 0}, "n_layer must be at least 1 and finite, got 0"),
        ({"vocab_size": 0}, "vocab_size must be at least 1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"dropout": math.nan}, "dropout must be at least 0 and below 1, got nan"),
        ({"positions": "rotary"}, "positions must be learned or sinusoidal, got 'rotary'"),
        ({"activation": "swish"}, "activation must be gelu or .*, got 'swish'"),
    ],
)
def test_impossible_configs(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_too_long_and_foreign_ids():
    with pytest.raises(ValueError, match="9 tokens do not fit into block_size 8"):
        small()(np.zeros(9, int))
    with pytest.raises(IndexError, match="rows 0 to 10"):
        small()(np.array([11]))


# ---------------------------------------------------------------- generation


def draws(logits, n, rng, **options):
    """n tokens, each drawn from the same logits (V,), as rows of one batch."""
    return Sampling(**options).draw(np.tile(logits, (n, 1)), rng).tolist()


def test_generate_shapes_and_seeds():
    model = small()
    one = model.generate([1, 2, 3], 20, rng=RNG(5))  # also past the context length
    assert one.shape == (23,) and one[:3].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(one, model.generate(np.array([1, 2, 3]), 20, rng=RNG(5)))
    assert (one != model.generate([1, 2, 3], 20, rng=RNG(6))).any()
    assert model.generate([[1, 2], [3, 4]], 5).shape == (2, 7)
    assert model.generate([1], 0).tolist() == [1]
    assert model.training
    model.eval().generate([1], 1)
    assert not model.training


def test_greedy_is_the_likeliest():
    model = small(dropout=0.5)  # which must not act here
    ids = model.generate([1, 2], 6, temperature=0)
    for t in range(2, 8):
        assert ids[t] == model.eval()(ids[:t]).data[-1].argmax()
    np.testing.assert_array_equal(ids, model.generate([1, 2], 6, top_k=1))
    np.testing.assert_array_equal(ids, model.generate([1, 2], 6, temperature=1e-300, rng=RNG(0)))


def test_stop():
    model = small()
    likely = model.generate([1], 1, temperature=0)[-1]
    assert model.generate([1], 9, temperature=0, stop=likely).tolist() == [1, likely]
    rows = model.generate(np.arange(10)[:, None], 30, stop=3, rng=RNG(0))
    for row in rows[:, 1:].tolist():
        assert 3 not in row or set(row[row.index(3) :]) == {3}


def test_a_filtered_token_is_never_drawn():
    logits, rng = np.log(np.array([0.05, 0.4, 0.25, 0.2, 0.1])), RNG(0)

    def seen(**options):
        return set(draws(logits, 2000, rng, **options))

    assert seen() == {0, 1, 2, 3, 4}
    assert seen(top_k=2) == {1, 2}
    assert seen(top_k=99) == {0, 1, 2, 3, 4}
    assert seen(top_p=0.6) == {1, 2}
    assert seen(top_p=0.3) == {1}
    assert seen(top_p=1.0) == {0, 1, 2, 3, 4}
    assert seen(top_k=3, top_p=0.9) == {1, 2, 3}
    logits[1] = -np.inf
    assert seen() == {0, 2, 3, 4}


def test_sampling_follows_the_probabilities():
    p, rng = np.array([0.1, 0.6, 0.3]), RNG(0)
    for temperature in (1.0, 0.5, 2.0):
        drawn = draws(np.log(p), 20_000, rng, temperature=temperature)
        expected = p ** (1 / temperature) / np.sum(p ** (1 / temperature))
        np.testing.assert_allclose(np.bincount(drawn) / 20_000, expected, atol=0.015)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature must be 0 .* or more, got -1"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
        ({"top_p": 1.5}, "top_p"),
        ({"max_new_tokens": -1}, "max_new_tokens must not be negative"),
        ({"ids": []}, r"shape \(0,\), expected \(T,\) or \(B, T\)"),
    ],
)
def test_impossible_sampling(options, message):
    with pytest.raises(ValueError, match=message):
        small().generate(**{"ids": [1], "max_new_tokens": 3, **options})


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("tie_weights", [True, False])
def test_save_and_load(tmp_path, tie_weights):
    model, tokenizer = (
        small(tie_weights=tie_weights, bias=True),
        WordTokenizer().fit("a b c d e f g"),
    )
    tinygpt.save(tmp_path, model, tokenizer)
    loaded, again = tinygpt.load(tmp_path)
    assert loaded.config == model.config and again.tokens == tokenizer.tokens
    ids = [[1, 2, 3]]
    np.testing.assert_array_equal(loaded(ids).data, model(ids).data)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["config.json", "model.safetensors", "vocabulary.json"]


# ---------------------------------------------------------------- the command line


def test_the_example(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tinygpt.main([])
    out, err = capsys.readouterr()
    assert "Vocabulary: 18 tokens: <PAD> <UNK> <START> <END> and are cat" in out
    assert "68,096 parameters" in out and (not err or "training: 100 %" in err)
    loss = float(out.split("Average loss ")[1].split()[0])
    perplexity = float(out.split("perplexity ")[1])
    assert loss < 0.4 and perplexity == pytest.approx(math.exp(loss), rel=1e-3)
    lines = [line for line in out.splitlines() if " -> " in line]
    for prompt, line in zip(("the cat", "the dog", "the mat"), lines, strict=True):
        words = line.removeprefix(f"{prompt} -> ").split()
        assert " ".join(words).startswith(prompt) and len(words) > 3
        for i in range(len(words) - 1):
            assert any(" ".join(words[i : i + 2]) in line for line in tinygpt.CORPUS)
    assert (tmp_path / "training_loss.png").read_bytes().startswith(b"\x89PNG")


def test_the_example_depends_on_its_seed_alone(tmp_path, monkeypatch, capsys, short_trainings):
    monkeypatch.chdir(tmp_path)
    outputs = []
    for flags in ([], [], ["--seed", "2"]):
        tinygpt.main(flags)
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != outputs[2]


def test_train_and_generate(trained, capsys):
    names = {path.name for path in trained.iterdir()}
    assert names == {
        ".lock", "config.json", "metrics.jsonl", "model.safetensors", "settings.json",
        "state.safetensors", "tokens", "training_loss.png", "vocabulary.json"}  # fmt: skip
    texts = []
    for seed in ("1", "1", "2"):
        tinygpt.main(["generate", str(trained), "--prompt", "To be", "--seed", seed,
                      "--max-new-tokens", "20", "--top-k", "5", "--top-p", "0.9"])  # fmt: skip
        texts.append(capsys.readouterr().out)
    assert texts[0].startswith("To be") and len(texts[0]) == 26
    assert texts[0] == texts[1] != texts[2]


def test_training_reports(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    tinygpt.main(["train", str(text), "--out-dir", str(tmp_path / "a" / "b"), *FLAGS])
    out = capsys.readouterr().out
    assert "1,350 tokens for training, 150 for validation, vocabulary 22" in out
    assert "iteration 3: validation loss" in out and "iteration 6: validation loss" in out
    loss = float(out.split("Validation loss ")[1].split()[0])
    bits = float(out.split("perplexity")[1].split()[1])
    assert bits == pytest.approx(loss / math.log(2), abs=2e-3)  # one byte per character here
    assert "window 8, stride 8" in out


def test_generate_without_a_prompt(trained, capsys):
    tinygpt.main(["generate", str(trained), "--seed", "1", "--max-new-tokens", "5"])
    assert len(capsys.readouterr().out) == 7


def test_nan_logits_are_named():
    with pytest.raises(ValueError, match="training has diverged"):
        Sampling().draw(np.array([[0.0, np.nan]]), RNG(0))


def test_options_beside_a_sampling_are_refused():
    with pytest.raises(TypeError, match="top_k beside `sampling`: give one or the other"):
        small().generate([1], 1, sampling=Sampling(), top_k=1)


def test_a_failed_generation_leaves_training_on():
    model = small()
    with pytest.raises(IndexError):
        model.generate([99], 1)
    assert model.training


def test_words_on_the_command_line(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    tinygpt.main(["train", str(text), "--out-dir", str(tmp_path), "--tokenizer", "word", *FLAGS])
    capsys.readouterr()
    tinygpt.main(["generate", str(tmp_path), "--prompt", "to mind Hamlet", "--max-new-tokens", "3"])
    out, err = capsys.readouterr()
    assert out.startswith("to mind <UNK>")
    assert err == "words the model has never seen, read as <UNK>: hamlet\n"


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        (None, "", "cannot read .*: there is no such file or folder"),
        ("directory", "", "there is no text in .*: no file was found"),
        (b"", "", "is empty"),
        (b" \n\n", "", "is empty"),
        (b"caf\xe9 " * 999, "", r"not UTF-8 text \(byte 3\).*iconv"),
        (TEXT.encode(), "--n-embd 10 --n-head 4", "n_embd 10 cannot be divided among n_head 4"),
        (TEXT.encode(), "--n-layer 0", "n_layer must be at least 1 and finite, got 0"),
        (TEXT.encode(), "--max-iters 0", "max_iters must be at least 1"),
        (TEXT.encode(), "--max-iters 1.5", "argument --max-iters: invalid int value: '1.5'"),
        (TEXT.encode(), "--arch gpt --dropout 2", "dropout must be"),
        (TEXT.encode(), "--block-size -3", "block_size must be at least 1 and finite, got -3"),
        (
            TEXT.encode(),
            "--learning-rate -1",
            "learning_rate must be at least 0 and finite",
        ),
        (TEXT.encode(), "--seed -1", "seed must be at least 0"),
        (TEXT.encode(), "--learning-rate inf", "at least 0 and finite, got inf"),
        (TEXT.encode(), "--tokenizer bpo", "invalid choice: 'bpo'"),
        (TEXT.encode(), "--preset gpt9", "invalid choice: 'gpt9'"),
        (TEXT.encode(), "--schedule step", "invalid choice: 'step'"),
        (TEXT.encode(), "--micro-batch-size -1", "micro_batch_size must be at least 0"),
        (TEXT.encode(), "--patience -1", "patience must be at least 0"),
    ],
)
def test_train_refuses(tmp_path, capsys, content, flags, message):
    text, out = tmp_path / "text.txt", tmp_path / "out"
    if content == "directory":
        text.mkdir()
    elif content is not None:
        text.write_bytes(content)
    error = refused(capsys, "train", text, "--out-dir", out, *flags.split())
    assert re.search(message, error)
    assert not out.exists()  # nothing is made or lost


def test_train_refuses_a_file_as_directory(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    assert "cannot write to the directory" in refused(
        capsys, "train", text, "--out-dir", text, "--block-size", 8)  # fmt: skip
    assert text.read_text() == TEXT


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--prompt", "Zürich"], "never seen: 'Z' 'c' 'ü'"),
        (["--prompt", ""], "the prompt is empty"),
        (["--temperature", "-1"], "temperature must be 0 (always the likeliest) or more, got -1.0"),
        (["--temperature", "nan"], "temperature must be 0"),
        (["--top-k", "0"], "top_k must be at least 1"),
        (["--top-p", "2"], "top_p must be above 0"),
        (["--max-new-tokens", "-5"], "max_new_tokens must not be negative"),
        (["--seed", "-5"], "--seed not negative; got 1, [] and -5"),
        (["--stop", ""], "--stop not empty"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_generate_refuses(trained, capsys, flags, message):
    assert message in refused(capsys, "generate", trained, "--prompt", "To", *flags)


def test_directories_that_hold_no_model(trained, tmp_path, capsys):
    assert "no model in" in refused(capsys, "generate", tmp_path)
    assert "no model in" in refused(capsys, "generate", tmp_path / "missing")
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "model.safetensors"
    save_arrays(weights, {"x": np.ones(2)})
    assert "missing: model.embed_tokens.weight (22, 8)" in refused(capsys, "generate", tmp_path)
    shutil.copy(trained / "state.safetensors", weights)
    assert "unexpected: adamw.steps" in refused(capsys, "generate", tmp_path)
    save_arrays(weights, load_arrays(trained / "model.safetensors")[0])  # without seals
    tinygpt.main(["generate", str(tmp_path), "--max-new-tokens", "1"])
    CharTokenizer("abc").save(tmp_path)
    expected = "the tokenizer in .* has 3 tokens, the model 22: one of them belongs to another"
    assert re.search(expected, refused(capsys, "generate", tmp_path))
    (tmp_path / "config.json").write_text("[]")
    assert "is damaged, or of another program" in refused(capsys, "generate", tmp_path)
    (tmp_path / "config.json").write_text('{"tinygpt": {"n_layers": 3}}')
    assert "n_layers" in refused(capsys, "generate", tmp_path)


@pytest.mark.parametrize(
    ("flags", "seed"),
    [("--seed 5 train --out-dir r", 5), ("train --out-dir r --seed 5", 5),
     ("--seed 4 train --out-dir r --seed 5", 5), ("train --out-dir r", None),
     ("--seed 5 generate r", 5), ("generate r --seed 5", 5), ("--seed 5", 5)],
)  # fmt: skip
def test_a_seed_before_or_after_the_command(flags, seed):
    assert tinygpt.parser().parse_args(flags.split()).seed == seed


def test_every_flag_says_what_it_is_for():
    (commands,) = tinygpt.parser()._subparsers._group_actions
    for name, command in commands.choices.items():
        for action in command._actions:
            assert len(action.help) > 10, (name, action.option_strings)
    train = commands.choices["train"]
    flags = {flag for action in train._actions for flag in action.option_strings}
    options = (*fields(TrainConfig), *fields(GPTConfig), *fields(LlamaConfig))
    for field in options:  # what it is if it is not given
        (action,) = [a for a in train._actions if a.dest == field.name] or [None]
        assert action is None or "default" in action.help, field.name
    for field in options:
        assert ("--" + field.name.replace("_", "-") in flags) == (
            "help" in field.metadata or field.name in ("vocab_size", "arch")
        )


@pytest.mark.parametrize("command", ["", *"train evaluate plot explain generate chat".split()])
def test_help_fits_a_terminal(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        tinygpt.main([*command.split(), "--help"])
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines() if "{" not in line) <= 80
    assert command or "example:\n  python tinygpt.py train book.txt --out-dir out\n" in out


def test_unknown_commands(capsys):
    assert "invalid choice: 'sing'" in refused(capsys, "sing")
    assert "--out-dir" in refused(capsys, "train", "x")


def test_as_a_process(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tinygpt.py"), "generate", str(tmp_path)],
        capture_output=True, text=True, cwd=tmp_path)  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tinygpt.py: no model in")
    shutil.rmtree(tmp_path)


# ---------------------------------------------------------------- generation, cached and streamed

OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0, 0.3, 1.0, 2.0]),
        "top_k": st.integers(1, 12),
        "top_p": st.floats(0.1, 1),
        "min_p": st.floats(0.01, 1),
        "repetition_penalty": st.floats(0.5, 2),
        "stop": st.integers(0, 10),
    },
)
PROMPTS = st.lists(st.lists(st.integers(0, 10), min_size=1, max_size=12), min_size=1, max_size=4)


def scattered(**changes):
    """A model whose logits differ enough for rounding not to matter."""
    model = small(**changes)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            parameter.data *= 20 if "embedding" in name else 5
    return model


@given(PROMPTS, OPTIONS, st.integers(0, 99), st.sampled_from(["learned", "sinusoidal"]))
def test_a_cache_changes_nothing(prompts, options, seed, positions):
    model = scattered(positions=positions)
    uncached = scattered(positions=positions)
    uncached.decoder = None  # then each token is computed from all before it
    rows = [
        [row.tolist() for row in generate(prompts, 12, rng=RNG(seed), **options)]
        for generate in (model.generate, functools.partial(nn.sampling.generate, uncached))
    ]
    assert rows[0] == rows[1]
    for prompt, row in zip(prompts, rows[0], strict=True):
        assert row[: len(prompt)] == prompt and len(row) <= len(prompt) + 12


@given(PROMPTS)
def test_prompts_of_a_batch_do_not_see_each_other(prompts):
    model = scattered()
    together = model.generate(prompts, 10, temperature=0)
    for prompt, row in zip(prompts, together, strict=True):
        alone = model.generate(prompt, 10, temperature=0)
        np.testing.assert_array_equal(row, alone)


@given(PROMPTS.map(lambda prompts: prompts[0]), OPTIONS, st.integers(0, 99))
def test_the_plain_way_is_the_fast_way(prompt, options, seed):
    model = scattered().eval()
    options = {name: value for name, value in options.items() if name != "stop"}
    plain = tinygpt.generate(model, prompt, 12, Sampling(**options), RNG(seed))
    assert plain == model.generate(prompt, 12, rng=RNG(seed), **options).tolist()


@given(
    st.lists(st.lists(st.floats(-9, 9), min_size=4, max_size=4), min_size=1, max_size=6), OPTIONS
)
def test_rows_are_drawn_at_once_as_one_by_one(rows, options):
    logits = np.round(np.array(rows, np.float32), 1)  # with ties
    options = {name: value for name, value in options.items() if name != "stop"}
    sampling, before = Sampling(**options), [[0, 1, 1]] * len(rows)
    together, rng = sampling.draw(logits, RNG(0), before), RNG(0)
    for row, token in zip(logits, together, strict=True):
        assert sampling.draw(row[None], rng, before[:1]).tolist() == [token]


def test_tokens_come_as_they_are_drawn():
    model = small()
    tokens = model.stream([1, 2], 5, rng=RNG(3))
    assert next(tokens) in range(11) and model.training
    whole = model.generate([1, 2], 5, rng=RNG(3)).tolist()
    assert whole == [1, 2, *model.stream([1, 2], 5, rng=RNG(3))]
    assert model.generate([[1], [2, 3]], 0)[1].tolist() == [2, 3]
    several = model.generate(np.arange(10)[:, None], 40, stop=(3, 5), rng=RNG(0))
    for row in several[:, 1:].tolist():
        first = next((i for i, token in enumerate(row) if token in (3, 5)), len(row))
        assert set(row[first + 1 :]) <= {3}


def test_a_cache_that_is_full():
    cache = nn.KVCache(3)
    k = Tensor(np.ones((2, 2, 4)))
    assert cache.append(k, k)[0].shape == (2, 2, 4)
    with pytest.raises(ValueError, match="4 positions, there is room for 3"):
        cache.append(k, k)


def test_min_p_and_the_repetition_penalty():
    logits, rng = np.log(np.array([0.05, 0.4, 0.25, 0.2, 0.1])), RNG(0)
    assert set(draws(logits, 500, rng, min_p=0.5)) == {1, 2, 3}
    penalized = penalize(np.array([2.0, -2.0, 1.0]), np.array([0, 1, 1]), 4.0)
    assert penalized.tolist() == [0.5, -8, 1]
    model = scattered()
    often = model.generate([1], 7, temperature=0)
    rarely = model.generate([1], 7, temperature=0, repetition_penalty=1e6)
    assert len(set(rarely.tolist())) > len(set(often.tolist()))


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=20), st.integers(1, 20), st.integers(0, 9))
def test_exactly_the_k_likeliest_are_eligible(logits, k, seed):
    logits = np.round(np.array(logits, np.float32))  # with ties
    (token,) = draws(logits, 1, RNG(seed), temperature=5.0, top_k=k)
    assert token in np.argsort(-logits, kind="stable")[:k]


def test_draws_agree_with_the_probabilities_by_chi_square():
    logits = RNG(0).standard_normal(12)
    p = np.exp(logits) / np.exp(logits).sum()
    for top_k, top_p in [(None, None), (6, None), (None, 0.8)]:
        order = np.argsort(-p)
        kept = order[:top_k] if top_k else order
        if top_p:
            kept = order[: np.searchsorted(np.cumsum(p[order]), top_p) + 1]
        expected = np.zeros(12)
        expected[kept] = p[kept] / p[kept].sum()
        rng, n = RNG(1), 20_000
        drawn = draws(logits, n, rng, top_k=top_k, top_p=top_p)
        count = np.bincount(drawn, minlength=12)
        assert not count[expected == 0].any()
        seen = expected > 0
        statistic = ((count - n * expected)[seen] ** 2 / (n * expected[seen])).sum()
        assert statistic < 3 * seen.sum()


def test_generate_on_the_command_line(trained, capsys, monkeypatch):
    def output(*flags):
        tinygpt.main(["generate", str(trained), "--seed", "3", "--max-new-tokens", "30", *flags])
        return capsys.readouterr().out

    whole = output("--prompt", "To")
    stop = whole[10:13]
    assert output("--prompt", "To", "--stop", "never there", "--stop", stop) == (
        whole[: whole.index(stop, 2)] + "\n"
    )
    assert output("--prompt", "To", "--num-samples", "3").count("-" * 40) == 2
    assert output("--prompt", "To", "--temperature", "0", "--repetition-penalty", "1.5")
    monkeypatch.setattr("sys.stdin", io.StringIO("To\nZ\nbe\n\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    tinygpt.main(["generate", str(trained), "--max-new-tokens", "3", "--seed", "1"])
    out, err = capsys.readouterr()
    assert out.startswith("> To") and "> be" in out and "never seen: 'Z'" in err


@pytest.mark.parametrize(
    ("typed", "text"),
    [("a\\nb", "a\nb"), ("\\t", "\t"), (r"\\n", r"\n"), (r"\xe9\u00e9", "éé"),
     ("a\\r", "a\r"), (r"C:\dir\xyz", r"C:\dir\xyz"), ("\\", "\\"), ("가\\n", "가\n"), ("", "")],
)  # fmt: skip
def test_what_a_line_that_is_typed_stands_for(typed, text):
    assert unescaped(typed) == text


@given(st.text())
def test_what_explain_shows_can_be_typed(text):
    text = text.replace("\\", "")
    assume(all(ord(c) < 1 << 16 or c.isprintable() for c in text))
    assert unescaped(plain(text)) == text


def test_generation_stops_before_a_line_end(trained, capsys):
    flags = ["--prompt", "To", "--seed", "1", "--max-new-tokens", "200"]
    tinygpt.main(["generate", str(trained), *flags])
    whole = capsys.readouterr().out
    tinygpt.main(["generate", str(trained), *flags, "--stop", "\\n"])
    assert capsys.readouterr().out == whole[: whole.index("\n")] + "\n" and len(whole) > 200


IN_A_TERMINAL = "import os, pty, sys; sys.exit(os.WEXITSTATUS(pty.spawn(sys.argv[1:])))"


def test_a_session_at_the_prompt(trained):
    """Line editing, history, a line break, Ctrl-C in an answer and at the prompt."""
    pytest.importorskip("pty")
    pytest.importorskip("readline")
    command = [sys.executable, ROOT / "tinygpt.py", "generate", trained, "--seed", "1"]
    program = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *map(str, command), "--max-new-tokens", "1000000000"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        env={**os.environ, "TERM": "dumb", "INPUTRC": os.devnull},
    )  # fmt: skip

    def read(until):
        seen = b""
        while not re.search(until, seen.replace(b"\r", b"")):
            assert select.select([program.stdout], [], [], 20)[0], seen
            if not (new := program.stdout.read(1 << 16)):
                break
            seen += new
        return seen.decode(errors="replace").replace("\r", "")

    try:
        assert "\\n in it is a line break" in read(b"> $")
        answers = []
        for typed in (b"To bt\x02e\x06\x7f", b"\x10", b"To\\nbe"):  # the first two by arrow keys
            program.stdin.write(typed + b"\n")
            begun = read(rb"\n[^\n]+\n[^\n]*\n")
            program.stdin.write(b"\x03")
            answers.append(begun + read(b"\n> $"))
        assert "\nTo be" in answers[0] and "\nTo be" in answers[1] and "\nTo\nbe" in answers[2]
        program.stdin.write(b"half a line")
        read(b"half a line$")
        program.stdin.write(b"\x03")
        if not select.select([program.stdout], [], [], 3)[0]:  # it came before readline waited
            program.stdin.write(b"\x03")
        assert "Traceback" not in read(b"never")
        assert program.wait(60) == 0
    finally:
        program.kill()  # then the terminal is gone, and the program in it
        program.communicate()


def test_a_model_is_trained_further(tmp_path, capsys):
    text, base = tmp_path / "more.txt", tmp_path / "base"
    tinygpt.save(base, small(vocab_size=22), CharTokenizer().fit(TEXT))
    text.write_text(TEXT[::-1][:1000])
    flags = ["--max-iters", "4", "--eval-interval", "2", "--eval-iters", "1", "--batch-size", "2"]
    command = ["train", str(text), "--out-dir", str(tmp_path / "run"), *flags]
    tinygpt.main([*command, "--init-from", str(base), "--dropout", "0.1"])
    before, after = (tinygpt.load(path)[0].state_dict() for path in (base, tmp_path / "run"))
    for name, array in after.items():
        assert 0 < np.abs(array - before[name]).max() < 2e-3
    tinygpt.main(["train", "--out-dir", str(tmp_path / "run"), "--resume", "--max-iters", "5"])
    capsys.readouterr()
    arguments = ["train", text, "--out-dir", tmp_path / "x", "--init-from", base]
    error = refused(capsys, *arguments, "--n-layer", "9")
    assert "has n_layer 2 and cannot be trained further with 9" in error
    text.write_text("Zürich " * 99, "utf-8")
    assert "never seen: 'Z'" in refused(capsys, *arguments)


# ---------------------------------------------------------------- a look inside


@pytest.mark.parametrize("norm_first", [True, False])
def test_attention_weights_are_those_of_the_model(norm_first, monkeypatch):
    model, seen = scattered(norm_first=norm_first, scale_by_layer=True), []
    ids, attend = RNG(1).integers(0, 11, 7), nn.functional.causal_attention

    def spy(qkv, n_head, scale, **options):
        q, k, _ = qkv.reshape(7, 3, n_head, -1).transpose(1, 2, 0, 3)
        each = Tensor(np.broadcast_to(np.eye(7, dtype=np.float32), (n_head, 7, 7)))
        seen.append(nn.functional.attention(q, k, each, causal=True, scale=scale).data)
        return attend(qkv, n_head, scale=scale, **options)

    weights = model.attention_weights(ids)
    monkeypatch.setattr(nn.functional, "causal_attention", spy)
    model.eval()(ids)
    assert weights.shape == (2, 2, 7, 7)
    np.testing.assert_allclose(weights, np.array(seen), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
    assert not np.triu(weights, 1).any()


def test_explain(trained, tmp_path, capsys):
    path = tmp_path / "picture.png"
    for text in ("T", "question"):  # the shortest and the longest
        tinygpt.main(["explain", str(trained), text, "--output", str(path)])
        assert path.read_bytes().startswith(b"\x89PNG")
        assert f"{len(text)} tokens, 1 layers of 2 heads" in capsys.readouterr().out
    error = refused(capsys, "explain", trained, "not to be")
    assert "a text of 9 tokens: give one of 1 to 8" in error
    assert "a text of 0 tokens" in refused(capsys, "explain", trained, "")
    assert "never seen: 'Z'" in refused(capsys, "explain", trained, "Z")
    assert nn.run.explain._label(" $\n가") == "\u2423$\\n가"
    assert nn.run.explain._label("\x00" * 9).endswith("\u2026")


def test_explain_refuses_what_no_picture_can_show(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(nn.run.explain, "_MOST", 4)
    error = refused(capsys, "explain", trained, "To be", "--output", tmp_path / "a.png")
    assert "a text of 5 tokens: give one of 1 to 4 (ten to thirty are easy to read)" in error


def test_a_picture_of_tokens_that_no_font_has(tmp_path, monkeypatch):
    manager = pytest.importorskip("matplotlib.font_manager")
    own = [f for f in manager.fontManager.ttflist if "mpl-data" in f.fname]
    monkeypatch.setattr(manager.fontManager, "ttflist", own)
    monkeypatch.setattr(manager, "findSystemFonts", lambda: [])
    weights = np.tril(np.full((1, 1, 2, 2), 0.5))
    note = nn.run.explain.plot_attention(
        tmp_path / "a.png", ["가", "ع"], weights, [[("$x_1$", 0.5), ("_", 0.1)]] * 2
    )
    assert (tmp_path / "a.png").exists()
    assert note == (
        "No font here has the letters 가 (boxes in the picture): install Noto Sans CJK, on Debian "
        "or Ubuntu by: apt install fonts-noto-cjk"
    )


@pytest.fixture
def drawn(monkeypatch):
    """Draws the attention between tokens, of L layers and H heads; returns the figure."""
    backend = pytest.importorskip("matplotlib.backends.backend_agg")
    kept = []

    class Canvas(backend.FigureCanvasAgg):
        def print_png(self, name):
            self.draw()  # lays it out
            kept.append(self.figure)

    def draw(tokens, L, H, expected):
        T = len(tokens)
        weights = np.tril(np.ones((L, H, T, T))) / np.arange(1, T + 1)[:, None]
        monkeypatch.setattr(backend, "FigureCanvasAgg", Canvas)
        with tempfile.TemporaryDirectory() as folder:
            nn.run.explain.plot_attention(Path(folder, "a.png"), tokens, weights, expected)
        return kept[0]

    return draw


@pytest.mark.parametrize(("T", "L", "H"), [(1, 1, 1), (7, 1, 4), (24, 2, 2), (24, 3, 1)])
def test_the_parts_of_a_picture_of_attention(drawn, T, L, H):
    tokens = ["a", "word", "\n", "가", "$", " "] * 7
    column = [("b", 0.7), ("c", 0.296), ("d", 0.0049), ("e", 0.0)]
    figure = drawn(tokens[:T], L, H, [column] * T)
    upper, lower = figure.subfigs
    heads, scale = upper.axes[:-1], upper.axes[-1]
    assert [ax.get_title() for ax in heads if ax.get_title()] == [
        f"layer {layer}, head {head}" for layer in range(1, L + 1) for head in range(1, H + 1)
    ]
    shares = [label.get_text() for label in scale.get_yticklabels()]
    assert shares == ["0 %", "1 %", "5 %", "10 %", "25 %", "50 %", "100 %"]
    for label in heads[-1].get_xticklabels():
        assert label.get_rotation() == (90 if len(label.get_text()) > 2 else 0)
    image = heads[0].images[0]
    color = image.cmap(image.norm(1 / T))  # that of equal attention to all tokens
    assert min(color[:3]) < 0.9  # it can be told from white
    future = np.ma.getmaskarray(image.get_array())
    np.testing.assert_array_equal(future, np.triu(np.ones((T, T), bool), 1))
    texts = [text.get_text() for text in lower.axes[0].texts]
    assert texts == ["b\n70 %", "c\n30 %"] * T
    boxes = [ax.get_window_extent() for ax in heads if ax.get_title()]
    used = sum(box.width * box.height for box in boxes)
    whole = upper.bbox.width * upper.bbox.height
    assert used > 0.45 * whole
