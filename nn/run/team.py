"""Several processes that train one model together: MPI starts them and moves the numbers.

The process of rank 0 leads. It runs the program as if it were alone: it reads, decides, prints and
writes. When all processes have something to do, it sends a request by `Team.together`. The others
follow: they wait for a request, do the same on their part of the batch, and wait again. They need
no files. The requests are methods of Training, in training.py.

If rank 0 fails between two requests, the others end quietly. If a process fails during a request,
the others would wait for its numbers for ever, so MPI ends all of them.

mpi4py, the extra `mpi`, is imported only where a launcher such as mpiexec started the process.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import pickle
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..threads import BLAS_VARIABLES

__all__ = ["Team", "launch", "started_from", "without_procs", "world"]

_FIRST = 1 << 14  # bytes of the first part of a message, which begins with its length


class Team:
    """The processes of an mpi4py communicator: `size` of them, of which this is number `rank`.

    `here` of them run on this machine. Without a communicator the team is this process alone, and
    its methods send nothing. `with team:` ends all processes of the team when one fails.
    """

    def __init__(self, comm: Any = None):
        self.rank, self.size, self.here = 0, 1, 1
        self.caught: list[int] = []  # signals that this process got; rank 0 is told how many
        self._comm, self._busy = comm, False  # busy: the others may be waiting for numbers
        if comm:
            from mpi4py import MPI

            self._mpi, self.rank, self.size = MPI, comm.rank, comm.size
            self.here = comm.Split_type(MPI.COMM_TYPE_SHARED).size

    def together(self, training: Any, method: str, *arguments: Any) -> Any:
        """On rank 0: call a method of `training`; the others call the same method of theirs."""
        self._busy = True
        self.send((method, arguments))
        result = attrgetter(method)(training)(*arguments)
        self._busy = False
        return result

    def send(self, message: Any) -> None:
        """On rank 0: send a message to the others, which wait for it in `receive`."""
        if self.size == 1:
            return
        before, self._busy = self._busy, True
        data = np.frombuffer(pickle.dumps(message), np.uint8)
        first = np.zeros(_FIRST, np.uint8)
        first[:8] = np.frombuffer(len(data).to_bytes(8, "little"), np.uint8)
        first[8 : 8 + len(data)] = data[: _FIRST - 8]
        self._comm.Ibcast(first).Wait()
        if len(data) > _FIRST - 8:
            self._comm.Bcast(data[_FIRST - 8 :].copy())
        self._busy = before

    def receive(self) -> Any:
        """On the other ranks: the next message of rank 0; None when it is done.

        MPI waits by asking again and again, which takes a whole core. After 2 ms this process
        sleeps between two questions, for a tenth of the time that it has waited, 0.1 s at most.
        """
        first = np.empty(_FIRST, np.uint8)
        ready, started = self._comm.Ibcast(first), time.monotonic()
        while not ready.Test():
            waited = time.monotonic() - started
            time.sleep(min(0.1, waited / 10) if waited > 0.002 else 0)
        size = int.from_bytes(first[:8].tobytes(), "little")
        rest = np.empty(max(0, size - (_FIRST - 8)), np.uint8)
        if rest.size:
            self._comm.Bcast(rest)
        return pickle.loads(first[8 : 8 + size].tobytes() + rest.tobytes())

    def sum(self, array: np.ndarray) -> None:
        """Replace the array of each rank by the sum of the arrays of all ranks."""
        if self.size > 1:
            with _in_order(array) as numbers:
                self._comm.Allreduce(self._mpi.IN_PLACE, numbers)

    def copy(self, array: np.ndarray, root: int = 0) -> None:
        """Copy the array of rank `root` into the arrays of the other ranks."""
        if self.size > 1:
            with _in_order(array) as numbers:
                self._comm.Bcast(numbers, root)

    def exchange(self, arrays: Iterable[np.ndarray]) -> None:
        """Copy array number i from rank i % size to all other ranks."""
        for number, array in enumerate(arrays):
            self.copy(array, number % self.size)

    def gather(self, value: Any) -> list[Any] | None:
        """On rank 0: the values of all ranks. On the others: None."""
        return self._comm.gather(value) if self.size > 1 else [value]

    def __enter__(self) -> Team:
        if self.rank:  # rank 0 decides when to stop
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda number, frame: self.caught.append(number))
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self.size == 1:
            return
        expected = error is None or (not self.rank and isinstance(error, SystemExit))
        if self._busy or not expected:
            self._abort(error)
        if not self.rank:
            self.send(None)
        self._mpi.Finalize()  # or `python -m mpi4py` takes exit code 2 for a crash

    def _abort(self, error):
        """Print the error of this process, then end all processes."""
        try:
            if not isinstance(error, SystemExit):
                traceback.print_exception(error)
            sys.stdout.flush()
            sys.stderr.flush()
            time.sleep(1)  # mpiexec needs time to pass the text on before it ends all
        finally:  # whatever happens: otherwise the others wait for ever
            self._comm.Abort(getattr(error, "code", None) or 1)


@contextlib.contextmanager
def _in_order(array):
    """The array in C order, as MPI needs it; afterwards changes are copied back."""
    numbers = np.asarray(array, order="C")
    yield numbers
    if numbers is not array:
        array[...] = numbers


# ---------------------------------------------------------------- starting

# Variables that launchers set for their processes: MPICH and Intel, Open MPI, Slurm or PMIx.
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
_RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")
_INSTALL = 'pip install -e ".[mpi]" brings both'


def _from_launcher(names):
    return max(int(os.environ.get(name, 0)) for name in names)


def world() -> Team:
    """The processes that a launcher, such as mpiexec, started; without one, this process alone.

    If they cannot work together, the first of them raises ValueError and the others exit with 2.
    """
    size = _from_launcher(_SIZES)
    if size < 2:
        return Team()
    try:
        import mpi4py

        mpi4py.rc.initialize, mpi4py.rc.finalize = False, True
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # no mpi4py, or no library of MPI
        reason = str(error).splitlines()[0]
        _refuse(f"started by mpiexec, this needs mpi4py and an MPI library ({reason}): {_INSTALL}")
    library, environment = MPI.get_vendor()[0], os.environ.keys()
    foreign = "OMPI_COMM_WORLD_SIZE" in environment and "PMI_SIZE" not in environment
    foreign = foreign and library != "Open MPI"  # no other works under its launcher
    if not (foreign or MPI.Is_initialized()):
        MPI.Init_thread()
    if foreign or MPI.COMM_WORLD.size != size:
        _refuse(
            f"the launcher of another MPI than {library}, which mpi4py uses, started these {size} "
            f"processes, which cannot find each other: take {_mpiexec() or 'its own mpiexec'}"
        )
    return Team(MPI.COMM_WORLD)


def _refuse(message) -> NoReturn:
    """Raise ValueError in the first process only, so that it is printed once."""
    if _from_launcher(_RANKS):
        sys.exit(2)
    raise ValueError(message)


def launch(count: int | None, command: Sequence[str]) -> None:
    """Go on as `count` processes of `python command` on this machine, one BLAS thread each.

    mpiexec replaces this process, so that exit code and signals are those of mpiexec. If count is
    1 or None, nothing is started, and the function returns. Raises ValueError if it cannot be done.
    """
    if count is None:
        return
    if count < 1:
        raise ValueError(f"--procs must be at least 1, got {count}")
    if _from_launcher(_SIZES) > 1:
        raise ValueError("--procs starts mpiexec, and mpiexec started this: leave one of them out")
    if count == 1:
        return
    if not importlib.util.find_spec("mpi4py"):
        raise ValueError(f"--procs needs mpi4py and mpiexec, there is no mpi4py: {_INSTALL}")
    if not (mpiexec := _mpiexec()):
        raise ValueError(f"--procs needs mpi4py and mpiexec, there is no mpiexec: {_INSTALL}")
    environment = {**dict.fromkeys(BLAS_VARIABLES, "1"), **os.environ}
    os.execve(mpiexec, [mpiexec, "-n", str(count), sys.executable, *command], environment)


def started_from(file: str) -> str:
    """The path this program was started from: of the console command `tinygpt`, or `file`."""
    return sys.argv[0] if Path(sys.argv[0]).stem == "tinygpt" else file


def without_procs(arguments: Sequence[str] | None) -> list[str]:
    """The arguments of a command line (of sys.argv if None) without the flag --procs."""
    flag = argparse.ArgumentParser(add_help=False)
    flag.add_argument("--procs")
    return flag.parse_known_args(arguments)[1]


def _mpiexec():
    """The mpiexec of this Python's MPI, or else the first one on the PATH."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.exists() else shutil.which("mpiexec")
