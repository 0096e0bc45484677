"""The command line: flags made from dataclasses, errors in one line, and Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shlex
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, get_args, get_type_hints

import numpy as np

import autograd

from ..config import choices
from ..sampling import Sampling
from .team import started_from
from .tokenizers import TOKENIZERS
from .tour import tell
from .training import TrainConfig

__all__ = [
    "COMMAND", "add_options", "command_line", "exit_codes", "given", "interrupts",
    "one_line_errors", "output_is_optional", "select",
]  # fmt: skip


_START = started_from("tinygpt.py")
PROGRAM = Path(_START).name
COMMAND = f"python {shlex.quote(_START)}" if PROGRAM.endswith(".py") else PROGRAM


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that prints an error in one line, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the message in one line and exit with code 2."""
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help lists all options)\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The arguments, as ArgumentParser.parse_args gives them."""
        found = super().parse_args(args, namespace)
        if found.command and found.say is tell:
            self.error(f"--tour explains the example, not {found.command}: leave one of them out")
        return found


def add_options(parser: argparse.ArgumentParser, cls: type, **defaults: Any) -> None:
    """A flag for each field of a dataclass made by nn.config.option: --block-size for block_size.

    `defaults` are told in the help in place of those of the fields. A flag that is not given is
    not among the arguments, so that it does not undo a --seed that stands before the command.
    """
    hints = get_type_hints(cls)
    for field in fields(cls):
        if "help" not in field.metadata:
            continue
        help, kind = field.metadata["help"], hints[field.name]
        default = defaults.get(field.name, field.default)
        if default is not None and "default" not in help and kind is not bool:
            help += f" (default {default})"
        how: dict[str, Any] = {"type": kind, "metavar": "N"}
        if kind is bool:
            how = {"action": argparse.BooleanOptionalAction}
        elif choices(kind):
            how = {"choices": choices(kind)}
        elif get_args(kind):  # `float | None`: float
            how["type"] = get_args(kind)[0]
        flag = "--" + field.name.replace("_", "-")
        parser.add_argument(flag, default=argparse.SUPPRESS, help=help, **how)


def given(args: argparse.Namespace) -> dict[str, Any]:
    """{name: value} of the flags that were given."""
    return {name: value for name, value in vars(args).items() if value is not None}


def select(options: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """The options that are fields of a dataclass."""
    names = {field.name for field in fields(cls)}
    return {name: value for name, value in options.items() if name in names}


# ---------------------------------------------------------------- the commands


_MODEL = "the --out-dir of a training, a GPT-2 or Llama folder, or a .gguf file"
_EXAMPLES = """\
example:
  python tinygpt.py train book.txt --out-dir out
  python tinygpt.py generate out --prompt "It was"
  python tinygpt.py train --help       all flags of a command
"""


def command_line(config: type, presets: Iterable[str]) -> Parser:
    """The parser of all commands and flags; `config` is the dataclass of the model's options."""
    main = Parser(prog=PROGRAM, description="Train a small language model, and write with it.\n"
                  "With no command: an example that takes a few seconds.", epilog=_EXAMPLES,
                  formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    seed = "the same seed gives the same result (default: 0 for the example, 1337 for train)"
    main.add_argument("--seed", type=int, metavar="N", help=seed)
    main.add_argument("--tour", dest="say", action="store_const", const=tell, default=print,
                      help="explain what the example prints")  # fmt: skip
    versions = f"tinygpt-numpy {autograd.__version__}, Python {platform.python_version()}, NumPy "
    main.add_argument("--version", action="version", version=versions + np.__version__)
    commands = main.add_subparsers(dest="command", metavar="COMMAND")
    usage = f"{PROGRAM} train [FILE ...] --out-dir RUN [--resume] [other flags]"
    train = commands.add_parser("train", help="train on a text, or go on with a run", usage=usage)
    _add_train(train, config, presets)

    add = commands.add_parser("evaluate", help="loss and perplexity on a text").add_argument
    add("dir", metavar="RUN", help=_MODEL)
    add("file", metavar="FILE", help="a UTF-8 text, or a folder of texts")
    add("--window", type=int, metavar="N", help="tokens in a window (default block_size)")
    add("--stride", type=int, metavar="N", help="tokens from one window to the next (default: the "
        "window); with 1 every token has its full context")  # fmt: skip

    add = commands.add_parser("plot", help="the losses of runs, in one picture").add_argument
    add("runs", nargs="+", metavar="RUN", help="the --out-dir of a training")
    add("--output", default="losses.png", metavar="FILE", help="the picture, a PNG (default "
        "losses.png)")  # fmt: skip

    add = commands.add_parser("explain", help="a picture of the attention").add_argument
    add("dir", metavar="RUN", help=_MODEL)
    add("text", metavar="TEXT", help="a text; ten to thirty tokens are easy to read")
    add("--output", default="attention.png", metavar="FILE", help="the picture, a PNG (default "
        "attention.png)")  # fmt: skip

    _add_generate(commands.add_parser("generate", help="continue a prompt"))
    _add_chat(commands.add_parser("chat", help="talk with a model that was made for it"))
    return main


def _add_generate(generating):
    add = generating.add_argument
    add("dir", metavar="RUN", help=_MODEL)
    add("--prompt", metavar="TEXT", help="the text to continue (default: asks in a terminal, "
        "elsewhere begins with a random token)")  # fmt: skip
    _add_drawing(generating, 300, 0.8)
    add("--stop", action="append", default=[], metavar="TEXT", help="end before this text "
        "(\\n in it is a line break); may be given several times")  # fmt: skip
    add("--num-samples", type=int, default=1, metavar="N", help="texts for the prompt "
        "(default 1)")  # fmt: skip


def _add_chat(chatting):
    add = chatting.add_argument
    add("dir", metavar="PATH", help="a folder or file of a model that has a chat template")
    add("--system", metavar="TEXT", help="what the model is told before all messages")
    add("--prompt", metavar="TEXT", help="one message, to answer and end (default: asks in a "
        "terminal, elsewhere each line of standard input is a message)")  # fmt: skip
    _add_drawing(chatting, 512, 0.6)


def _add_drawing(parser, max_new_tokens, temperature):
    parser.add_argument("--max-new-tokens", type=int, default=max_new_tokens, metavar="N",
                        help=f"draw at most N tokens (default {max_new_tokens})")  # fmt: skip
    add_options(parser, Sampling, temperature=temperature)
    parser.add_argument("--seed", type=int, default=argparse.SUPPRESS, metavar="N",
                        help="the same seed gives the same text")  # fmt: skip


def _add_train(train, config, presets):
    add = train.add_argument
    add("files", nargs="*", metavar="FILE", help="UTF-8 texts, or folders of them; the last tenth "
        "is for validation")  # fmt: skip
    add("--out-dir", required=True, metavar="RUN", help="the folder for all that the "
        "run writes")  # fmt: skip
    add("--resume", action="store_true", help="go on with the run in --out-dir")
    add("--procs", type=int, metavar="N", help="share each batch among N processes, one for each "
        "core (needs the extra mpi; default 1)")  # fmt: skip
    add("--init-from", metavar="DIR", help="train a model further: a RUN, a GPT-2 or "
        "Llama folder, or a .gguf file")  # fmt: skip
    add("--preset", choices=[*presets], help="a named set of sizes and rates, "
        "which other flags change (listed in docs/training.md)")  # fmt: skip
    add("--tokenizer", choices=TOKENIZERS, help="what a token is: a word in lower case, "
        "a character (default), or a frequent piece of text (needs the extra bpe)")  # fmt: skip
    add("--vocab-size", type=int, metavar="N", help="tokens at most, for bpe (default "
        "5000) or word (default: all words)")  # fmt: skip
    add("--tokens-dir", metavar="DIR", help="folder for the text as tokens, which "
        "several runs may share (default RUN/tokens)")  # fmt: skip
    add_options(train, config)
    add_options(train, TrainConfig)


# ---------------------------------------------------------------- how a command ends


class _Output:
    """Standard output or standard error, which may stop taking text: a full disk, a closed pipe.

    What could not be written is lost, and so is all that follows. If the stream is `optional` the
    program goes on; otherwise writing raises OSError.
    """

    def __init__(self, stream, optional):
        self._stream, self.optional = stream, optional

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text):
        return self._attempt(self._stream.write, text)

    def flush(self):
        self._attempt(self._stream.flush)

    def _attempt(self, act, *arguments):
        try:
            return act(*arguments)
        except OSError as error:
            with open(os.devnull, "w") as nowhere:  # or Python would try again when it exits
                os.dup2(nowhere.fileno(), self._stream.fileno())
            if not self.optional:
                if isinstance(error, BrokenPipeError):
                    raise
                reason = error.strerror or error
                raise OSError(f"cannot write the output: {reason}") from error
            if self is sys.stdout:
                print(f"{PROGRAM}: cannot write the output, and goes on without it "
                      f"({error.strerror or error})", file=sys.stderr)  # fmt: skip


def _open_streams():
    """Open the null device for a standard stream that is closed: no other file gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(handle, True)  # for --procs
            setattr(sys, name, open(handle, mode, closefd=False))  # noqa: SIM115


@contextlib.contextmanager
def output_is_optional() -> Iterator[None]:
    """Go on when standard output cannot be written to any more: a training is in its files."""
    sys.stdout.optional = True  # type: ignore[union-attr]
    yield
    sys.stdout.flush()


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Errors of the user and of the machine in one line, with exit code 2; Ctrl-C with 130."""
    _open_streams()
    if hasattr(sys.stdout, "reconfigure"):  # a terminal may lack letters that a text has
        sys.stdout.reconfigure(errors="replace")
    output, errors = _Output(sys.stdout, False), _Output(sys.stderr, True)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):  # type: ignore
        try:
            try:
                yield
            finally:
                sys.stdout.flush()
        except BrokenPipeError:  # nobody reads the output any more
            pass
        except (ValueError, OSError, MemoryError) as error:
            print(f"{PROGRAM}: {' '.join(str(error).split())}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt as stop:
            print(f"\n{PROGRAM}: {str(stop) or 'stopped'}", file=sys.stderr)
            sys.exit(130)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Errors of the user in one line, after which the program goes on."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (ValueError, OSError, MemoryError) as error:
        print(f"{PROGRAM}: {' '.join(str(error).split())}", file=sys.stderr)


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """A list that gets the number of SIGINT (Ctrl-C) or SIGTERM, so an iteration can be finished.

    A second signal of the same kind acts as usual.
    """
    caught: list[int] = []
    before: dict[int, Any] = {}

    def catch(number, frame):
        caught.append(number)
        signal.signal(number, before[number])
        print("\nstopping after this iteration; Ctrl-C again stops at once", file=sys.stderr)

    if threading.current_thread() is threading.main_thread():  # others may not ask for signals
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
        for number in before:  # what a job in the background is to ignore stays ignored
            signal.signal(number, catch)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
