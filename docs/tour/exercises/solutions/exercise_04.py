"""Exercises of page 4 of the tour, docs/tour/04-arrays.md.

With answers. Others may be right, too: the judge asks what a function does,
not how. Questions: in the folder beside this one, or by
python -m docs.tour.exercises 4
"""

import numpy as np

from docs.tour.exercises.pages import from_page

Value = from_page(4, "Value")  # the class, as it stands on page 4


def sum_to(g, shape):
    """The array g added up over what broadcasting has repeated, so that it
    gets this shape.

    g is a NumPy array, and an array of the shape `shape` can be broadcast to
    the shape of g: either its axes in front are missing, or some axes have the
    length 1 in it, or both, or none.

    Examples, for the g of ones with the shape (2, 3): sum_to(g, (3,)) is [2,
    2, 2]; sum_to(g, (2, 1)) is [[3], [3]]; sum_to(g, ()) is 6.
    """
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)


def mean(x):
    """The mean of all entries of a Value, in one step: its `step` is "mean",
    its parents (x,).

    x.data may have any shape; the data of the result is a single number, of
    the shape (). `vjps` is a tuple with one function. It takes the gradient g
    of the result, one number, and returns the gradient of x: an array of the
    shape of x.data.

    Example: mean(Value([[1.0, 2.0], [3.0, 6.0]])).data is 3.0.
    """
    vjps = (lambda g: g * np.ones(x.data.shape) / x.data.size,)
    return Value(x.data.mean(), (x,), "mean", vjps)


def maximum(x, y):
    """The larger of two Values, entry by entry, in one step: its `step` is
    "maximum".

    Its parents are (x, y), and `vjps` are two functions, for x and for y. The
    shapes of x and y may differ; NumPy broadcasts them, and the engine adds up
    what was repeated. Equal entries do not occur: do not care for them.

    Example: maximum(Value([1.0, 5.0]), Value([3.0, 2.0])).data is [3, 5].
    """
    larger = x.data > y.data
    vjps = (lambda g: g * larger, lambda g: g * ~larger)
    return Value(np.maximum(x.data, y.data), (x, y), "maximum", vjps)


if __name__ == "__main__":
    # python exercise_04.py runs this: try your functions here
    x, y = Value(np.ones((2, 3))), Value([1.0, 2.0, 3.0])
    (x * y).backward()
    print(y.grad)
