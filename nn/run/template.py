"""Chat templates: Jinja that comes with a model, rendered in a process of its own.

A template is a stranger's program. Jinja's sandbox keeps it from Python's insides; the process,
which is ended after a while, keeps its loops from lasting and its strings from filling the memory.
This file is also the program of that process, so it imports nothing of this package.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["render"]

SECONDS = 10  # that a template may take, with the start of the process
MEMORY = 1 << 29  # bytes, on systems that have such a limit
LENGTH = 4_000_000  # characters that it may write


def render(template: str, values: Mapping[str, Any]) -> str:
    """What a chat template writes, given values that JSON can hold.

    Raises ValueError saying why there is nothing: the template does not compile, refuses the
    messages, does what the sandbox forbids, or takes too much time or memory.
    """
    _check_version()
    job = {"path": sys.path, "template": template, "values": values}
    command = [sys.executable, "-I", str(Path(__file__).resolve())]
    try:
        done = subprocess.run(
            command, input=json.dumps(job).encode(), capture_output=True, timeout=SECONDS
        )
        result = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        result = {"error": f"it takes more than {SECONDS} seconds"}
    except json.JSONDecodeError:
        result = {"error": f"its process ended with code {done.returncode}"}
    if "error" in result:
        raise ValueError(f"the model's chat template gives no text: {result['error']}")
    return result["text"]


def _check_version():
    """Raise ValueError unless there is a Jinja without known ways out of its sandbox."""
    try:
        version = importlib.metadata.version("jinja2")
    except importlib.metadata.PackageNotFoundError:
        version = "not installed"
    if [*map(int, re.findall(r"\d+", version))] < [3, 1, 6]:
        raise ValueError(
            f"chat needs the library jinja2, 3.1.6 or later ({version}): "
            "pip install 'jinja2>=3.1.6'"
        )


# ---------------------------------------------------------------- in the other process


def _main():
    """Read a job from standard input and write {"text": ...} or {"error": ...}."""
    job = json.load(sys.stdin.buffer)
    sys.path[:] = job["path"]  # that jinja2 is found where the other process found it
    with contextlib.suppress(ImportError, ValueError):  # Windows; a limit that is lower already
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    try:
        text = _environment().from_string(job["template"]).render(job["values"])
        result = {"text": text}
        if not 0 < len(text) <= LENGTH:
            result = {"error": f"it writes {len(text):,} characters, of {LENGTH:,} allowed"}
    except MemoryError:
        result = {"error": f"it needs more than {MEMORY >> 20} MB of memory"}
    except Exception as error:
        kind, line = type(error), getattr(error, "lineno", None)
        name = "" if kind.__module__.startswith("jinja2") else f"{kind.__name__}: "
        result = {"error": f"{name}{error!s:.300}" + (f" (line {line})" if line else "")}
    sys.stdout.write(json.dumps(result))


def _environment():
    """What transformers gives a template. The tag `generation` marks answers, for training."""
    from jinja2 import TemplateError, ext, nodes, sandbox

    class Generation(ext.Extension):
        tags = {"generation"}  # noqa: RUF012  # as Jinja has it

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    def raise_exception(message):
        raise TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)  # fmt: skip

    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson  # Jinja's own escapes HTML
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment


if __name__ == "__main__":
    _main()
