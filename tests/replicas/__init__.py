"""Made-up raw folders in the layouts in which publishers ship their datasets; one module per adapter.

Each module has ``make(folder)``: it writes the publisher's folders, file names, columns, encodings and odd values for a few
dozen people who do not exist, and returns the adapter's options. Nothing in them is anybody's data.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

Maker = Callable[[Path], dict[str, Any]]


def replica(name: str) -> Maker:
    """Return the generator of a dataset's raw folder."""
    return importlib.import_module(f"replicas.{name.replace('-', '_')}").make
