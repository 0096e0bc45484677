"""Threads: nn/threads.py."""

import os
import threading
import time
from concurrent.futures import Future

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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_process_has_threads_of_its_own():
    in_threads([int, int])
    if not (child := os.fork()):
        os._exit(in_threads([lambda: 3, lambda: 4])[1])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4


def test_ctrl_c_waits_for_all(monkeypatch):
    ended = []

    def slow():
        time.sleep(0.1)
        ended.append(1)

    class Interrupted(Future):
        def exception(self, timeout=None):
            if not ended:
                time.sleep(0.02)
                raise KeyboardInterrupt
            return super().exception(timeout)

    monkeypatch.setattr("concurrent.futures.thread._base.Future", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        in_threads([int, slow])
    assert ended == [1]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_an_optimizer_does_the_same_in_any_number_of_threads(monkeypatch, threads):
    monkeypatch.setattr(nn.threads, "thread_count", lambda: threads)
    results = []
    for block in (7, 1000):
        monkeypatch.setattr(nn.optim, "BLOCK", block)
        p = Tensor(np.linspace(-1, 1, 50).reshape(10, 5), requires_grad=True)
        optimizer = nn.AdamW([p])
        for n in range(3):
            p.grad = np.sin(n + p.data)
            optimizer.step()
        results.append(p.data)
    np.testing.assert_array_equal(*results)
