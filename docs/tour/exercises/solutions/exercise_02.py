"""Exercises of page 2 of the tour, docs/tour/02-chain-rule.md.

With answers. Others may be right, too: the judge asks what a function does,
not how. Questions: in the folder beside this one, or by
python -m docs.tour.exercises 2
"""

from docs.tour.exercises.pages import from_page

Value = from_page(2, "Value")  # the class, as it stands on page 2


def divide(x, y):
    """The quotient x / y of two Values, in one step: a Value with the right
    slopes.

    Its `data` is the first number divided by the second, its `parents` are x
    and y, in this order, its `step` is "/", and its `slopes` are two numbers:
    the slope of x / y if x grows, and the slope of x / y if y grows.

    Example: divide(Value(6.0), Value(3.0)).data is 2.0.
    """
    return Value(x.data / y.data, (x, y), "/", (1 / y.data, -x.data / y.data**2))


def broken_backward(result):
    """Set `grad` of each Value that `result` was made from to the gradient of
    `result`.

    All these Values have `grad` 0.0 and a `serial` before. The function
    returns nothing.

    This walk has two faults. For x * x + x and x = 3 it gives x the gradient 3
    in place of 7. When this is mended, try y = x * x and y * x + y. Write the
    walk so that it is always right, and quick, too, where very many ways lead
    to a Value.
    """
    found, todo = {result}, [result]
    while todo:
        new = set(todo.pop().parents) - found
        found, todo = found | new, [*todo, *new]
    result.grad = 1.0
    for value in sorted(found, key=lambda value: value.serial, reverse=True):  # fault 2: too early
        for parent, slope in zip(value.parents, value.slopes, strict=True):
            parent.grad += value.grad * slope  # fault 1: it was overwritten


if __name__ == "__main__":
    # python exercise_02.py runs this: try your functions here
    x = Value(3.0)
    broken_backward(x * x + x)
    print(x.grad, "and it should be 7.0")
