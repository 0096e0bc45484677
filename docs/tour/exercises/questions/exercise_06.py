"""Exercises of page 6 of the tour, docs/tour/06-cross-entropy.md.

Fill in, or mend, the functions. Then run, in the folder of the project:
python -m docs.tour.exercises 6
"""

import numpy as np

from autograd import check_gradients, op


@op  # makes an op of a function of arrays; see `cross_entropy` on page 6
def own_softmax(x, axis=-1):
    """Softmax along an axis: e to the power of each entry, divided by the sum
    of these.

    x is an array of any shape, `axis` one of its axes, also counted from the
    end. Return two things: the value, of the shape of x, and a tuple with one
    function of g, the gradient of x. Large entries such as 1000 must not
    overflow. Use operators, methods and functions of NumPy.

    Example: own_softmax([0.0, 0.0]).data is [0.5, 0.5].
    """
    raise NotImplementedError("own_softmax")


def smallest_loss(counts):
    """The loss, in nats, below which no table of probabilities can go for
    these pairs: a number.

    counts[a, b], of the shape (rows, columns), says how many pairs consist of
    a and, after it, b. The loss is the mean over all pairs of -log p, where p
    is the probability of b in the row of a. Each row may have other
    probabilities. The best ones are found by counting. A pair that never
    occurs costs nothing; some rows may be empty, but not all.

    Example: smallest_loss(np.array([[2, 2], [0, 4]])) is log(2) / 2 = 0.3466:
    four of the eight pairs cost log(2) each, the others nothing.
    """
    raise NotImplementedError("smallest_loss")


if __name__ == "__main__":
    # python exercise_06.py runs this: try your functions here
    check_gradients(own_softmax, np.array([[0.1, -0.7, 0.4], [1.2, 0.3, -0.5]]))
