"""Threads: nn/threads.py."""

import os
import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest

import nn
import tinygpt
from autograd import Tensor, detect_anomaly, grad, in_this_mode, no_grad
from nn.threads import for_each, in_task, in_threads, thread_count


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


@pytest.fixture
def unknown_blas(monkeypatch):
    """NumPy with a BLAS that threadpoolctl does not know, on four cores."""
    nothing = nn.threads._controller().select(user_api="none of this name")
    monkeypatch.setattr(nn.threads, "_controller", lambda: nothing)
    monkeypatch.setattr(nn.threads, "_cores", lambda: 4)
    for name in (*nn.threads.BLAS_VARIABLES, "TINYGPT_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("variables, threads", [
    ({}, 4), ({"OPENBLAS_NUM_THREADS": "1"}, 1), ({"OMP_NUM_THREADS": "3,2"}, 3),
    ({"MKL_NUM_THREADS": "", "VECLIB_MAXIMUM_THREADS": "2"}, 2), ({"OMP_NUM_THREADS": "0"}, 4),
    ({"OMP_NUM_THREADS": "1", "TINYGPT_NUM_THREADS": "5"}, 5),
])  # fmt: skip
def test_threads_beside_an_unknown_blas(unknown_blas, monkeypatch, variables, threads):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert thread_count.__wrapped__() == threads
    assert in_threads([lambda: 1, lambda: 2]) == [1, 2]


def test_the_number_of_threads_can_be_set(monkeypatch):
    monkeypatch.setenv("TINYGPT_NUM_THREADS", "7")
    assert thread_count.__wrapped__() == 7
    for wrong in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("TINYGPT_NUM_THREADS", wrong)
        with pytest.raises(ValueError, match=f"TINYGPT_NUM_THREADS must be .* got '{wrong}'"):
            thread_count.__wrapped__()


def test_cores_of_a_process_and_of_a_container(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 4}, raising=False)
    read = {"text": "max 100000"}
    monkeypatch.setattr(nn.threads.Path, "read_text", lambda path: read["text"])
    assert nn.threads._cores() == 3
    for read["text"], cores in (("200000 100000", 2), ("50000 100000", 1), ("900000 100000", 3)):
        assert nn.threads._cores() == cores
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert nn.threads._cores() == 1


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


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_for_each_does_each_block_once(monkeypatch, threads, n):
    monkeypatch.setattr(nn.threads, "thread_count", lambda: threads)
    done, inside = [], []

    def work(block):
        done.append(block)
        inside.append(in_task())

    for_each(work, range(n))
    assert sorted(done) == list(range(n)) and not in_task()
    assert inside == [threads > 1 and n > 1] * n


def test_tasks_inside_a_task_run_in_its_thread(monkeypatch):
    monkeypatch.setattr(nn.threads, "thread_count", lambda: 4)

    def task():
        idents = []
        for_each(lambda _: idents.append(threading.get_ident()), range(9))
        return {threading.get_ident(), *idents, *in_threads([threading.get_ident] * 3)}

    assert [len(idents) for idents in in_threads([task, task])] == [1, 1]


def test_tasks_have_the_settings_of_their_caller():
    with np.errstate(over="raise"):
        assert in_threads([lambda: np.geterr()["over"]] * 2) == ["raise", "raise"]


def batch(V=11, B=6, T=8):
    ids = np.random.default_rng(1).integers(0, V, (B, T + 1))
    targets = np.where(np.random.default_rng(2).random((B, T)) < 0.4, -100, ids[:, 1:])
    targets[3] = -100
    return ids[:, :-1], targets


def gpt(**options):
    config = tinygpt.GPTConfig(11, block_size=8, n_layer=2, n_head=2, n_embd=8, **options)
    return tinygpt.TinyGPT(config, np.random.default_rng(0)).to(np.float64)


@pytest.fixture
def shared(monkeypatch):
    """Batches of 16 tokens and more are shared; the calls of the loss, as numbers of sequences."""
    monkeypatch.setattr(nn.threads, "thread_count", lambda: 3)
    monkeypatch.setattr(nn.threads, "_THREAD_TOKENS", 16)
    calls, original = [], tinygpt.linear_cross_entropy
    monkeypatch.setattr(
        tinygpt, "linear_cross_entropy",
        lambda x, *rest: calls.append(len(x)) or original(x, *rest),
    )  # fmt: skip
    return calls


def test_a_shared_batch_has_the_loss_and_the_gradients_of_all(shared):
    model, (ids, targets) = gpt(), batch()
    parameters = model.parameters()
    whole = in_threads([lambda: model.loss(ids, targets)])[0]
    alone = in_threads([lambda: model.loss(ids, targets), int])[0]  # in a task
    assert shared == [2, 2, 2, 6] and alone.item() == pytest.approx(whole.item(), rel=1e-13)
    expected = grad(alone, parameters, np.array(0.3))
    for _ in range(2):
        loss = model.loss(ids, targets)
        loss.backward(np.array(0.3))
        for n, p in zip(expected, parameters, strict=True):
            np.testing.assert_allclose(p.grad, n.data, rtol=1e-10, atol=1e-15)
        for p in parameters:
            p.grad = None
    with pytest.raises(ValueError, match="used already"):
        loss.backward()
    loss = model.loss(ids, targets)
    traced = grad(loss, parameters, np.array(0.3), create_graph=True)
    for n, p in zip(expected, traced, strict=True):
        np.testing.assert_allclose(p.data, n.data, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_loss_of_a_shared_batch_keeps_the_dtype(shared, dtype):
    assert gpt().to(dtype).loss(*batch()).dtype == dtype and shared == [2, 2, 2]


def test_the_same_batch_gives_the_same_bits_again(shared):
    model, (ids, targets) = gpt(), batch()
    runs = []
    for _ in range(3):
        loss = model.loss(ids, targets)
        runs.append([loss.data, *(g.data for g in grad(loss, model.parameters()))])
    for a, b, c in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_when_a_batch_is_not_shared(shared):
    (ids, targets), model = batch(), gpt()
    model.loss(ids[0], targets[0])
    model.loss(ids[:3, :5], targets[:3, :5])
    with no_grad():
        model.loss(ids, targets)
    model.eval().loss(ids, targets)
    gpt(dropout=0.1).loss(ids, targets)
    for p in (model := gpt()).parameters():
        p.requires_grad = False
    model.loss(ids, targets)
    model = gpt()
    scale = Tensor(1.0, requires_grad=True)
    model.norm.weight = scale * model.norm.weight  # computed: its gradient goes on to scale
    model.loss(ids, targets).backward()
    assert shared == [8, 3, 6, 6, 6, 6, 6] and scale.grad is not None
    model = gpt()
    model.kept = {"scales": [scale * 2.0]}  # computed, too
    model.loss(ids, targets)
    assert shared == [8, 3, 6, 6, 6, 6, 6, 6]
    with pytest.raises(ValueError, match=r"logits of shape \(6, 8, 11\) need integer targets"):
        gpt().loss(ids, targets[:, 1:])
    with pytest.raises(IndexError, match="embedding: ids go from"):
        gpt().loss(ids + 9, targets)


def test_threads_are_inside_no_grad_and_detect_anomaly():
    x = Tensor([1.0, 0.0], requires_grad=True)
    tasks = [lambda: (2 * x).requires_grad] * 2
    with no_grad():
        assert in_threads(tasks) == [False, False]
    assert in_threads(tasks) == [True, True]
    with (
        pytest.raises(FloatingPointError, match=r"log made -inf at \[1\].*line \d+: lambda: x.log"),
        np.errstate(divide="ignore"),
        detect_anomaly(),
    ):
        in_threads([
            lambda: x,
            lambda: x.log(),
        ])  # fmt: skip
    with np.errstate(divide="ignore"):
        assert in_threads([lambda: x, lambda: x.log().size])[1] == 2  # not watched any more


def test_a_function_keeps_its_mode_in_another_thread():
    x, seen = Tensor(1.0, requires_grad=True), []
    with no_grad():
        function = in_this_mode(lambda y: seen.append((x * y).requires_grad))
    for target in (function, lambda y: seen.append((x * y).requires_grad)):
        thread = threading.Thread(target=target, args=(2.0,))
        thread.start()
        thread.join()
    function(3.0)
    assert seen == [False, True, False] and (x * 1).requires_grad

    def fails():
        raise KeyError

    with no_grad():
        failing = in_this_mode(fails)
    with pytest.raises(KeyError):
        failing()
    assert (x * 1).requires_grad
