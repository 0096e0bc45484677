"""Exercises of page 10 of the tour, docs/tour/10-writing.md.

With answers. Others may be right, too: the judge asks what a function does,
not how. Questions: in the folder beside this one, or by
python -m docs.tour.exercises 10
"""

import numpy as np

from autograd import check_gradients, op, softmax


def top_k(logits, k):
    """The probabilities to draw the next token from, if only the k likeliest
    ones may be drawn.

    `logits` is a NumPy array (V,) without equal entries. Return a NumPy array
    (V,): softmax among the k largest logits, and 0 for all others. If k is
    larger than V, all may be drawn.

    Example: top_k(np.log([1.0, 5.0, 3.0, 2.0]), 2) is [0, 0.625, 0.375, 0].
    """
    smallest = np.sort(logits)[-min(k, len(logits))]
    e = np.where(logits >= smallest, np.exp(logits - logits.max()), 0.0)
    return e / e.sum()


@op
def softplus(x):
    """log(1 + e to the power of x), for each entry of an array of any shape.

    Return two things: the value and a tuple with one function of g, the
    gradient of x. Neither may become inf or nan: for 1000 the value is 1000
    and the slope is 1; for -1000 both are 0. The value may be written as
    max(x, 0) + log(1 + e to the power of -|x|), where nothing is large.

    Example: softplus([0.0]).data is [0.6931].
    """
    value = np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))
    return value, (lambda g: g / (1 + np.exp(-x)),)


def find_the_fault(candidate):
    """Raise AssertionError unless `candidate` is a right softmax: write your
    own test.

    You are given ops that are called as `softmax` of the engine, candidate(x,
    axis=0). Some are right, some have a wrong value, some a wrong gradient.
    Some are wrong for some axes or shapes only. Call them with arrays of your
    choice. Return nothing if all is right.

    np.testing.assert_allclose compares two arrays and check_gradients checks
    the gradients; both raise AssertionError. The right values are those of
    `softmax`. With hypothesis it would be a property-based test, but a few
    good arrays are enough.
    """
    rng = np.random.default_rng(0)
    for shape in [(3,), (2, 3), (3, 3), (2, 3, 2)]:
        x = rng.standard_normal(shape)
        for axis in range(-len(shape), len(shape)):
            np.testing.assert_allclose(candidate(x, axis=axis).data, softmax(x, axis=axis).data)
            check_gradients(lambda x, axis=axis: candidate(x, axis=axis), x)


if __name__ == "__main__":
    # python exercise_10.py runs this: try your functions here
    check_gradients(softplus, np.array([-1.0, 0.3, 2.0]))
    find_the_fault(softmax)
