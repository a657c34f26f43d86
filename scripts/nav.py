"""A hook of mkdocs: the pages of the instruments enter the navigation in the order of the catalogue."""

from typing import Any

from alternet.instruments.catalogue import instruments


def on_config(config: Any) -> Any:
    """Put a page for every instrument before what stands under Instruments already."""
    (section,) = [entry["Instruments"] for entry in config["nav"] if "Instruments" in entry]
    section[:0] = [f"instruments/{name}.md" for name in instruments()]
    return config
