"""Exercises of page 1 of the tour, docs/tour/01-a-number.md.

Fill in, or mend, the functions. Then run, in the folder of the project:
python -m docs.tour.exercises 1
"""

from docs.tour.exercises.pages import from_page

Value = from_page(1, "Value")  # the class, as it stands on page 1


def subtract(x, y):
    """The difference x - y of two Values: a Value that remembers how it was
    made.

    Its `data` is the first number minus the second. Its `parents` are x and y,
    in this order, and its `step` is "-". It is made in one step, as the sum is
    in `Value.__add__`.

    Example: subtract(Value(5.0), Value(3.0)).data is 2.0.
    """
    raise NotImplementedError("subtract")


def count_values(result):
    """How many different Values had a part in `result`: a whole number.

    Count `result` itself, its parents, their parents and so on. A Value that
    was used several times is one Value. Two Values that happen to hold the
    same number are two Values.

    Examples: it is 1 for Value(2.0); for x * x * x it is 3, namely x, x * x
    and the result.
    """
    raise NotImplementedError("count_values")


if __name__ == "__main__":
    # python exercise_01.py runs this: try your functions here
    x = Value(3.0)
    print((x * x * x).data)
