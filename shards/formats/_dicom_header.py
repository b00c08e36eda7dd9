"""What is read of a DICOM file's header: the few elements that pixels and geometry need, and those that may be kept.

Guarantee: nothing else of a header leaves this module. Names, dates, numbers and descriptions written by people never do.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shards.adapter import UnreadableSample

if TYPE_CHECKING:
    import pydicom

#: The elements whose values may be kept (see :func:`kept_tags`): how the image was made, and who it is of in the words of
#: an attribute. No name, date, time, place, identifier or text that a person typed.
KEPT_TAGS = (
    *("Modality", "ImageType", "BodyPartExamined", "ViewPosition", "PatientPosition"),
    *("ImageLaterality", "Laterality", "PatientOrientation", "PhotometricInterpretation"),
    *(
        "Manufacturer",
        "ManufacturerModelName",
        "ConvolutionKernel",
        "KVP",
        "SliceThickness",
        "SpacingBetweenSlices",
    ),
    *("PixelSpacing", "ImagerPixelSpacing", "Rows", "Columns", "BitsStored"),
    *("MagneticFieldStrength", "ScanningSequence", "SequenceVariant", "RepetitionTime", "EchoTime"),
    *("PatientSex", "PatientAge", "EthnicGroup"),
)


@dataclass(frozen=True)
class Header:
    """One file's header.

    Attributes
    ----------
    path
        The file.
    series
        Its SeriesInstanceUID; never shown to anybody.
    localizer
        Whether it calls itself a localizer (scout).
    shape
        (rows, columns).
    frames
        Number of frames.
    photometric, transfer
        How values are meant and how they are compressed.
    bits, signed
        Bits of a stored value that are used, and whether it is signed.
    slope, intercept
        Of the rescale; 1 and 0 where there is none.
    window
        (centre, width, function) of the first window; None where there is none.
    position, axes
        Place of the first pixel in mm, and directions along a row and down a column (six cosines); None where absent.
    location
        SliceLocation in mm.
    spacing
        (row, column) in mm, of the patient or else of the detector (ImagerPixelSpacing); None where absent.
    thickness
        Distance of slices as the header claims it, in mm.
    burned_in
        Whether it says that texts are burned into the pixels.
    """

    path: Path
    series: str
    localizer: bool
    shape: tuple[int, int]
    frames: int
    photometric: str
    transfer: str
    bits: int
    signed: bool
    slope: float
    intercept: float
    window: tuple[float, float, str] | None
    position: tuple[float, ...] | None
    axes: tuple[float, ...] | None
    location: float | None
    spacing: tuple[float, float] | None
    thickness: float | None
    burned_in: bool


def is_dicom(path: Path) -> bool:
    """Tell whether a file starts as DICOM files do."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


@contextmanager
def damage(path: Path, what: str) -> Iterator[None]:
    """Turn whatever decoders raise on cut, altered or foreign bytes into a ``decode_error``; they raise anything.

    A library that is not installed is no fault of the file's and stays what it is.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # headers of real files break many small rules of the standard
        try:
            yield
        except (UnreadableSample, MemoryError, ModuleNotFoundError):
            raise
        except Exception as error:
            raise UnreadableSample(
                "decode_error", f"{what} of {path.name} cannot be read: {error}"
            ) from error


def read_header(path: Path, *, missing: str = "missing_image") -> Header:
    """Read what pixels and geometry need; pixels are not read.

    Raises
    ------
    UnreadableSample
        `missing`, ``empty_file``, ``decode_error``.
    """
    with damage(path, "the header"):
        return _header(path, _open(path, missing))


def kept_tags(path: Path) -> dict[str, str]:
    """Return the values of :data:`KEPT_TAGS` that a file has, several of one element joined by ``|``.

    Raises
    ------
    UnreadableSample
        ``missing_image``, ``empty_file``, ``decode_error``.
    """
    with damage(path, "the header"):
        found = _open(path, "missing_image")
        values = {name: _text(found.get(name)) for name in KEPT_TAGS}
    return {name: value for name, value in values.items() if value}


def _open(path: Path, missing: str) -> pydicom.Dataset:
    import pydicom

    if not path.is_file():
        raise UnreadableSample(missing, f"file {path.name} does not exist")
    if path.stat().st_size == 0:
        raise UnreadableSample("empty_file", f"file {path.name} has no bytes")
    found = pydicom.dcmread(path, stop_before_pixels=True, force=not is_dicom(path))
    if "Rows" not in found or "Columns" not in found:
        raise UnreadableSample(
            "decode_error", f"file {path.name} is no DICOM image: it has no rows and columns"
        )
    return found


def _header(path: Path, found: pydicom.Dataset) -> Header:
    row_column = _sizes(found.get("PixelSpacing")) or _sizes(found.get("ImagerPixelSpacing"))
    centre, width = _numbers(found.get("WindowCenter")), _numbers(found.get("WindowWidth"))
    window = None
    if centre and width and width[0] > 0:
        window = (centre[0], width[0], str(found.get("VOILUTFunction") or "LINEAR").upper())
    meta = getattr(found, "file_meta", None)
    return Header(
        path=path,
        series=str(found.get("SeriesInstanceUID") or ""),
        localizer="LOCALIZER" in [str(part).upper() for part in _several(found.get("ImageType"))],
        shape=(int(found.Rows), int(found.Columns)),
        frames=int(found.get("NumberOfFrames") or 1),
        photometric=str(found.get("PhotometricInterpretation") or "MONOCHROME2").upper(),
        transfer=str(meta.get("TransferSyntaxUID") or "") if meta is not None else "",
        bits=int(found.get("BitsStored") or 8),
        signed=int(found.get("PixelRepresentation") or 0) == 1,
        slope=(_numbers(found.get("RescaleSlope"), 1) or (1.0,))[0],
        intercept=(_numbers(found.get("RescaleIntercept"), 1) or (0.0,))[0],
        window=window,
        position=_numbers(found.get("ImagePositionPatient"), 3),
        axes=_numbers(found.get("ImageOrientationPatient"), 6),
        location=(_numbers(found.get("SliceLocation"), 1) or (None,))[0],
        spacing=row_column,
        thickness=(
            _numbers(found.get("SpacingBetweenSlices"), 1)
            or _numbers(found.get("SliceThickness"), 1)
            or (None,)
        )[0],
        burned_in=str(found.get("BurnedInAnnotation") or "").strip().upper() == "YES",
    )


def _several(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | int | float) else list(value)


def _numbers(value: Any, count: int | None = None) -> tuple[float, ...] | None:
    """Return an element's numbers; None where it is absent, empty, or not `count` finite ones."""
    found = tuple(float(part) for part in _several(value))
    if not found or (count is not None and len(found) != count) or not np.isfinite(found).all():
        return None
    return found


def _sizes(value: Any) -> tuple[float, float] | None:
    """Return the size of a pixel; None where it is absent, or no size."""
    found = _numbers(value, 2)
    return None if found is None or min(found) <= 0 else (found[0], found[1])


def _text(value: Any) -> str:
    return "|".join(str(part).strip() for part in _several(value))
