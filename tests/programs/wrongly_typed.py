"""What type checkers must refuse: test_types.py expects an error on each line marked so."""

from __future__ import annotations

import autograd as ag


@ag.op
def double(x):
    return 2 * x, (lambda g: 2 * g,)


def mistakes(t: ag.Tensor) -> None:
    t.grad.sum()  # wrong: it may be None
    t.shape.sum()  # wrong
    t.exp().no_such_method()  # wrong
    double(t).no_such_method()  # wrong
    (ag.exp(t) + 1 - -t[0]).no_such_method()  # wrong
    ag.concatenate([t, t]).no_such_method()  # wrong
    ag.split(t, 2).no_such_method()  # wrong
    ag.grad(t, t)[0].no_such_method()  # wrong
