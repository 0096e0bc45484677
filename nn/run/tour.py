"""What `python tinygpt.py --tour` says between the lines of the example, and where to read more."""

from __future__ import annotations

__all__ = ["tell"]

# By the words that a line begins with. The numbers are those of the pages in docs/tour/.
_NOTES = {
    "Vocabulary:": """\
A model computes with numbers. So each word of five sentences gets one, its
token; <START> and <END> mark where a sentence begins and ends. [page 6]""",
    "Model:": """\
Each token becomes 64 numbers. In each layer a word looks back at the words
before it (attention, with 4 heads), then passes a small network. From what
comes out, each next word gets a probability. [pages 7 and 8]
Now 300 times: how surprised is the model by the next words, on average?
This is the loss. One walk backwards through the computation says how it
changes with each parameter; each moves a little. [pages 1-2, 4-5, 9]""",
    "Loss curve:": """\
The tests compare all gradients with finite differences. [page 3]
Next the model writes: it draws a word, puts it at the end, and asks itself
again, until it draws <END>. [page 10]""",
    "\nAverage loss": """\
Nobody can know which sentence comes. So no model gets below 0.2235, the
entropy of these sentences; e to the power of the loss, the perplexity,
says among how many words the model hesitates. [page 9]
The pages are those of docs/tour/README.md, which have exercises, too.""",
}


def tell(line: str) -> None:
    """Print a line of the example, and what happens there and why.

    >>> tell("Loss curve: loss.png")
    Loss curve: loss.png
      | The tests compare all gradients with finite differences. [page 3]
      | Next the model writes: it draws a word, puts it at the end, and asks itself
      | again, until it draws <END>. [page 10]
    """
    print(line)
    for start, note in _NOTES.items():
        if line.startswith(start):
            print("\n".join(f"  | {each}" for each in note.splitlines()))
