"""The stored values of a DICOM file's pixels, whatever compresses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shards.adapter import UnreadableSample
from shards.formats._dicom_header import Header, damage, is_dicom
from shards.formats._gdcm import decode_by_gdcm

if TYPE_CHECKING:
    import pydicom

#: Transfer syntaxes of the JPEG family, and the bytes that end their images.
_JPEG, _JPEG_END = "1.2.840.10008.1.2.4.", b"\xff\xd9"


def stored_values(header: Header) -> tuple[NDArray[Any], bool]:
    """Return a file's values, and whether they are rescaled (and MONOCHROME1 inverted) already."""
    import pydicom
    from pydicom.pixels.utils import pixel_array

    with damage(header.path, "the pixels"):
        found = pydicom.dcmread(header.path, force=not is_dicom(header.path))
        if not header.transfer:  # files without a preamble are of the default syntax
            found.file_meta = pydicom.dataset.FileMetaDataset()
            found.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        _check_end(found, header)
        if _has_decoder(header.transfer):
            return np.asarray(pixel_array(found)), False
        values = decode_by_gdcm(header.path)
        return values.astype(np.int64) if values.dtype.kind in "iu" else values, True


def _has_decoder(transfer: str) -> bool:
    """Tell whether pydicom can decode a compression here; SimpleITK can decode most others."""
    import pydicom
    from pydicom.pixels.decoders.base import get_decoder

    try:
        return not transfer or bool(get_decoder(pydicom.uid.UID(transfer)).is_available)
    except NotImplementedError:
        return False


def _check_end(found: pydicom.Dataset, header: Header) -> None:
    """Refuse compressed pixels that are cut off: decoders fill up what is missing."""
    from pydicom.encaps import get_frame

    if not header.transfer.startswith(_JPEG):
        return
    frame = get_frame(found.PixelData, 0, number_of_frames=header.frames)
    if not frame.rstrip(b"\0").endswith(_JPEG_END):
        raise UnreadableSample("decode_error", f"the compressed pixels of {header.path.name} are cut off")
