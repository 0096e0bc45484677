"""Exercises of page 8 of the tour, docs/tour/08-gpt.md.

Fill in, or mend, the functions. Then run, in the folder of the project:
python -m docs.tour.exercises 8
"""

import numpy as np

from autograd import Tensor


def layer_norm(x, weight, bias, eps=1e-5):
    """Shift and scale the last axis of x to the mean 0 and the standard
    deviation 1.

    x is a Tensor (..., C) with one axis or more, `weight` and `bias` are
    Tensors (C,). Each row of C numbers is treated by itself: subtract the mean
    of the row, and divide by the square root of (the mean of the squares of
    these differences, plus eps). Then multiply by weight and add bias.

    Write it with Tensors, such as x.mean(axis=..., keepdims=True) and np.sqrt;
    then the engine finds the gradients. Do not use the layer_norm or LayerNorm
    that exist already.

    Example: for the row [1, 3], the weight [1, 1] and the bias [0, 0] it is
    nearly [-1, 1].
    """
    raise NotImplementedError("layer_norm")


def count_parameters(V, C, H, d_ff, layers, longest):
    """How many numbers a GPT of page 8 learns, from its sizes: a whole number.

    The arguments are those of the class `GPT` on page 8: V tokens in the
    vocabulary, C numbers for each, H heads, d_ff hidden numbers of the
    feed-forward network, the number of blocks, and the longest text. Not all
    of them matter. nn.Linear has a weight and a bias, and so has nn.LayerNorm.
    Compute the number, do not build the model.

    Example: count_parameters(18, 64, 4, 128, 2, 16) is 68096.
    """
    raise NotImplementedError("count_parameters")


if __name__ == "__main__":
    # python exercise_08.py runs this: try your functions here
    x = Tensor(np.array([[1.0, 3.0], [5.0, 5.0]]))
    print(layer_norm(x, Tensor(np.ones(2)), Tensor(np.zeros(2))).data)
