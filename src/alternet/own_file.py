"""A Python file of the user's own: it is run, as a script would be, when the user names it and not otherwise."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from alternet.errors import in_one_line


def run_own(file: Path, what: str) -> ModuleType:
    """Run a Python file of the user's own; once, however often it is asked for in the same words.

    What it imports may lie beside it. Never call this with a name that comes out of a file: the code is run.

    Args:
        file: The file.
        what: What it is taken for, for an error.

    Raises:
        ValueError: There is no such file, or it cannot be run.

    Examples:
        >>> file = getfixture("tmp_path") / "mine.py"
        >>> _ = file.write_text("answer = 42")
        >>> run_own(file, "a module").answer
        42
    """
    file = file.expanduser()
    name = f"{file.stem}_{hashlib.sha256(str(file.absolute()).encode()).hexdigest()[:10]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise ValueError(f"There is no Python file {file}. Name the file that holds {what}.")
    if (beside := str(file.absolute().parent)) not in sys.path:
        sys.path.append(beside)  # behind all others, so that it hides nothing
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        raise ValueError(f"{file} cannot be run for {what}: {in_one_line(error)}") from error
    return module
