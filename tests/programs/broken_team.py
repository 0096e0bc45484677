"""The program, but process 1 breaks in iteration 6: run by test_team.py."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import tinygpt
from tinygpt import Training

what, step = sys.argv.pop(1), Training._backward

def broken(training, *arguments):
    begin = arguments[-1]  # not a trial
    if begin and training.iteration == 5 and training.team.rank == 1:
        if what == "signal":
            signal.raise_signal(signal.SIGTERM)
        elif what == "spoil":
            training.vectors[0].data.reshape(-1)[3] += 1
        elif what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            raise {"bug": KeyError, "memory": MemoryError}[what]("oh dear")
    return step(training, *arguments)

Training._backward = broken
tinygpt.main()
