"""The program, but process 1 breaks in iteration 6: run by test_team.py."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import tinygpt
from nn.run.crew import Crew

what, step = sys.argv.pop(1), Crew.gradients

def broken(crew, *arguments):
    begin = arguments[-1]  # not a trial
    if begin and crew.rng_of.__self__.iteration == 5 and crew.team.rank == 1:
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
