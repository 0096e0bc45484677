"""Threads: nn/threads.py."""

import threading
import time

import numpy as np
import pytest

import nn
from autograd import Tensor
from nn.threads import in_threads, thread_count


def test_tasks_run_at_once_and_give_what_they_return():
    barrier = threading.Barrier(min(2, thread_count()), timeout=30)
    tasks = [lambda n=n: (barrier.wait(), n, threading.get_ident()) for n in range(barrier.parties)]
    results = in_threads(tasks)
    assert [n for _, n, _ in results] == list(range(barrier.parties))
    assert results[0][2] == threading.get_ident()
    assert len({ident for _, _, ident in results}) == barrier.parties
    assert in_threads([lambda: 7]) == [7]


@pytest.mark.parametrize("wrong", [0, 1])
def test_an_error_is_raised_when_all_have_ended(wrong):
    ended = []

    def task(n):
        if n == wrong:
            raise ValueError(f"task {n}")
        time.sleep(0.05)
        ended.append(n)

    with pytest.raises(ValueError, match=f"task {wrong}"):
        in_threads([lambda: task(0), lambda: task(1)])
    assert ended == [1 - wrong]


def test_matrix_products_have_one_thread_meanwhile():
    controller = nn.threads._controller()
    threads = lambda: [library["num_threads"] for library in controller.info()]  # noqa: E731
    before = threads()
    inside = in_threads([threads, threads])[0]
    assert set(inside) <= {1} and threads() == before
    assert in_threads([threads])[0] == before


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_an_optimizer_does_the_same_in_any_number_of_threads(monkeypatch, threads):
    monkeypatch.setattr(nn.optim, "thread_count", lambda: threads)
    results = []
    for block in (7, 1000):
        monkeypatch.setattr(nn.optim, "_BLOCK", block)
        p = Tensor(np.linspace(-1, 1, 50).reshape(10, 5), requires_grad=True)
        optimizer = nn.AdamW([p])
        for n in range(3):
            p.grad = np.sin(n + p.data)
            optimizer.step()
        results.append(p.data)
    np.testing.assert_array_equal(*results)
