"""docs/numpy.md lists what each of NumPy's functions is on Tensors: made by this file, and true.

To make it anew: python tests/test_numpy.py > docs/numpy.md
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent.parent)]

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import autograd  # noqa: F401  # fills the tables
from autograd.dispatch import CONSTANT, implementations, name_of

PAGE = Path(__file__).parent.parent / "docs" / "numpy.md"
KINDS = {
    "op": "Ops, each with a derivative of its own:",
    "by others": "Made of other functions, which are recorded:",
    "constant": "Constant almost everywhere: they see the array and give what NumPy gives, without "
    "a graph:",
    "no numbers": "Functions of integers, bits, dates or text, which have no derivative. They run "
    "on Tensors that require no gradients, and on all of them inside `no_grad()`:",
    "refused": "Refused where a graph would be lost; they run where there is none, as those above:",
}
HEAD = """# NumPy's functions on Tensors

What NumPy's functions do with a Tensor that requires gradients, under NumPy's own names and
`np.linalg`'s. This page is made by `python tests/test_numpy.py`, from the tables of the engine,
with NumPy {version}; the tests compare it with them.

An option that a function does not have here is refused by name. So are `out=`, and functions that
write into their argument, such as `np.copyto`. All of `np.fft` and `np.emath` is refused: complex
numbers have no gradients here. A function that is missing can be
[added](../README.md#adding-an-op), as an op or, if it is made of other functions, takes a list, or
gives several results, with `autograd.implements`.
"""


def functions():
    """NumPy's functions that hand calls over to Tensors, by how they are written."""
    found = {}
    for module in (np, np.linalg):
        for name in sorted(dir(module)):
            function = getattr(module, name)
            handed_over = isinstance(function, np.ufunc) or hasattr(function, "_implementation")
            if handed_over and not name.startswith("_") and function not in found.values():
                found[name_of(function)] = function
    return {**found, name_of(sliding_window_view): sliding_window_view}


def kind_of(function):
    found = implementations.get(function) or implementations.get(name_of(function))
    if found:
        return "op" if hasattr(found, "traceable") else "by others"
    if function in CONSTANT:
        return "constant"
    of_numbers = not isinstance(function, np.ufunc) or any("d" in kind for kind in function.types)
    return "refused" if of_numbers and function.__name__ not in NO_NUMBERS else "no numbers"


NO_NUMBERS = {"packbits", "unpackbits", "busday_count", "busday_offset", "is_busday",
              "datetime_as_string", "unravel_index", "ravel_multi_index"}  # fmt: skip


def page():
    lines = [HEAD.format(version=np.__version__)]
    for kind, words in KINDS.items():
        names = sorted(name for name, function in functions().items() if kind_of(function) == kind)
        lines += [words, "", ", ".join(f"`{name}`" for name in names) + ".", ""]
    return "\n".join(lines).rstrip() + "\n"


def listed():
    """{name: kind} of the page."""
    text = PAGE.read_text("utf-8").split("\n")
    rows = [(line, text[i + 2]) for i, line in enumerate(text) if line in KINDS.values()]
    kinds = {words: kind for kind, words in KINDS.items()}
    return {name.strip("` ."): kinds[words] for words, names in rows for name in names.split(", ")}


def test_the_page_is_true():
    """Of the functions that this NumPy has: other versions have more or fewer."""
    now = {name: kind_of(function) for name, function in functions().items()}
    on_page = listed()
    assert {name: kind for name, kind in on_page.items() if name in now} == {
        name: kind for name, kind in now.items() if name in on_page
    }
    assert len(now.keys() & on_page.keys()) > 300


if __name__ == "__main__":
    print(page(), end="")
