"""Runs that are stopped, killed, spoilt and resumed: nothing is lost, and no bit is different."""

import functools
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from common import PROGRAMS, RNG, ROOT, TEXT, iterate, main, metrics, refused, small, weights

import nn
import nn.run.crew
import nn.run.plan
import nn.run.training
import tinygpt
from autograd import Tensor, grad, no_grad
from nn.files import load_arrays, locked, save_arrays
from nn.run.directory import RunRequest
from nn.run.evaluation import describe_loss, guessing
from tinygpt import CharTokenizer, TrainConfig, Training

KOREAN = "나 보기가 역겨워 가실 때에는\n말없이 고이 보내 드리우리다.\n영변에 약산 진달래꽃\n" * 30
TINY = "--block-size 8 --n-layer 1 --n-head 2 --n-embd 8 --batch-size 4 --arch gpt --dropout 0.1"
FLAGS = f"{TINY} --max-iters 9 --eval-interval 4 --eval-iters 2 --save-seconds 0".split()

pytestmark = pytest.mark.usefixtures("short_reports", "no_wait_for_the_disk")


class Killed(BaseException):
    """No code can catch it, as if the process had been killed."""


def batch_of_five(rng):
    return tinygpt.random_batch(np.arange(99) % 11, 8, 5, rng)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody disturbed: (text, directory)."""
    directory = tmp_path_factory.mktemp("whole")
    (directory / "text.txt").write_text(TEXT)
    main("train", directory / "text.txt", "--out-dir", directory / "run", *FLAGS)
    return directory / "text.txt", directory / "run"


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of that run, to be spoilt."""
    return Path(shutil.copytree(whole[1], tmp_path / "run"))


# ---------------------------------------------------------------- one iteration


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 9])
def test_parts_of_a_batch_add_up_to_its_gradient(rows):
    model = small().to(np.float64)
    ids = RNG(1).integers(0, 11, (5, 9))
    targets = np.where(RNG(2).random((5, 8)) < 0.4, -100, ids[:, 1:])  # some parts have fewer
    targets[3] = -100
    loss = model.loss(ids[:, :-1], targets)
    expected = grad(loss, model.parameters())
    total = nn.run.crew.accumulate_gradients(model, ids[:, :-1], targets, rows)
    assert total == pytest.approx(loss.item(), rel=1e-13)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.grad, gradient.data, rtol=1e-12, atol=1e-14)


def test_micro_batches_train_the_same_model():
    trained = []
    for rows in (0, 2):
        training = Training(small().to(np.float64), TrainConfig(5, rows, max_iters=4))
        tinygpt.train(training, batch_of_five)
        trained.append(training.model.state_dict())
    for name, array in trained[0].items():
        np.testing.assert_allclose(array, trained[1][name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_training_is_deterministic_and_learns(optimizer):
    tokens = np.array(CharTokenizer().fit(TEXT).encode(TEXT))
    runs = []
    for _ in range(2):
        config = TrainConfig(16, max_iters=60, warmup_iters=5, learning_rate=1e-2)
        model = small(vocab_size=22, n_embd=16, dropout=0.1)
        training = Training(model, replace(config, optimizer=optimizer))
        batch = lambda rng: tinygpt.random_batch(tokens, 8, 16, rng)  # noqa: E731
        runs.append(tinygpt.train(training, batch))
        assert training.finished and not model.training
    assert runs[0] == runs[1] and len(runs[0]) == 60
    assert np.mean(runs[0][-5:]) < 0.8 * runs[0][0]


def test_every_parameter_moves_and_once():
    for optimizer in ("muon", "adamw"):
        training = Training(small(bias=True), TrainConfig(optimizer=optimizer))
        before = {k: v.copy() for k, v in training.model.state_dict().items()}
        iterate(training, batch_of_five)
        for name, array in training.model.state_dict().items():
            assert (array != before[name]).any(), name
        assert len(training.muon.parameters) == (8 if optimizer == "muon" else 0)


def test_large_parameters_are_trained_the_same(monkeypatch):
    trained = []
    for large in (1 << 20, 30):  # entries; of the second the tables and matrices have more
        monkeypatch.setattr(nn.run.training, "_LARGE", large)
        training = Training(
            small(bias=True).to(np.float64), TrainConfig(5, max_iters=4, optimizer="adamw")
        )
        tinygpt.train(training, batch_of_five)
        trained.append(training.model.state_dict())
        sizes = [vector.size for vector in training.vectors]
        assert sum(sizes) == sum(p.size for p in training.model.parameters())
        assert len(sizes) == 2 if large == 1 << 20 else len(sizes) > 5
    for name, array in trained[0].items():
        np.testing.assert_allclose(array, trained[1][name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("large", [1 << 20, 1])
def test_what_the_loss_does_not_depend_on_gets_no_gradient(monkeypatch, large):
    monkeypatch.setattr(nn.run.training, "_LARGE", large)
    model = small(bias=True)
    model.unused = nn.Linear(3, 3, RNG(0))
    training = Training(model, TrainConfig(optimizer="adamw", weight_decay=0.0))
    before = model.unused.weight.data.copy()
    for _ in range(2):
        iterate(training, batch_of_five)
    np.testing.assert_array_equal(model.unused.weight.data, before)
    assert not model.unused.weight.grad.any()


@pytest.fixture
def threads(monkeypatch):
    """Small models and batches are shared among three threads, too."""
    monkeypatch.setattr(nn.threads, "thread_count", lambda: 3)
    monkeypatch.setattr(nn.threads, "_THREAD_TOKENS", 1)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_threads_share_a_batch(rows, threads):
    model = small().to(np.float64)
    model.unused = Tensor([1.0], requires_grad=True)
    ids = RNG(1).integers(0, 11, (7, 9))
    targets = np.where(RNG(2).random((7, 8)) < 0.4, -100, ids[:, 1:])
    targets[3] = -100
    loss = model.loss(ids[:, :-1], targets)
    expected = grad(loss, [p for p in model.parameters() if p is not model.unused])
    training = Training(model, TrainConfig(7, rows, grad_clip=0))
    for _ in range(2):  # the second time with what the first has left
        total = training.backward(ids[:, :-1], targets)
        assert total == pytest.approx(loss.item(), rel=1e-13)
        got = [p.grad for p in model.parameters() if p is not model.unused]
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b.data, rtol=1e-12, atol=1e-14)
        assert not model.unused.grad.any()
    copies = [worker.model for worker in training.crew._workers]
    assert len(copies) == 3 and copies[0] is model
    for copy in copies[1:]:
        for p, q in zip(model.parameters(), copy.parameters(), strict=True):
            assert p.data is q.data and p is not q


def test_threads_train_in_one_way_only(threads):
    runs = []
    for _ in range(2):
        model = small(dropout=0.3)
        training = Training(model, TrainConfig(6, max_iters=5))
        model.eval()
        training.backward(*tinygpt.random_batch(np.arange(99) % 11, 8, 6, RNG(0)))
        losses = tinygpt.train(
            training, lambda rng: tinygpt.random_batch(np.arange(99) % 11, 8, 6, rng)
        )
        runs.append([losses, *model.state_dict().values()])
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_dropout_differs_from_thread_to_thread_and_only_in_training(threads, monkeypatch):
    model = small(dropout=0.5).to(np.float64)
    training = Training(model, TrainConfig(3, optimizer="adamw"))
    ids = np.tile(RNG(1).integers(0, 11, 9), (3, 1))  # the same sequence for each thread
    losses, original = [], nn.run.crew.accumulate_gradients
    monkeypatch.setattr(
        nn.run.crew, "accumulate_gradients",
        lambda *args: losses.append(original(*args)) or losses[-1],
    )  # fmt: skip
    for mode, different in ((model.train, 3), (model.eval, 1), (model.train, 3)):
        mode()
        losses.clear()
        training.backward(ids[:, :-1], ids[:, 1:])
        assert len(losses) == 3 and len(set(losses)) == different


def test_who_has_threads(monkeypatch):
    monkeypatch.setattr(nn.threads, "thread_count", lambda: 4)
    of = nn.threads.threads_for
    assert [of(10**6, 12, 64), of(10**6, 5, 8), of(10**8, 12, 64), of(10**6, 1, 4096)] == [
        3,
        1,
        1,
        1,
    ]
    assert of(10**6, 2, 512) == 2 and of(10**6, 64, 256) == 4


def test_frozen_weights_stay_and_constants_do_no_harm():
    for optimizer in ("adamw", "muon"):
        model = small(bias=True)
        model.counter, frozen = Tensor([1, 2]), model.blocks[0].attention.qkv.weight
        frozen.requires_grad = False
        before = {name: array.copy() for name, array in model.state_dict().items()}
        training = Training(model, TrainConfig(optimizer=optimizer))
        iterate(training, batch_of_five)
        same = {n for n, a in model.state_dict().items() if (a == before[n]).all()}
        assert same == {"counter", "blocks.0.attention.qkv.weight"}


def test_a_thread_whose_share_does_not_use_a_parameter(threads):
    model = small()
    used = model.position_embedding.weight  # of positions that the first sequence leaves out

    training = Training(model, TrainConfig(2, grad_clip=0))
    for worker in training.crew._workers_for(np.zeros((2, 8), int))[0]:
        p = worker.model.position_embedding.weight
        worker.model.loss = lambda ids, targets, ignore_index=-100, p=p: (
            (p * 0.0 if ids[0, 0] else p[:0]).sum() + (p.sum() if ids[0, 0] else 0.0)
        )
    ids = np.array([[0] * 8, [1] * 8])
    training.backward(ids, ids)
    np.testing.assert_array_equal(used.grad, 0.5)
    assert np.shares_memory(used.grad, training.vectors[0].grad)


@pytest.mark.parametrize("replace_weights", [
    lambda model: model.to(np.float64),
    lambda model: model.load_state_dict(model.state_dict() | {
        "norm.weight": np.ones(8, np.float32)}, assign=True),
    lambda model: Training(model, TrainConfig()),
])  # fmt: skip
def test_weights_that_are_replaced_are_noticed(replace_weights):
    model = small()
    training = Training(model, TrainConfig())
    replace_weights(model)
    with pytest.raises(ValueError, match="weights of the model were replaced since Training"):
        iterate(training, batch_of_five)


def test_a_model_that_cannot_be_copied_has_one_thread(threads):
    model = small()
    with open(os.devnull) as model.file:
        training = Training(model, TrainConfig(6))
        for _ in range(2):
            iterate(training, lambda rng: tinygpt.random_batch(np.arange(99) % 11, 8, 6, rng))
    assert len(training.crew._workers) == 1


def test_sequences_at_once():
    at_once = nn.run.crew.rows_at_once
    assert at_once(12, 64) == 12 and at_once(8, 256) == 4 and at_once(1, 9999) == 1
    assert at_once(64, 256) == 4 and at_once(3, 800) == 2 and at_once(1, 1) == 1


def test_checkpointed_activations_train_the_same(tmp_path, text):
    runs = [tmp_path / "a", tmp_path / "b"]
    main("train", text, "--out-dir", runs[0], *FLAGS)
    main("train", text, "--out-dir", runs[1], *FLAGS, "--activation-checkpointing")
    assert weights(runs[0]) == weights(runs[1])
    settings = json.loads((runs[1] / "settings.json").read_text())
    assert settings["training"]["activation_checkpointing"] is True


def test_schedules():
    linear = TrainConfig(max_iters=100, warmup_iters=10, optimizer="adamw", min_lr=1e-4)
    cosine, constant = (replace(linear, schedule=name) for name in ("cosine", "constant"))
    assert linear.rate(10) == cosine.rate(10) == constant.rate(10) == constant.rate(99) == 1e-3
    assert linear.rate(5) == cosine.rate(5) == constant.rate(5) < cosine.rate(9) < 1e-3
    assert linear.rate(100) == cosine.rate(100) == pytest.approx(1e-4)
    assert 1e-3 > cosine.rate(30) > linear.rate(30) == pytest.approx(1e-3 - 2 * 1e-4)
    assert TrainConfig().learning_rate == 4e-3 and TrainConfig().rate(2000) == 0
    with pytest.raises(ValueError, match="schedule must be linear or cosine or constant, got 'no'"):
        TrainConfig(schedule="no")


def test_a_run_that_is_older_than_even_rows_keeps_its_muon(text, tmp_path, monkeypatch):
    """It goes on as one that was told to: to the same bits."""
    runs, older = [tmp_path / "told", tmp_path / "old"], dict(muon_momentum=0.95, even_rows=False)
    with monkeypatch.context() as patched:
        told = functools.partialmethod(TrainConfig.__init__, **older)
        patched.setattr(TrainConfig, "__init__", told)
        for run in runs:
            main("train", text, "--out-dir", run, *FLAGS)
    state, path = runs[1] / "state.safetensors", runs[1] / "settings.json"
    arrays, header = load_arrays(state, sealed=True)
    assert not any(name.startswith("muon.") and "squares" in name for name in arrays)
    settings = json.loads(header["settings"])
    for name in older:
        del settings["training"][name]
    header["settings"] = json.dumps(settings)
    save_arrays(state, {k: v.copy() for k, v in arrays.items()}, header)
    path.write_text(header["settings"])
    for run in runs:
        (run / "model.safetensors").unlink()  # it notes the settings, too
        main("train", "--out-dir", run, "--resume", "--max-iters", "14")
    first, second = (load_arrays(run / "state.safetensors")[0] for run in runs)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
    assert "even_rows" not in json.loads(path.read_text())["training"]


def test_random_batches_are_shifted_by_one():
    ids, targets = tinygpt.random_batch(np.arange(10), 4, 200, RNG(0))
    np.testing.assert_array_equal(targets, ids + 1)
    assert ids.shape == (200, 4) and ids.min() == 0 and targets.max() == 9


def test_a_training_that_diverges_is_stopped_before_it_spoils_the_model():
    model = small()
    model.token_embedding.weight.data[3] = np.nan
    before = {k: v.copy() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"at iteration 0: the loss is nan.*--learning-rate"):
        tinygpt.train(Training(model, TrainConfig()), lambda rng: (np.full((1, 2), 3),) * 2)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


# ---------------------------------------------------------------- a run


def test_what_a_run_leaves(whole):
    _, run = whole
    steps = metrics(run)
    assert [m["iteration"] for m in steps] == list(range(1, 10))
    assert [m["iteration"] for m in steps if "validation_loss" in m] == [4, 8, 9]
    assert {"loss", "learning_rate", "grad_norm", "tokens_per_second"} < steps[0].keys()
    settings = json.loads((run / "settings.json").read_text())
    assert settings["training"]["max_iters"] == 9 and settings["model"]["n_embd"] == 8
    assert settings["command"].startswith("python ")
    assert (run / "training_loss.png").read_bytes().startswith(b"\x89PNG")
    assert not [path for path in run.rglob("*") if path.suffix in (".tmp", ".pkl", ".pickle")]


def test_killed_at_any_iteration_and_resumed_it_is_the_same(whole, tmp_path, monkeypatch):
    text, run = whole
    step, again = Training.step, tmp_path / "again"
    for stop in range(10):

        def killed(training, *arguments, stop=stop):
            if training.iteration == stop:
                raise Killed
            return step(training, *arguments)

        monkeypatch.setattr(Training, "step", killed)
        if stop < 9:
            with pytest.raises(Killed):
                main("train", text, "--out-dir", again, *FLAGS, "--resume")
        else:
            main("train", text, "--out-dir", again, *FLAGS, "--resume")
    assert weights(again) == weights(run)
    for name, array in load_arrays(run / "state.safetensors")[0].items():
        np.testing.assert_array_equal(array, load_arrays(again / "state.safetensors")[0][name])
    same = [{k: v for k, v in m.items() if k != "tokens_per_second"} for m in metrics(again)]
    assert same == [{k: v for k, v in m.items() if k != "tokens_per_second"} for m in metrics(run)]


def test_killed_at_any_write_and_resumed_it_is_the_same(whole, tmp_path, monkeypatch):
    text, run = whole
    rename, again = nn.files.os.replace, tmp_path / "again"
    for stop in range(1, 40, 3):
        count = 0

        def killed(*names, stop=stop):
            nonlocal count
            count += 1
            if count == stop:
                raise Killed
            rename(*names)

        monkeypatch.setattr(nn.files.os, "replace", killed)
        try:
            main("train", text, "--out-dir", again, *FLAGS, "--resume")
        except Killed:
            continue
        break
    monkeypatch.undo()
    main("train", "--out-dir", again, "--resume")
    assert weights(again) == weights(run)


def test_killed_for_real(whole, tmp_path):
    text, run = whole
    again, rng = tmp_path / "again", np.random.default_rng(0)
    command = [sys.executable, str(ROOT / "tinygpt.py"), "train", str(text)]
    command += ["--out-dir", str(again), *FLAGS, "--resume"]
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(200):  # until it has begun
            if process.poll() is not None or (again / "state.safetensors").exists():
                break
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.communicate()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert weights(again) == weights(run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_go_on(whole, tmp_path, monkeypatch, capsys, number):
    text, run = whole
    step, again = Training.step, tmp_path / "it's here"

    def interrupted(training, *arguments):
        if training.iteration == 5:
            signal.raise_signal(number)
        return step(training, *arguments)

    monkeypatch.setattr(Training, "step", interrupted)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop:
        main("train", text, "--out-dir", again, *FLAGS, "--save-seconds", 60)
    assert stop.value.code == 130
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    error = capsys.readouterr().err.splitlines()[-1]
    assert "stopped after iteration 6 of 9, all is saved; go on with: python tinygpt.py" in error
    assert error.endswith("""/it'"'"'s here' --resume""")
    monkeypatch.undo()
    main("train", "--out-dir", again, "--resume")
    assert weights(again) == weights(run)


def test_a_second_ctrl_c_does_not_wait(whole, tmp_path, monkeypatch, capsys):
    def interrupted(training, *arguments):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Training, "step", interrupted)
    with pytest.raises(SystemExit) as stop:
        main("train", whole[0], "--out-dir", tmp_path / "again", *FLAGS)
    assert stop.value.code == 130
    assert capsys.readouterr().err.endswith("\ntinygpt.py: stopped\n")


def test_an_ignored_ctrl_c_stays_ignored(whole, tmp_path, monkeypatch):
    """As in a background job, or under nohup."""
    step = Training.step

    def interrupted(training):
        signal.raise_signal(signal.SIGINT)
        step(training)

    monkeypatch.setattr(Training, "step", interrupted)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        main("train", whole[0], "--out-dir", tmp_path / "again", *FLAGS)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert weights(tmp_path / "again") == weights(whole[1])


def test_a_run_that_was_moved_goes_on(whole, copy, tmp_path, monkeypatch):
    copy.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    main("train", "--out-dir", "elsewhere", "--resume", "--max-iters", "10")
    assert len(metrics(tmp_path / "elsewhere")) == 10


def test_a_finished_run_resumed_says_what_it_said(copy, capsys):
    before = weights(copy)
    main("train", "--out-dir", copy, "--resume")
    assert "Finished after 9 iterations" in capsys.readouterr().out
    assert weights(copy) == before


def test_a_run_can_be_made_longer(whole, copy, capsys):
    main("train", whole[0], "--out-dir", copy, "--resume", "--max-iters", "12")
    assert "Finished after 12 iterations" in capsys.readouterr().out
    assert [m["iteration"] for m in metrics(copy)] == list(range(1, 13))
    main("train", "--out-dir", copy, "--resume")
    assert "Finished after 12 iterations" in capsys.readouterr().out


def test_early_stopping(text, tmp_path, capsys):
    main("train", text, "--out-dir", tmp_path / "run", *FLAGS, "--max-iters", "500",
         "--patience", "2", "--eval-interval", "2", "--learning-rate", "0", "--muon-lr", "0",
         "--save-seconds", "60")  # fmt: skip
    out = capsys.readouterr().out
    assert (
        "Finished after 6 iterations (2 evaluations no better); the best model, of iteration 2,"
        in out
    )
    main("train", "--out-dir", tmp_path / "run", "--resume")
    assert "Finished after 6 iterations" in capsys.readouterr().out


def test_the_best_model_is_kept(whole, text, tmp_path):
    _, run = whole
    losses = {m["iteration"]: m["validation_loss"] for m in metrics(run) if "validation_loss" in m}
    _, header = load_arrays(run / "model.safetensors")
    notes = json.loads(header["notes"])
    assert losses[notes["iteration"]] == notes["loss"] == min(losses.values())


def test_a_diverged_run_keeps_its_last_good_state(copy, capsys, monkeypatch):
    before, (arrays, _) = weights(copy), load_arrays(copy / "state.safetensors")
    arrays = {name: array.copy() for name, array in arrays.items()}
    backward = Training.backward

    def explode(training, *arguments):
        if training.iteration == 10 and len(arguments) > 2:  # no trial
            training.model.token_embedding.weight.data[:] = np.inf
        return backward(training, *arguments)

    monkeypatch.setattr(Training, "backward", explode)
    with np.errstate(all="ignore"):
        error = refused(
            capsys, "train", "--out-dir", copy, "--resume", "--max-iters", 20, "--save-seconds", 99
        )
    assert "training diverged at iteration 10: the loss is nan" in error and "Try a lower" in error
    assert weights(copy) == before
    for name, array in load_arrays(copy / "state.safetensors", sealed=True)[0].items():
        np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_a_learning_rate_of_0_stops_adamw_alone(schedule):
    rates = []
    for rate in (0.0, 1.0):
        config = TrainConfig(max_iters=20, warmup_iters=4, learning_rate=rate, schedule=schedule)
        training = Training(small(), config)
        before, rates_of = training.adamw.parameters[0].data.copy(), []
        for _ in range(3):
            iterate(training, batch_of_five)
            rates_of.append(training.muon.lr)
        assert (training.adamw.parameters[0].data == before).all() == (rate == 0)
        rates.append(rates_of)
    assert rates[0] == rates[1] and rates[0][2] == pytest.approx(0.015 * 3 / 5)


@pytest.mark.parametrize("flag", ["--learning-rate", "--muon-lr"])
def test_weights_that_explode_are_not_saved(whole, tmp_path, capsys, flag):
    text, _ = whole
    flags = [*FLAGS, flag, "1e30", "--warmup-iters", "3", "--grad-clip", "0"]
    error = refused(capsys, "train", text, "--out-dir", tmp_path / "run", *flags)
    assert "training diverged at iteration 1" in error
    arrays, _ = load_arrays(tmp_path / "run" / "state.safetensors", sealed=True)
    assert max(np.abs(array).max(initial=0) for array in arrays.values()) < 10


def test_a_run_that_diverged_to_numbers_says_so(whole, tmp_path, capsys):
    text, run = whole[0], tmp_path / "run"
    flags = [*TINY.split(), "--learning-rate", "100", "--optimizer", "adamw"]
    flags += ["--max-iters", "30", "--warmup-iters", "100"]
    error = refused(capsys, "train", text, "--out-dir", run, *flags)
    assert re.search(
        r"training diverged: its loss was [\d,.]+ at the end, no better than guessing among 22 "
        r"tokens \(3\.091\)\. .*run keeps the model of iteration 30, with a validation loss of "
        r"[\d,.]+, no better than guessing .*Try a lower --learning-rate than 100, more --warmup",
        error,
    )  # fmt: skip
    assert "--muon-lr" not in error
    assert refused(capsys, "train", "--out-dir", run, "--resume").endswith(error[-300:])
    main("evaluate", run, text)
    out = capsys.readouterr().out
    assert re.search(r"perplexity e\^\d+\.\d, .*no better than guessing among 22 tokens", out)
    main("plot", run, whole[1], "--output", tmp_path / "both.png")


def test_a_run_that_diverged_late_keeps_its_good_model(copy, capsys):
    lines = [*metrics(copy), *({"iteration": i, "loss": 9.0} for i in range(10, 100))]
    (copy / "metrics.jsonl").write_text("".join(json.dumps(m) + "\n" for m in lines))
    run = tinygpt.open_run(RunRequest(copy, resume=True), tinygpt.ARCHITECTURE, tinygpt.world())
    with run as opened, pytest.raises(ValueError) as error:
        (copy / "metrics.jsonl").write_text("".join(json.dumps(m) + "\n" for m in lines))
        opened.report()
    assert "its loss was 9.000 at the end, no better than" in str(error.value)
    kept = r"keeps the model of iteration \d, with a validation loss of 3\.0\d\d\. Try"
    assert re.search(kept, str(error.value))


@pytest.mark.parametrize(
    ("loss", "words"),
    [(2.5, "perplexity 12.182, "), (13.9, "perplexity 1088161.355, "),
     (14.0, "perplexity e^14.0, "), (1e6, "perplexity e^1000000.0, "),
     (math.inf, "perplexity e^inf, ")],
)  # fmt: skip
def test_any_perplexity_is_short(loss, words):
    assert words in describe_loss(loss, 10, 10, 8, 8)


def test_a_loss_at_the_level_of_guessing():
    assert guessing(math.log(22) - 1e-6, 22) == ""
    assert guessing(math.log(22), 22) == ", no better than guessing among 22 tokens (3.091)"


def test_the_loss_of_a_spoilt_model_is_named(copy, text, capsys):
    model, tokenizer = tinygpt.load(copy)
    model.token_embedding.weight.data = np.full((22, 8), np.nan, np.float32)
    tinygpt.save(copy, model, tokenizer)
    assert "the loss is nan: the training of the model" in refused(capsys, "evaluate", copy, text)


def test_the_last_loss_of_a_run_is_that_of_evaluate(copy, tmp_path, capsys):
    main("train", "--out-dir", copy, "--resume")
    out = capsys.readouterr().out
    assert "(on the whole validation text; the evaluations before took 2 random batches" in out
    part = tmp_path / "validation.txt"
    part.write_text(TEXT[len(TEXT) * 9 // 10 :])
    main("evaluate", copy, part)
    figures = capsys.readouterr().out.split("loss ")[1].strip()
    assert f"Validation loss {figures}\n" in out


def test_dropout_and_batches_depend_on_seed_and_iteration_alone(whole, tmp_path):
    text, run = whole
    main("train", text, "--out-dir", tmp_path / "other", *FLAGS, "--seed", "2")
    assert weights(tmp_path / "other") != weights(run)
    main("train", text, "--out-dir", tmp_path / "same", *FLAGS, "--save-seconds", "60")
    assert weights(tmp_path / "same") == weights(run)


# ---------------------------------------------------------------- what can go wrong


def test_a_directory_with_a_run_is_not_written_over(whole, copy, capsys):
    before = weights(copy)
    error = refused(capsys, "train", whole[0], "--out-dir", copy, *FLAGS)
    assert re.search("there is a run in .* already: go on with it by --resume, or choose", error)
    assert weights(copy) == before


FAILS = {
    "too long": ["--block-size", "500"],
    "too large": ["--n-embd", "4000000000"],
    "unknown letters": ["--init-from", "RUN"],
    "no memory later": [],
}


@pytest.mark.parametrize("failure", FAILS)
def test_a_start_that_fails_leaves_nothing(whole, tmp_path, capsys, monkeypatch, failure):
    text, new, mine = tmp_path / "text.txt", tmp_path / "a" / "b", tmp_path / "mine"
    text.write_text(TEXT + ("Z" if failure == "unknown letters" else ""))
    (mine / "tokens").mkdir(parents=True)
    (mine / "notes.txt").write_text("mine")
    flags = [str(whole[1]) if flag == "RUN" else flag for flag in FAILS[failure]]
    if failure == "no memory later":
        monkeypatch.setattr(tinygpt, "expected_seconds", lambda *_: np.ones(1 << 60))
    for directory in (new, mine):
        before = sorted(tmp_path.rglob("*"))
        refused(capsys, "train", text, "--out-dir", directory, *flags)
        left = set(tmp_path.rglob("*")) - set(before)
        assert {path.parent for path in left} <= {mine / "tokens"}
    assert (mine / "notes.txt").read_text() == "mine"


def test_a_start_that_was_stopped_can_go_on(whole, tmp_path, capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tinygpt, "expected_seconds", stop)
    with pytest.raises(SystemExit):
        main("train", whole[0], "--out-dir", tmp_path / "run", *FLAGS)
    monkeypatch.undo()
    main("train", "--out-dir", tmp_path / "run", "--resume")
    assert weights(tmp_path / "run") == weights(whole[1])


def test_a_failed_start_beside_another_process_takes_nothing_away(whole, tmp_path, capsys):
    directory = tmp_path / "run"
    with locked(directory):
        (directory / "tokens").mkdir()
        refused(capsys, "train", whole[0], "--out-dir", directory, *FLAGS)
        assert sorted(path.name for path in directory.iterdir()) == [".lock", "tokens"]


def test_what_is_there_in_place_of_a_model(whole, copy, tmp_path, capsys):
    text, run = whole
    seen = {"missing": "there is no such folder; give the --out-dir of `tinygpt.py train`"}
    (tmp_path / "empty").mkdir()
    seen["empty"] = "it has no config.json; give the --out-dir of `tinygpt.py train`, or a GPT-2"
    (tmp_path / "file").write_text("x")
    seen["file"] = "it is a file; give the folder of a run or of a model"
    for name, gone in {"stopped": (), "begun": ["state.safetensors", "metrics.jsonl"]}.items():
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
            patch.setattr(tinygpt.Training, "finished", property(lambda self: self.iteration == 2))
            main("train", text, "--out-dir", tmp_path / name, *FLAGS)
        for file in gone:
            (tmp_path / name / file).unlink()
    seen["stopped"] = (
        "this run has not come to its first evaluation, after iteration 4, which saves one; if it "
        f"was stopped, go on with: python tinygpt.py train --out-dir {tmp_path / 'stopped'} --re"
    )
    seen["begun"] = "a training began there and has saved nothing yet; if it was stopped: python"
    (copy / "model.safetensors").unlink()
    seen["run"] = "it was taken away from this run; for a new one: python tinygpt.py train"
    capsys.readouterr()
    for name, reason in seen.items():
        directory = tmp_path / name
        train = ["train", text, "--out-dir", tmp_path / "x", "--init-from", directory]
        evaluate = ["evaluate", directory, text]
        for command in (train, evaluate, ["generate", directory], ["explain", directory, "T"]):
            assert f"no model in {directory}: {reason}" in refused(capsys, *command)
        if name not in ("stopped", "run"):
            reason = reason.replace("config.json", "metrics.jsonl").replace(", or a GPT-2", "")
            assert f"no losses in {directory}: {reason}" in refused(capsys, "plot", directory)
    main("plot", tmp_path / "stopped", copy, "--output", tmp_path / "both.png")
    (copy / "metrics.jsonl").unlink()
    assert "metrics.jsonl was taken away from this run" in refused(capsys, "plot", copy)
    main("train", "--out-dir", tmp_path / "stopped", "--resume")
    assert weights(tmp_path / "stopped") == weights(run)


def test_two_processes_on_one_run(copy, capsys):
    with locked(copy):
        error = refused(capsys, "train", "--out-dir", copy, "--resume")
    assert "another process is at work in" in error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            "--n-embd 16",
            "the run has n_embd 8 and cannot go on with 16: leave the flag, or the --preset,",
        ),
        ("--learning-rate 5", "the run has learning_rate 0.004 and cannot go on with 5.0"),
        ("--tokenizer bpe", "the run has tokenizer char and cannot go on with bpe"),
        ("--preset medium", "the run has n_layer 1 and cannot go on with 12"),
    ],
)
def test_a_run_cannot_go_on_as_another(copy, capsys, flags, message):
    assert message in refused(capsys, "train", "--out-dir", copy, "--resume", *flags.split())


def test_runs_from_before_there_was_a_choice_of_architectures(text, tmp_path, monkeypatch):
    """Their files do not have the field: they are GPTs, whatever is the default now."""

    def without_arch(config):
        return {name: value for name, value in vars(config).items() if name != "arch"}

    with monkeypatch.context() as before:
        for module in (nn.files, nn.run.directory):
            before.setattr(module, "asdict", without_arch)
        main("train", text, "--out-dir", tmp_path / "old", *FLAGS)
    assert "arch" not in json.loads((tmp_path / "old" / "settings.json").read_text())["model"]
    main("train", "--out-dir", tmp_path / "old", "--resume", "--max-iters", 12)
    main("train", text, "--out-dir", tmp_path / "new", "--init-from", tmp_path / "old",
         "--max-iters", 2, "--eval-iters", 1)  # fmt: skip
    for name in ("old", "new"):
        assert type(tinygpt.load(tmp_path / name)[0]) is tinygpt.TinyGPT


def test_a_text_that_was_changed(copy, text, capsys):
    text.write_text(TEXT + "!")
    error = refused(capsys, "train", text, "--out-dir", copy, "--resume")
    assert "is not the text of the run" in error and "leave it out" in error


def test_nothing_to_train_on(tmp_path, capsys):
    run = tmp_path / "run"
    assert "give a FILE to train on, or --resume" in refused(capsys, "train", "--out-dir", run)
    error = refused(capsys, "train", "--out-dir", run, "--resume")
    assert "there is no run in" in error and "give the FILE to train on" in error
    assert not run.exists()


def test_a_text_that_is_too_short(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("short text")
    error = refused(capsys, "train", tmp_path / "text.txt", "--out-dir", tmp_path / "run")
    assert "too short: its last tenth, for validation, has 1 tokens and --block-size 64" in error


def test_lost_tokens_are_made_again_from_the_same_text(whole, copy, capsys, tmp_path):
    tokens = copy / "tokens" / "tokens.bin"
    before = tokens.read_bytes()
    try:
        tokens.write_bytes(before[:-4])
        main("train", "--out-dir", copy, "--resume")
        assert tokens.read_bytes() == before
        tokens.write_bytes(before[:-4])
        whole[0].write_text(TEXT + "!")
        error = refused(capsys, "train", "--out-dir", copy, "--resume")
        assert "damaged; and it cannot be made again: the text was changed" in error
        whole[0].unlink()
        assert "there is no such file" in refused(capsys, "train", "--out-dir", copy, "--resume")
    finally:
        tokens.write_bytes(before)
        whole[0].write_text(TEXT)


DAMAGE = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "cut by a byte": lambda data: data[:-1],
    "flipped": lambda data: data[:99] + bytes([data[99] ^ 4]) + data[100:],
    "flipped near the end": lambda data: data[:-9] + bytes([data[-9] ^ 4]) + data[-8:],
    "foreign": lambda data: b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "other JSON": lambda data: b"{}",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    "name", ["state.safetensors", "model.safetensors", "config.json", "vocabulary.json"]
)
def test_a_damaged_file_is_named(copy, capsys, name, damage):
    path = copy / name
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert str(path) in refused(capsys, "train", "--out-dir", copy, "--resume")
    if name != "state.safetensors":
        assert str(path) in refused(capsys, "generate", copy)


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "foreign", "other JSON"])
@pytest.mark.parametrize("name", ["settings.json", "metrics.jsonl", "training_loss.png"])
def test_what_is_only_looked_at_is_made_again_or_named(copy, capsys, name, damage):
    path, before = copy / name, weights(copy)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    try:
        main("train", "--out-dir", copy, "--resume")
    except SystemExit:
        assert f"{path} is damaged in line" in capsys.readouterr().err
    else:
        assert name != "settings.json" or "files" in json.loads(path.read_text())
    assert weights(copy) == before


def test_the_state_of_another_run_does_not_fit(whole, copy, tmp_path, capsys):
    main("train", whole[0], "--out-dir", tmp_path / "other", *FLAGS, "--n-embd", "16")
    shutil.copy(tmp_path / "other" / "state.safetensors", copy)
    error = refused(capsys, "train", "--out-dir", copy, "--resume")
    assert "belongs to another run" in error
    shutil.copy(whole[1] / "state.safetensors", copy)
    tinygpt.load(copy)[0].save_pretrained(copy)
    error = refused(capsys, "train", "--out-dir", copy, "--resume")
    assert "belongs to another run" in error


def test_a_folder_with_a_run_in_it_is_trained_on_again(tmp_path, capsys):
    (tmp_path / "book.txt").write_text(TEXT)
    for run in ("first", "second"):
        main("train", tmp_path, "--out-dir", tmp_path / run, *FLAGS)
        assert f"{len(TEXT) * 9 // 10:,} tokens for training" in capsys.readouterr().out


def test_a_full_disk_leaves_the_last_good_state(whole, copy):
    before = weights(copy), weights(copy, "state")
    command = [sys.executable, PROGRAMS / "full_disk_run.py", copy]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.search(r"cannot write .*: File too large", done.stderr.splitlines()[-1])
    assert (weights(copy), weights(copy, "state")) == before


def test_a_directory_that_cannot_be_made(text, capsys):
    error = refused(capsys, "train", text, "--out-dir", "/proc/nothing/run", *FLAGS)
    assert "cannot write to the directory /proc/nothing/run" in error


# ---------------------------------------------------------------- texts and tokenizers


@pytest.mark.parametrize("tokenizer", ["char", "bpe"])
def test_korean(tmp_path, capsys, tokenizer):
    if tokenizer == "bpe":
        pytest.importorskip("tokenizers")
    (tmp_path / "text.txt").write_text(KOREAN, encoding="utf-8")
    run = tmp_path / "run"
    main("train", tmp_path / "text.txt", "--out-dir", run, *FLAGS, "--tokenizer", tokenizer,
         *(["--vocab-size", "300"] if tokenizer == "bpe" else []))  # fmt: skip
    capsys.readouterr()
    main("generate", run, "--prompt", "진달래", "--max-new-tokens", "9", "--seed", "1")
    out = capsys.readouterr().out
    assert out.startswith("진달래")
    assert tokenizer == "bpe" or set(out) <= set(KOREAN)
    main("evaluate", run, tmp_path / "text.txt")
    assert "bits per byte" in capsys.readouterr().out


def test_several_files_and_a_folder(tmp_path, text, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text(TEXT)
    (folder / "b.txt").write_text(TEXT)
    main("train", folder, text, "--out-dir", tmp_path / "run", *FLAGS)
    assert f"{len(TEXT) * 27 // 10:,} tokens for training" in capsys.readouterr().out


def test_runs_share_tokens(text, tmp_path, capsys):
    for run in ("a", "b"):
        main("train", text, "--out-dir", tmp_path / run, "--tokens-dir", tmp_path / "t", *FLAGS)
        if run == "a":
            (tokens,) = (tmp_path / "t").glob("*/tokens.bin")
            before = tokens.stat().st_mtime_ns
    assert tokens.stat().st_mtime_ns == before
    text.write_text(TEXT + "!")  # another text stays out of the way of runs with the first
    main("train", text, "--out-dir", tmp_path / "c", "--tokens-dir", tmp_path / "t", *FLAGS)
    assert len([*(tmp_path / "t").glob("*/tokens.bin")]) == 2
    assert tokens.stat().st_mtime_ns == before
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


# ---------------------------------------------------------------- presets and memory


@pytest.mark.parametrize("preset", tinygpt.PRESETS)
def test_every_field_of_a_preset_has_a_flag(preset):
    options = tinygpt.PRESETS[preset]
    flags = ["train", "--out-dir", "x", "--preset", preset]
    for name, value in options.items():
        flag = name.replace("_", "-")
        both = {True: [f"--{flag}"], False: [f"--no-{flag}"]}
        flags += both[value] if isinstance(value, bool) else [f"--{flag}", str(value)]
    args = vars(tinygpt.parser().parse_args(flags))
    assert {name: args[name] for name in options} == options
    sizes = {"vocab_size": 50257, **tinygpt.select(options, tinygpt.OPTIONS)}
    config = tinygpt.ARCHITECTURE.config(**sizes)
    assert config.arch == options["arch"]  # whatever is the default
    TrainConfig(**tinygpt.select(options, TrainConfig))
    if count := {"gpt2": 124_439_808, "smollm": 134_515_008}.get(preset):
        model = tinygpt.ARCHITECTURE.model(config, None)
        assert sum(p.size for p in model.parameters()) == count


def test_what_the_machine_cannot_hold_is_refused(text, tmp_path, capsys, monkeypatch):
    assert 1e8 < nn.run.plan.machine_memory() <= math.inf
    monkeypatch.setattr(nn.run.plan, "machine_memory", lambda: 2e9)
    error = refused(capsys, "train", text, "--out-dir", tmp_path / "r", "--n-embd", "4096")
    assert re.search(r"takes about \d+\.\d GB of memory, this machine has 2.0 GB: take a sm", error)
    monkeypatch.setattr(nn.run.plan, "parameter_count", None)  # no such model is made
    for flag in ("--n-layer", "--n-embd", "--d-ff", "--block-size"):
        error = refused(capsys, "train", text, "--out-dir", tmp_path / "r", flag, "4000000000")
        assert re.search(r"a model of this size, .* takes more than [\d,]+\.\d GB of memo", error)


# ---------------------------------------------------------------- evaluation


@no_grad()
def naive(model, tokens, window, stride):
    """Token by token, each in the context of the first window that has it."""
    total, T = 0.0, len(tokens)
    for t in range(1, T):
        begin = max(0, -(-(t - window) // stride) * stride)
        logits = model(tokens[begin:t]).data[-1].astype(float)
        total += np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[tokens[t]]
    return total / (T - 1)


@pytest.mark.parametrize("length", [2, 3, 8, 9, 10, 17, 40, 45])
@pytest.mark.parametrize(("window", "stride"), [(8, 8), (8, 1), (8, 3), (5, 2), (1, 1)])
def test_evaluation_is_exact(length, window, stride):
    model, tokens = small().eval(), RNG(length).integers(0, 11, length)
    scored = []
    loss = tinygpt.mean_loss(model, tokens, stride, window, 2, scored.append)
    assert loss == pytest.approx(naive(model, tokens, window, stride), abs=1e-6)
    assert sum(scored) == length - 1


def test_evaluation_on_the_command_line(whole, capsys):
    text, run = whole
    main("evaluate", run, text, "--stride", 1)
    out = capsys.readouterr().out
    model, tokenizer = tinygpt.load(run)
    expected = naive(model, np.array(tokenizer.encode(TEXT)), 8, 1)
    loss, perplexity, bits = map(float, re.search(
        r"loss ([\d.]+) nats per token, perplexity ([\d.]+), ([\d.]+) bits per byte "
        rf"\({len(TEXT) - 1:,} tokens scored, window 8, stride 1\)", out).groups())  # fmt: skip
    assert loss == pytest.approx(expected, abs=6e-5)
    assert perplexity == pytest.approx(math.exp(expected), abs=6e-3)
    assert bits == pytest.approx(expected / math.log(2), abs=6e-4)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--stride 9", "window 8 and stride 9: 1 <= stride <= window <= block_size 8 is needed"),
        ("--stride 0", "stride 0"),
        ("--window 9", "window 9 and stride 9"),
        ("--window 0", "window 0"),
    ],
)
def test_evaluation_refuses(whole, capsys, flags, message):
    assert message in refused(capsys, "evaluate", whole[1], whole[0], *flags.split())


def test_evaluation_of_other_texts(whole, tmp_path, capsys):
    path = tmp_path / "a.txt"
    assert "there is no such file" in refused(capsys, "evaluate", whole[1], path)
    told = {"": "no token", "T": "one token only", "Zz": "never seen: 'Z' 'z'"}
    for content, message in told.items():
        path.write_text(content)
        assert message in refused(capsys, "evaluate", whole[1], path)


# ---------------------------------------------------------------- pictures


def test_runs_in_one_picture(whole, copy, tmp_path, capsys):
    main("plot", whole[1], copy, "--output", tmp_path / "both.png")
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    assert "both.png" in capsys.readouterr().out


def test_runs_with_other_tokens_are_drawn_in_bits_per_byte(whole, copy, text, tmp_path, capsys):
    shown = []

    def draw(path, runs, unit):
        shown.append((unit, {Path(name).name: [m["loss"] for m in runs[name]] for name in runs}))
        return ""

    main("train", text, "--out-dir", tmp_path / "words", *FLAGS, "--tokenizer", "word")
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.run.directory, "plot_losses", draw)
        for runs in (["run", "run"], ["run", "words"], ["words"]):
            main("plot", *(tmp_path / name for name in runs))
        assert capsys.readouterr().out.count("Their tokens differ") == 1
        shutil.rmtree(copy / "tokens")
        main("plot", copy, tmp_path / "words")
        assert re.search("Nats per token, which cannot be .*tokens.json", capsys.readouterr().out)
    nats = "nats per token"
    assert [unit for unit, _ in shown] == [nats, "bits per byte", nats, nats]
    words = tinygpt.load(tmp_path / "words")[1].encode(TEXT)
    part = words[len(words) * 9 // 10 :]
    size = len(tinygpt.load(tmp_path / "words")[1].decode(part)) / len(part)
    for name, bytes_per_token in (("run", 1), ("words", size)):
        expected = [m["loss"] / math.log(2) / bytes_per_token for m in metrics(tmp_path / name)]
        assert shown[1][1][name] == pytest.approx(expected, rel=1e-12)


def test_pictures_of_nothing(copy, tmp_path, capsys):
    (copy / "metrics.jsonl").write_text("")
    assert "nothing to draw: no iteration of" in refused(capsys, "plot", copy)
