"""What a page of the tour defines, for the exercises: `Value = from_page(4, "Value")`."""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any

from docs.tour.__main__ import PAGES, blocks


def from_page(number: int, *names: str) -> Any:
    """The classes and functions of these names, made anew from the code of a page.

    One name gives one object, several give a tuple.
    """
    path = PAGES[number - 1]
    namespace: dict[str, Any] = {"__name__": path.stem}
    wanted = re.compile(rf"^(class|def) ({'|'.join(names)})\b", re.MULTILINE)
    for kind, code, line in blocks(path.read_text("utf-8")):
        if kind == "python" and wanted.search(code):
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile("\n" * line + code, str(path), "exec"), namespace)
    found = tuple(namespace[name] for name in names)
    return found[0] if len(found) == 1 else found
