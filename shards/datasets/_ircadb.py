"""What is drawn in 3D-IRCADb-01: the publisher's folders of masks, their structures, and the one label map that is stored.

The publisher draws each structure for itself, so they overlap: vessels and tumours lie in the liver, everything lies in the
body. A stored label is the number of one structure, plus :data:`IN_BODY` within the skin, plus :data:`IN_LIVER` within the
liver: body and liver are exactly the publisher's, and so is what lies in them. Where two others overlap, the one that comes
later in :data:`NUMBERED` wins; they are in the order from large to small, from organs over vessels to tumours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from shards.card import Structure

IN_BODY, IN_LIVER = 64, 128
_PLACES = (0, IN_BODY, IN_LIVER, IN_BODY + IN_LIVER)
#: Structures in the order in which they are painted, with the names of their folders in lower case and without numbers at
#: their end. Spellings are the publisher's, partly French (kyst, metastasectomie, surre-), and differ between patients.
NUMBERED: Mapping[str, tuple[str, ...]] = {
    "bone": ("bone",),
    "both_lungs": ("lungs",),
    "left_lung": ("leftlung",),
    "right_lung": ("rightlung",),
    "heart": ("heart",),
    "stomach": ("stomach",),
    "stomach_and_oesophagus": ("stomachoesophage",),
    "colon": ("colon",),
    "sigmoid_colon": ("sigmoid",),
    "small_bowel": ("smallintestin", "smallintestine"),
    "duodenum": ("duodenum",),
    "bladder": ("bladder",),
    "uterus": ("uterus",),
    "spleen": ("spleen",),
    "both_kidneys": ("kidneys",),
    "left_kidney": ("leftkidney",),
    "right_kidney": ("rightkidney",),
    "pancreas": ("pancreas",),
    "gallbladder": ("gallbladder",),
    "adrenal_gland": ("surrenalgland",),
    "left_adrenal_gland": ("leftsurrenalgland",),
    "right_adrenal_gland": ("rightsurrenalgland",),
    "lymph_nodes": ("lymphnodes",),
    "venous_system": ("venoussystem",),
    "vena_cava": ("venacava",),
    "portal_vein": ("portalvein",),
    "artery": ("artery",),
    "aorta": ("aorta",),
    "biliary_system": ("biliarysystem",),
    "hyperplasia": ("hyperplasie",),
    "metastasectomy": ("metastasectomie",),
    "liver_cyst": ("livercyst", "liverkyst", "liverkyste"),
    "left_adrenal_tumour": ("leftsurretumor",),
    "right_adrenal_tumour": ("rightsurretumor",),
    "other_tumour": ("tumor",),
    "liver_tumour": ("livertumor", "livertumors"),
    "stones": ("stones",),
    "metal": ("metal",),
}
_NUMBERS: Mapping[str, int] = {name: number for number, name in enumerate(NUMBERED, start=1)}
_FOLDERS: Mapping[str, str] = {
    "skin": "body",
    "liver": "liver",
    **{folder: name for name, folders in NUMBERED.items() for folder in folders},
}
#: What the publisher draws as one or side by side.
_UNIONS: Mapping[str, tuple[str, ...]] = {
    "lungs": ("both_lungs", "left_lung", "right_lung"),
    "kidneys": ("both_kidneys", "left_kidney", "right_kidney"),
    "adrenal_glands": ("adrenal_gland", "left_adrenal_gland", "right_adrenal_gland"),
}


def _values(*names: str) -> tuple[int, ...]:
    return tuple(sorted(_NUMBERS[name] + place for name in names for place in _PLACES))


def _all_in(*places: int) -> tuple[int, ...]:
    return tuple(sorted(number + place for number in (0, *_NUMBERS.values()) for place in places))


STRUCTURES: tuple[Structure, ...] = (
    Structure("body", _all_in(IN_BODY, IN_BODY + IN_LIVER)),
    Structure("liver", _all_in(IN_LIVER, IN_BODY + IN_LIVER)),
    *(Structure(name, _values(*parts)) for name, parts in _UNIONS.items()),
    *(Structure(name, _values(name)) for name in NUMBERED if name not in {p[0] for p in _UNIONS.values()}),
)


def structure_of(folder: str) -> str | None:
    """Return what a folder of masks shows; None if the coding does not know it.

    Examples
    --------
    >>> structure_of("livertumor07"), structure_of("rightsurrenalGland"), structure_of("skin"), structure_of("tail")
    ('liver_tumour', 'right_adrenal_gland', 'body', None)
    """
    return _FOLDERS.get(folder.lower().rstrip("0123456789"))


def paint(shape: tuple[int, ...], drawn: Iterable[tuple[str, NDArray[np.bool_]]]) -> NDArray[np.uint8]:
    """Make one label map of what was drawn.

    Parameters
    ----------
    shape
        Of the volume.
    drawn
        Structures and where they are, in any order; one structure may come several times.
    """
    labels, places = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    containers = {"body": np.uint8(IN_BODY), "liver": np.uint8(IN_LIVER)}
    for name, where in drawn:
        if name in containers:
            places[where] |= containers[name]
        else:
            np.maximum(labels, np.uint8(_NUMBERS[name]), out=labels, where=where)
    return labels + places
