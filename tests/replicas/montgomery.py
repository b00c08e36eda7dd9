"""Montgomery County: 36 chest X-rays with outlines of both lungs and readings as the publisher writes them.

Readings pad the sex with blanks, give ages as ``027Y``, end lines in one way or the other, and say more than one line or
nothing. Masks have one bit; one pair was drawn in half the size, in another the lungs touch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PEOPLE = range(1, 37)
SHAPE = (44, 36)
#: Its masks have half the size of the image.
SMALL = 5
#: Its lungs overlap in one column.
TOUCHING = 6


def name_of(person: int) -> str:
    """Return a file's name without its ending; odd pairs have tuberculosis."""
    return f"MCUCXR_{person:04d}_{int(ill(person))}"


def ill(person: int) -> bool:
    """Tell whether a person has tuberculosis."""
    return person % 5 in (1, 3)


def sex(person: int) -> str:
    """Return F or M."""
    return "FM"[person // 2 % 2]


def age(person: int) -> int:
    """Return an age in years; one is 4, one 100."""
    return {9: 4, 10: 100}.get(person, 15 + person * 17 % 70)


def lungs(person: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the outlines of the left lung (to the right of the picture) and the right lung."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    left = (np.abs(rows - 22) < 14 + person % 4) & (np.abs(columns - 26) < 6)
    right = (np.abs(rows - 22) < 14) & (np.abs(columns - 9) < 6)
    if person == TOUCHING:
        right = (np.abs(rows - 22) < 14) & (columns > 3) & (columns <= 21)
    return left, right


def reading(person: int) -> str:
    """Return a clinical reading."""
    end = "\r\n" if person % 4 == 0 else "\n"
    said = ["normal"] if not ill(person) else ["infiltrate in the left upper lobe", "", "scars"]
    head = [f"Patient's Sex: {sex(person)}             ", f"Patient's Age: {age(person):03d}Y"]
    if person == 11:
        head = [f"Patient's Sex : {sex(person).lower()}", f"Patient's Age:{age(person)} Y"]
    return end.join([*head, *said])


def make(folder: Path) -> dict[str, Any]:
    """Write the folder; returns the adapter's options."""
    root = folder / "MontgomerySet"
    parts = ("CXR_png", "ManualMask/leftMask", "ManualMask/rightMask")
    for part in (*parts, "ClinicalReadings"):
        (root / part).mkdir(parents=True)
    for person in PEOPLE:
        left, right = lungs(person)
        rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
        spot = ill(person) & (np.hypot(rows - 14, columns - 26) < 3)
        grey = 160 + rows - 90 * (left | right) + 80 * spot + person % 3
        name = name_of(person)
        Image.fromarray(grey.astype(np.uint8)).save(root / "CXR_png" / f"{name}.png")
        for part, mask in zip(parts[1:], (left, right), strict=True):
            drawn = Image.fromarray(mask.astype(np.uint8) * 255)
            if person == SMALL:
                drawn = drawn.resize((SHAPE[1] // 2, SHAPE[0] // 2), Image.Resampling.NEAREST)
            drawn.convert("1").save(root / part / f"{name}.png")
        (root / "ClinicalReadings" / f"{name}.txt").write_bytes(reading(person).encode())
    (root / "ManualMask" / "leftMask" / "Thumbs.db").write_bytes(b"\xd0\xcf")
    return {"raw": folder}
