"""The program without its pictures, and process 1 may break in iteration 6: run by test_team.py."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import nn.run.directory
import tinygpt
from nn.run.crew import Crew

what, step = sys.argv.pop(1), Crew.gradients
nn.run.directory.plot_losses = lambda *_: ""  # which take longer than the training

def broken(crew, *arguments):
    begin = arguments[-1]  # not a trial
    if what != "nothing" and begin and crew.rng_of.__self__.iteration == 5 and crew.team.rank == 1:
        if what == "signal":
            signal.raise_signal(signal.SIGTERM)
        elif what == "spoil":
            crew.vectors[0].data.reshape(-1)[3] += 1
        elif what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            raise {"bug": KeyError, "memory": MemoryError}[what]("oh dear")
    return step(crew, *arguments)

Crew.gradients = broken
tinygpt.main()
