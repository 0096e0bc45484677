"""Exercises of page 5 of the tour, docs/tour/05-matrix-products.md.

Fill in, or mend, the functions. Then run, in the folder of the project:
python -m docs.tour.exercises 5
"""

import numpy as np

from docs.tour.exercises.pages import from_page

Value = from_page(5, "Value")  # the class of page 5
del Value.__matmul__  # but without the matrix product, which you write


def matmul(x, y):
    """The matrix product of two Values, in one step: its `step` is "@", its
    parents (x, y).

    x.data has the shape (n, k), y.data (k, m), and the result (n, m). `vjps`
    are two functions of g, an array of the shape (n, m). The first returns the
    gradient of x, of the shape (n, k), the second the gradient of y, of the
    shape (k, m). For NumPy arrays, use @ as always.

    Example: matmul(Value([[1.0, 2.0]]), Value([[3.0], [4.0]])).data is [[11]].
    """
    raise NotImplementedError("matmul")


def relu(x):
    """max(x, 0) for each entry of a Value, in one step: its `step` is "relu",
    its parents (x,).

    Above 0 its slope is 1, below 0 it is 0. Entries that are 0 do not occur.

    Example: relu(Value([-2.0, 3.0])).data is [0, 3].
    """
    raise NotImplementedError("relu")


def fit_better():
    """Three numbers (hidden, rate, times) with which a network comes to a loss
    below 0.012.

    It is the network of page 5 with `hidden` hidden numbers. Gradient descent
    takes `times` steps with this rate. The points lie on a faster wave than on
    the page, sin(3 x). `hidden` may be at most 64 and `times` at most 2000.
    The network begins with the same random numbers each time. The numbers of
    page 5, (16, 0.1, 2000), lead to about 0.018. Training takes a second or
    two.

    Example of the form: return 16, 0.1, 2000
    """
    raise NotImplementedError("fit_better")


if __name__ == "__main__":
    # python exercise_05.py runs this: try your functions here
    x = Value(np.array([[1.0, 2.0]]))
    print(x.tanh().data)
