"""The instruments of docs/your-own-instrument.md, run from the page itself."""

import re
import sys
from pathlib import Path
from types import ModuleType

PAGE = Path(__file__).parents[2] / "docs" / "your-own-instrument.md"


def blocks() -> list[str]:
    """The Python blocks of the page, in order: a streaming instrument, an itemised one, their use, a figure."""
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def load(*numbers: int) -> ModuleType:
    """A module made of some of the blocks, the same one at every call."""
    name = f"documented_{'_'.join(map(str, numbers))}"
    if name not in sys.modules:
        sys.modules[name] = run(ModuleType(name), *numbers)
    return sys.modules[name]


def run(module: ModuleType, *numbers: int) -> ModuleType:
    """Run some of the blocks in a module."""
    sys.modules[module.__name__] = module
    for number in numbers:
        exec(compile(blocks()[number], str(PAGE), "exec"), vars(module))
    return module
