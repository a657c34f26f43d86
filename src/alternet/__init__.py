"""AlterNet and the instruments of "How Do Vision Transformers Work?" (Park and Kim, ICLR 2022).

Importing this package is quick: torch and timm come with the first name that needs them, and our models enter timm's
registry as soon as timm itself is imported, before or after. What the package offers stands in `__init__.pyi`.

Examples:
    >>> import alternet as an
    >>> net = an.load("preresnet_mini", num_classes=18)
    >>> data = an.batches("photos", split="test", limit=36)
    >>> an.Variance().measure(net, data).table.columns[0]
    'model'
"""

from importlib import import_module
from typing import Any

import lazy_loader
from wrapt import register_post_import_hook

__version__ = "1.0.0"

_lazily, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _lazily(name)
    except AttributeError as error:
        if name in __all__:  # it is there, and something else went wrong while it was loaded
            raise
        raise AttributeError(f"module 'alternet' has no attribute {name!r}; it offers {', '.join(__all__)}.") from error


register_post_import_hook(lambda _timm: import_module("alternet.models"), "timm")
