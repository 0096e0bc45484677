"""Exercises of page 9 of the tour, docs/tour/09-training.md.

Fill in, or mend, the functions. Then run, in the folder of the project:
python -m docs.tour.exercises 9
"""

import numpy as np


def adam_step(p, g, m, s, rate, step):
    """One step of Adam, as on page 9, for one array: the new p, m and s, three
    arrays.

    p holds the parameters, g their gradients, m the mean of the last
    gradients, s the mean of their squares; all have the same shape. `step` is
    1 for the first step. The mean of the gradients moves by 0.1 of the way,
    the mean of the squares by 0.01, and 1e-8 is added to the root. Do not
    change the arrays that were given; return new ones.

    Example: adam_step of p = [1.0], g = [2.0], m = [0.0], s = [0.0], rate 0.5
    and step 1 returns about [0.5], [0.2] and [0.04]: the first step is as long
    as the rate, whatever the gradient.
    """
    raise NotImplementedError("adam_step")


def floor_of(sentences):
    """The floor of the loss for a list of sentences, in nats for each token: a
    number.

    Each sentence is a string of words with blanks between them. It begins with
    <START>, which is given, and ends with <END>, which must be predicted as
    the words are. As on page 9, the best model knows how often each token
    follows each beginning. A sentence may occur several times, and one
    sentence may be the beginning of another.

    Example: floor_of(["a b", "a c"]) is 2 * log(2) / 6 = 0.2310. Each sentence
    has 3 tokens to predict, and only the second word is not certain.
    """
    raise NotImplementedError("floor_of")


if __name__ == "__main__":
    # python exercise_09.py runs this: try your functions here
    one, zero = np.ones(1), np.zeros(1)
    print(adam_step(one, 2 * one, zero, zero, 0.5, 1))
