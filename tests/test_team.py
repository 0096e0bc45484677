"""Several processes, as a user starts them, by mpiexec: the losses of one process, and one end."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from common import PROGRAMS, ROOT, TEXT, metrics, weights

import nn.run.team
import tinygpt
from nn.run import plan
from nn.run.team import Team, launch, world
from tinygpt import GPTConfig, TinyGPT, TrainConfig, Training

pytest.importorskip("mpi4py")
PROGRAM, BROKEN = str(ROOT / "tinygpt.py"), PROGRAMS / "broken_team.py"
TINY = "--block-size 8 --n-layer 1 --n-head 2 --n-embd 8 --batch-size 5 --micro-batch-size 2"
FLAGS = f"{TINY} --max-iters 9 --eval-interval 4 --eval-iters 2 --save-seconds 0".split()
NAMES = (*nn.run.team._SIZES, *nn.run.team._RANKS)
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in NAMES}
ENVIRONMENT |= dict.fromkeys(nn.threads.BLAS_VARIABLES, "1")


def python(*arguments, **environment):
    """A process of this Python, that has ended."""
    command = [sys.executable, *map(str, arguments)]
    environment = {**ENVIRONMENT, **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def mpiexec(count, *arguments):
    """Several of them, that have ended."""
    launcher = nn.run.team._mpiexec()
    assert launcher, "mpi4py is here without an mpiexec: pip install mpich"
    command = [launcher, "-n", str(count), sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)


def refused(done):
    """The one line that a program said before it ended with exit code 2."""
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def errors(done):
    """What was said but for the progress, which is told on a slow machine alone."""
    return [line for line in done.stderr.splitlines() if not line.startswith("training: ")]


def figures(run):
    """The figures of each iteration, in rows, without the speed."""
    return [[v for k, v in line.items() if k != "tokens_per_second"] for line in metrics(run)]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def alone(text):
    """A run of one process."""
    tinygpt.main(["train", str(text), "--out-dir", str(text.parent / "alone"), *FLAGS])
    return text.parent / "alone"


@pytest.fixture(scope="module")
def two(text):
    """A run of two processes, and what was printed."""
    run = text.parent / "two"
    return run, mpiexec(2, "-m", "mpi4py", PROGRAM, "train", text, "--out-dir", run, *FLAGS)


# ---------------------------------------------------------------- one batch

@pytest.mark.parametrize("count", [2, 3])
def test_the_parts_of_a_batch_add_up_to_its_gradient(count):
    done = mpiexec(count, PROGRAMS / "batch_of_a_team.py")
    assert (done.returncode, errors(done)) == (0, [])
    assert done.stdout == f"{count} processes\n"


def test_random_numbers_depend_on_seed_iteration_and_rank_alone():
    config = GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=8)
    training = Training(TinyGPT(config, None), TrainConfig(seed=3))
    draws = {}
    for training.crew.team.rank in range(3):
        for training.iteration in range(3):
            draws[training.team.rank, training.iteration] = training.rng().random()
            assert draws[training.team.rank, training.iteration] == training.rng().random()
    assert len(set(draws.values())) == 9
    assert draws[0, 2] == np.random.default_rng((3, 2)).random()  # as of one process


# ---------------------------------------------------------------- runs


def test_a_run_has_the_losses_of_one_process(alone, two):
    run, done = two
    assert (done.returncode, errors(done)) == (0, [])
    assert "of memory in each of 2 processes" in done.stdout
    assert done.stdout.count("Finished after 9 iterations") == 1
    for found, expected in zip(figures(run), figures(alone), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_procs_starts_mpiexec(two, text, tmp_path):
    done = python(PROGRAM, "train", text, "--procs=2", "--out-dir", tmp_path / "run", *FLAGS)
    assert (done.returncode, errors(done)) == (0, [])
    assert weights(tmp_path / "run") == weights(two[0])
    for run in (two[0], tmp_path / "run"):
        command = json.loads((run / "settings.json").read_text())["command"]
        assert command.endswith("--save-seconds 0 --procs 2") and command.count("--procs") == 1


def test_dropout_and_early_stopping(text, tmp_path):
    flags = [*FLAGS, *"--arch gpt --dropout 0.2 --max-iters 99 --eval-interval 2".split()]
    flags += "--patience 2 --learning-rate 0 --muon-lr 0".split()
    for run in ("a", "b"):
        done = mpiexec(3, BROKEN, "nothing", "train", text, "--out-dir", tmp_path / run, *flags)
        assert "Finished after 6 iterations (2 evaluations no better)" in done.stdout, done.stderr
    assert figures(tmp_path / "a") == figures(tmp_path / "b")


def test_a_signal_to_one_stops_all_and_the_run_goes_on(two, text, tmp_path):
    run = tmp_path / "run"
    done = mpiexec(2, BROKEN, "signal", "train", text, "--out-dir", run, *FLAGS)
    assert done.returncode == 130
    assert done.stderr.count("stopped after iteration 6 of 9, all is saved; go on with") == 1
    assert done.stderr.endswith(f"train --out-dir {run} --resume --procs 2\n")
    for count in ("2", "3"):
        again = Path(shutil.copytree(run, tmp_path / count))
        goes_on = ["train", "--out-dir", again, "--resume"]
        if count == "2":  # as it was said
            done = python(PROGRAM, *goes_on, "--procs", count)
        else:
            done = mpiexec(3, BROKEN, "nothing", *goes_on)
        assert done.returncode == 0, done.stderr
        for found, expected in zip(figures(again), figures(two[0]), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4)
        assert count != "2" or weights(again) == weights(two[0])


def test_ctrl_c_saves(text, tmp_path):
    run = tmp_path / "run"
    flags = [*FLAGS, *"--max-iters 1000000 --eval-interval 1000000 --save-seconds 99".split()]
    command = [sys.executable, PROGRAM, "train", str(text), "--out-dir", str(run), *flags]
    process = subprocess.Popen(
        [*command, "--procs", "2"], env=ENVIRONMENT, text=True, stderr=subprocess.PIPE
    )
    written = run / "metrics.jsonl"
    while process.poll() is None and not (written.exists() and written.stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    done = figures(run)[-1][0]
    assert f"stopped after iteration {done} of 1000000, all is saved; go on with" in error
    tinygpt.main(["train", "--out-dir", str(run), "--resume", "--max-iters", str(done + 1)])
    assert figures(run)[-1][0] == done + 1


@pytest.mark.parametrize(
    ("what", "code", "message"),
    [
        ("bug", 1, "KeyError: 'oh dear'\n"),
        ("memory", 2, "tinygpt.py: oh dear\n"),
        ("kill", 9, ""),
        ("spoil", 2, "tinygpt.py: after iteration 6 the weights of process 1 are not those of "),
    ],
)
def test_a_crash_of_one_ends_all(text, tmp_path, what, code, message):
    done = mpiexec(2, BROKEN, what, "train", text, "--out-dir", tmp_path / "run", *FLAGS)
    assert done.returncode == code, done.stderr
    assert not message or done.stderr.count(message) == 1
    assert len(figures(tmp_path / "run")) >= 5


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["nothing.txt"], "cannot read nothing.txt: there is no such file"),
        (["--max-iters", "1.5"], "invalid int value: '1.5'"),
        (["TEXT", "--learning-rate", "1e30", "--grad-clip", "0"], "training diverged at iterat"),
        (["TEXT", "--batch-size", "1"], "2 processes cannot share a batch of 1 sequences: take 1"),
        (["TEXT", "--procs", "2"], "--procs starts mpiexec, and mpiexec started this: leave one"),
    ],
)
def test_what_is_wrong_is_said_once(text, tmp_path, flags, message):
    flags = [str(text) if flag == "TEXT" else flag for flag in flags]
    done = mpiexec(2, PROGRAM, "train", "--out-dir", tmp_path / "run", *FLAGS, *flags)
    assert message in refused(done)


def test_with_the_module_of_mpi4py_too():
    done = mpiexec(2, "-m", "mpi4py", PROGRAM, "train", "nothing.txt", "--out-dir", "nowhere")
    assert "cannot read nothing.txt" in refused(done)


@pytest.mark.parametrize("size", ["PMI_SIZE", "OMPI_COMM_WORLD_SIZE"])
def test_a_foreign_launcher_is_noticed(size):
    error = refused(python(PROGRAM, **{size: "3"}))
    assert "the launcher of another MPI than MPICH" in error and "started these 3" in error
    assert error.endswith(f"take {nn.run.team._mpiexec()}\n")
    done = python(PROGRAM, **{size: "3", size.replace("SIZE", "RANK"): "1"})
    assert (done.returncode, done.stderr) == (2, "")  # the first has said it


def test_without_mpi4py_or_mpiexec(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match=r'there is no mpiexec: pip install -e "\.\[mpi\]" brings'):
        launch(2, ["tinygpt.py"])
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ValueError, match="there is no mpi4py: pip install"):
        launch(2, ["tinygpt.py"])
    with pytest.raises(ValueError, match="--procs must be at least 1, got 0"):
        launch(0, ["tinygpt.py"])
    assert world().size == 1
    launch(1, ["tinygpt.py"])  # needs none of it
    monkeypatch.setenv("PMI_SIZE", "2")
    with pytest.raises(ValueError, match=r"started by mpiexec, this needs mpi4py .*pip install"):
        world()
    monkeypatch.setenv("PMI_RANK", "1")
    with pytest.raises(SystemExit, match="2"):
        world()


def test_one_blas_thread_each_unless_told_otherwise(monkeypatch):
    for name in (*NAMES, *nn.threads.BLAS_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    started = []
    monkeypatch.setattr(os, "execve", lambda *arguments: started.extend(arguments))
    launch(2, ["tinygpt.py", "train"])
    mpiexec, command, environment = started
    assert command == [mpiexec, "-n", "2", sys.executable, "tinygpt.py", "train"]
    assert [environment[name] for name in nn.threads.BLAS_VARIABLES] == ["1", "3", *"111"]


def test_memory_is_that_of_all_processes_on_a_machine(monkeypatch):
    config, training, team = GPTConfig(65), TrainConfig(batch_size=10), Team()
    assert [plan._rows(config, training, n) for n in (1, 2, 3, 10)] == [10, 5, 4, 1]
    training.micro_batch_size = 3
    assert [plan._rows(config, training, n) for n in (1, 2, 5)] == [3, 3, 2]
    needed = plan.memory_needed(tinygpt.ARCHITECTURE, config, training)
    assert plan.memory_needed(tinygpt.ARCHITECTURE, config, training, 10) < needed
    monkeypatch.setattr(plan, "machine_memory", lambda: 1.5 * needed)
    plan.check_memory(tinygpt.ARCHITECTURE, config, training, team)
    team.size, team.here = 4, 2
    with pytest.raises(ValueError, match=r"3 sequences at once in each of 2 processes.*, or fewer"):
        plan.check_memory(tinygpt.ARCHITECTURE, config, training, team)
