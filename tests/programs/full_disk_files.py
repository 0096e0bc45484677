"""Write files into the directory argv[1] on a disk that is full: run by test_files.py."""

import resource
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from nn.files import save_arrays, write_json

directory = Path(sys.argv[1])
save_arrays(directory / "arrays", {"x": np.zeros(9)})
write_json(directory / "json", {"x": 0})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
for name, write in (
    ("arrays", lambda path: save_arrays(path, {"x": np.ones(99999)})),
    ("json", lambda path: write_json(path, {"x": "long " * 9999})),
):
    try:
        write(directory / name)
    except OSError as error:
        print(error)
