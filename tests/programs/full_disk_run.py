"""Go on with the run argv[1] on a disk that is full after 8,000 bytes: run by test_training.py."""

import resource
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import tinygpt

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))
tinygpt.main(["train", "--out-dir", sys.argv[1], "--resume", "--max-iters", "20"])
