"""Named ways to show intensities of more than 8 bits: windows of Hounsfield units, percentiles of scans without a unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from shards.errors import unknown_name


class Showing(NamedTuple):
    """How intensities become 0-255; one of the two is given (see :class:`shards.card.DatasetCard`)."""

    window: tuple[float, float] | None
    normalise: tuple[float, float] | None


#: (low, high) in Hounsfield units. ``covid-ct-md`` is the one that FairMedFM shows that dataset with, ``ol3i`` that of its
#: authors; the others are the usual (centre, width) of radiology: lung -600, 1500; abdomen 40, 400; liver 60, 160.
WINDOWS: Mapping[str, tuple[float, float]] = {
    "ct-lung": (-1350.0, 150.0),
    "ct-abdomen": (-160.0, 240.0),
    "ct-liver": (-20.0, 140.0),
    "ct-kidney": (-200.0, 300.0),
    "covid-ct-md": (-1250.0, 250.0),
    "ol3i": (-1000.0, 1000.0),
}
#: (low, high) percentiles of each volume.
PERCENTILES: Mapping[str, tuple[float, float]] = {
    "mri": (0.5, 99.5),
    "minmax": (0.0, 100.0),
}


def showing(name: str) -> Showing:
    """Return a way to show intensities by its name.

    Raises
    ------
    UserError
        If there is none of that name.
    """
    if name in WINDOWS:
        return Showing(WINDOWS[name], None)
    if name in PERCENTILES:
        return Showing(None, PERCENTILES[name])
    raise unknown_name("window", name, [*WINDOWS, *PERCENTILES])
