"""Lock the directory argv[1], and write a file in it until standard input ends."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from nn.files import locked, write_atomically

directory = Path(sys.argv[1])


def write(name):
    Path(name).write_text("half")
    print("writing", flush=True)
    sys.stdin.read()


with locked(directory):
    write_atomically(directory / "file", write)
