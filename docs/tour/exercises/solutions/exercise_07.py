"""Exercises of page 7 of the tour, docs/tour/07-attention.md.

With answers. Others may be right, too: the judge asks what a function does,
not how. Questions: in the folder beside this one, or by
python -m docs.tour.exercises 7
"""

import math

import numpy as np

from autograd import Tensor, softmax


def both_ways(x, queries, keys, values):
    """Attention in which each position looks at all positions, also at later
    ones.

    x is a Tensor (T, C), the others are Tensors (C, C). Return a Tensor (T,
    C): as `attention` on page 7 it divides the scores by the square root of C,
    but it has no mask. It returns the mixed values only, not the weights.

    Example: if `queries` is all 0, each row of the result is the mean of the
    rows of x @ values.
    """
    q, k, v = x @ queries, x @ keys, x @ values  # (T, C) each
    return softmax(q @ k.T / math.sqrt(x.shape[1])) @ v


def leak(x, queries, keys, values):
    """Causal attention: no position sees a later one.

    x is a Tensor (T, C), the others are Tensors (C, C), the result is a Tensor
    (T, C).

    The mask below gives the weight 0 to later positions. Yet the result at a
    position changes when a later one changes. Find out how it learns of them,
    and mend it: the result is to be that of `attention` on page 7.
    """
    q, k, v = x @ queries, x @ keys, x @ values  # (T, C) each
    scores = q @ k.T / math.sqrt(x.shape[1])  # (T, T)
    future = np.triu(np.ones(scores.shape, bool), 1)  # True right of the diagonal
    weights = softmax(np.where(future, -np.inf, scores))  # masked before: no sum over later words
    return weights @ v


if __name__ == "__main__":
    # python exercise_07.py runs this: try your functions here
    rng = np.random.default_rng(0)
    x, *matrices = (Tensor(rng.standard_normal(shape)) for shape in [(3, 2), *[(2, 2)] * 3])
    print("before", leak(x, *matrices).data[0])
    x.data[2] = 0.0
    print("after ", leak(x, *matrices).data[0])
