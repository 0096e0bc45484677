"""Several processes compute the gradients of a batch, and step: run by test_team.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import nn.run.training
from autograd import grad
from nn.run.team import world
from tinygpt import GPTConfig, TinyGPT, TrainConfig, Training

RNG = np.random.default_rng
ids = RNG(1).integers(0, 11, (5, 9))
targets = np.where(RNG(2).random((5, 8)) < 0.4, -100, ids[:, 1:])  # some rows have fewer
targets[3] = -100
with world() as team:
    for rows in (0, 1, 2):
        config = GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=8)
        model = TinyGPT(config, RNG(team.rank)).to(np.float64)  # others than those of rank 0
        nn.run.training._LARGE = 50 if rows else 1 << 20  # parameters outside of the vector
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
            total = training.backward(ids[:B, :-1], targets[:B])
            np.testing.assert_allclose(total, loss.item(), rtol=1e-12)
            for parameter, gradient in zip(model.parameters(), expected, strict=True):
                np.testing.assert_allclose(parameter.grad, gradient.data, rtol=1e-12, atol=1e-14)
            total = training.loss([(ids[:B, :-1], targets[:B])] * 2)
            np.testing.assert_allclose(total, loss.item(), rtol=1e-12)
        for B in (5, 1, 5):
            training.backward(ids[:B, :-1], targets[:B], training.rng())
            training.clip()
            training.step()
            training.check_weights()
        team.send(None)
    draw = model.dropout.rng.random()
    training.iteration -= 1
    assert (training.iteration, draw) == (2, training.rng().random())
    draws = team.gather(draw)
    if team.rank:
        assert team.receive() is None
    else:
        assert len(set(draws)) == team.size  # each has its own
        print(team.size, "processes")
