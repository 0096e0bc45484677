"""A picture of a graph: to_dot gives the text that Graphviz draws."""

from __future__ import annotations

from .tensor import Tensor

__all__ = ["to_dot"]


def to_dot(output: Tensor, names: dict[str, Tensor] | None = None) -> str:
    """The graph that computed `output`, as DOT text: ops in ovals, the arrays they used in boxes.

    `names` says what to call some of the Tensors. `dot -Tsvg` of Graphviz draws it. Raises
    ValueError if nothing was recorded.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> print(to_dot((2 * x).sum(), {"x": x}))
    digraph {
      rankdir=LR
      t0 [label="sum ()"]
      t1 [label="multiply (2,)"]
      t1 -> t0
      t2 [label="2" shape=plain]
      t2 -> t1
      t3 [label="x (2,)" shape=box]
      t3 -> t1
    }
    """
    if not output._args:
        raise ValueError(
            "to_dot: this Tensor has no graph: compute it from a Tensor with requires_grad=True, "
            "and draw it before backward()"
        )
    called = {id(tensor): name for name, tensor in (names or {}).items()}
    numbers, waiting = {id(output): 0}, [output]
    lines = [f"t0 [{_label(output, called)}]"]
    while waiting:
        node = waiting.pop()
        for x in node._args if type(node) is Tensor else ():
            if id(x) not in numbers:
                numbers[id(x)] = len(numbers)
                lines.append(f"t{numbers[id(x)]} [{_label(x, called)}]")
                waiting.append(x)
            lines.append(f"t{numbers[id(x)]} -> t{numbers[id(node)]}")
    return "\n".join(["digraph {", "  rankdir=LR", *(f"  {line}" for line in lines), "}"])


def _label(x, called):
    """The attributes of a node of the picture: its text, and the shape of its frame."""
    name = called.get(id(x))
    if type(x) is Tensor and not x.is_leaf:
        made = f"{x._op.__name__} {x.shape}"
        return f'label="{name + " = " if name else ""}{made}"'
    if type(x) is Tensor:
        kind = name or ("leaf" if x.requires_grad else "constant")
        return f'label="{kind} {x.shape}" shape=box'
    shape = getattr(x, "shape", None)
    text = f"constant {shape}" if shape else str(x)
    return 'label="{}" shape=plain'.format(text.replace('"', "'"))
