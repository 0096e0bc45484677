"""Exercises of page 3 of the tour, docs/tour/03-is-it-right.md.

Fill in, or mend, the functions. Then run, in the folder of the project:
python -m docs.tour.exercises 3
"""

import math

from docs.tour.exercises.pages import from_page

Value, check = from_page(3, "Value", "check")  # as they stand on page 3


def sine(x):
    """The sine of a Value, in one step: `data` is the sine of its number,
    `step` is "sin".

    Its parents are (x,) and its slopes a tuple with one number. `math.sin` and
    `math.cos` take an ordinary number.

    Example: sine(Value(0.0)).data is 0.0. check(sine, 0.7) prints nothing if
    the slope is right.
    """
    raise NotImplementedError("sine")


def logistic(x):
    s = 1 / (1 + math.exp(-x.data))
    return Value(s, (x,), "logistic", (s * (1 - s),))


def hypotenuse(x, y):
    r = math.sqrt(x.data**2 + y.data**2)
    return Value(r, (x, y), "hypotenuse", (x.data / r, y.data / r))


def power(x, y):
    p = x.data**y.data
    return Value(p, (x, y), "power", (y.data * x.data ** (y.data - 1), p * math.log(y.data)))


def which_is_wrong():
    """One slope of the three steps above is wrong: the name of its step, and
    for which input.

    Return two things: "logistic", "hypotenuse" or "power", and 0 for the first
    input or 1 for the second. Let `check` find it: check(power, 2.0, 2.0).
    Numbers must be above 0 for `power`.

    Example of the form: return "logistic", 0
    """
    raise NotImplementedError("which_is_wrong")


def wrong_cube(x):
    """The cube of a Value with a wrong slope: the one of the square."""
    return Value(x.data**3, (x,), "cube", (2 * x.data,))


def passes_by_accident():
    """A number x, other than 0, for which check(wrong_cube, x) passes although
    the slope is wrong.

    Think of what the right slope is, and for which x both slopes are the same
    number.

    Example of the form: return 1.5
    """
    raise NotImplementedError("passes_by_accident")


if __name__ == "__main__":
    # python exercise_03.py runs this: try your functions here
    check(power, 2.0, 2.0)
    print("power passes the check at 2.0 and 2.0")
