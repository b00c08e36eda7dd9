"""The folder of ChestX-ray14; five images of each finding can be chosen from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from replicas import nih_cxr14


def make(folder: Path) -> dict[str, Any]:
    """Write the publisher's folder and return the adapter's options."""
    return {**nih_cxr14.make(folder), "per_class": 5}
