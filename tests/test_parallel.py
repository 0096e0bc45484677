"""Several processes, as a user starts them, by mpiexec: the losses of one process, and one end."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nn.parallel
from tinygpt import GPTConfig, TinyGPT, TrainConfig, Training

pytest.importorskip("mpi4py")
ROOT = Path(__file__).parent.parent
NAMES = (*nn.parallel._SIZES, *nn.parallel._RANKS)
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in NAMES}
ENVIRONMENT |= dict.fromkeys(nn.parallel._THREADS, "1")


def mpiexec(count, *arguments):
    """Several of them, that have ended."""
    launcher = nn.parallel._mpiexec()
    assert launcher, "mpi4py is here without an mpiexec: pip install mpich"
    command = [launcher, "-n", str(count), sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)


# ---------------------------------------------------------------- one batch

GRADIENTS = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import numpy as np
import nn.training
from autograd import grad
from nn.parallel import world
from tinygpt import GPTConfig, TinyGPT, TrainConfig, Training

RNG = np.random.default_rng
ids = RNG(1).integers(0, 11, (5, 9))
targets = np.where(RNG(2).random((5, 8)) < 0.4, -100, ids[:, 1:])  # some rows have fewer
targets[3] = -100
with world() as team:
    for rows in (0, 1, 2):
        config = GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=8)
        model = TinyGPT(config, RNG(team.rank)).to(np.float64)  # others than those of rank 0
        nn.training._LARGE = 50 if rows else 1 << 20  # parameters outside of the vector
        if not team.rank:  # as a head is that was read from a file
            table = model.token_embedding.weight
            table.data = np.asfortranarray(table.data)
        training = Training(model, TrainConfig(micro_batch_size=rows, grad_clip=0))
        if team.rank:
            training.follow(team)
            continue
        training.lead(team)
        for B in (5, 1):  # also fewer rows than processes
            loss = model.loss(ids[:B, :-1], targets[:B])
            expected = grad(loss, model.parameters())
            total, norm = training.gradients(ids[:B, :-1], targets[:B])
            np.testing.assert_allclose(total, loss.item(), rtol=1e-12)
            for parameter, gradient in zip(model.parameters(), expected, strict=True):
                np.testing.assert_allclose(parameter.grad, gradient.data, rtol=1e-12, atol=1e-14)
            total = training.loss([(ids[:B, :-1], targets[:B])] * 2)
            np.testing.assert_allclose(total, loss.item(), rtol=1e-12)
        for B in (5, 1, 5):
            training.step(lambda rng: (ids[:B, :-1], targets[:B]))
            training.check_replicas()
        team.send(None)
    draw = model.dropout.rng.random()
    training.iteration -= 1
    assert (training.iteration, draw) == (2, training._rng().random())
    draws = team.gather(draw)
    if team.rank:
        assert team.receive() is None
    else:
        assert len(set(draws)) == team.size  # each has its own
        print(team.size, "processes")
"""


@pytest.mark.parametrize("count", [2, 3])
def test_the_parts_of_a_batch_add_up_to_its_gradient(count):
    done = mpiexec(count, "-c", GRADIENTS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{count} processes\n"


def test_random_numbers_depend_on_seed_iteration_and_rank_alone():
    config = GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=8)
    training = Training(TinyGPT(config, None), TrainConfig(seed=3))
    draws = {}
    for training.team.rank in range(3):
        for training.iteration in range(3):
            draws[training.team.rank, training.iteration] = training._rng().random()
            assert draws[training.team.rank, training.iteration] == training._rng().random()
    assert len(set(draws.values())) == 9
    assert draws[0, 2] == np.random.default_rng((3, 2)).random()  # as of one process
