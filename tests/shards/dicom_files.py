"""Writes DICOM files for tests: headers as scanners write them, pixels that are made up."""

import warnings
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"


def write_dicom(path, pixels, *, series="1.2.3", **elements):
    """Write one file; `elements` win over what is usual, None leaves one out."""
    pixels = np.asarray(pixels)
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = CT
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    bits = pixels.dtype.itemsize * 8
    usual = {
        "SOPClassUID": CT,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": series,
        "PatientName": "Nobody^Made Up",
        "PatientID": "MRN-0007",
        "Modality": "CT",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1 if pixels.ndim == 2 else 3,
        "PhotometricInterpretation": "MONOCHROME2" if pixels.ndim == 2 else "RGB",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelSpacing": [0.5, 0.25],
    }
    if pixels.ndim == 3:
        usual["PlanarConfiguration"] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in (usual | elements).items():
            if value is not None:
                setattr(file, name, value)
        file.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
        path.parent.mkdir(parents=True, exist_ok=True)
        file.save_as(path, enforce_file_format=True)
    return Path(path)


def write_series(
    folder, volume, *, step=2.0, axes=(1, 0, 0, 0, 1, 0), start=(-10.0, -20.0, 30.0), **elements
):
    """Write slices along the normal of `axes`, files named against their order."""
    normal = np.cross(axes[:3], axes[3:])
    paths = []
    for place, pixels in enumerate(volume):
        position = np.array(start) + place * step * normal
        given = {
            "ImagePositionPatient": [float(value) for value in position],
            "ImageOrientationPatient": list(map(float, axes)),
            "SliceLocation": float(position @ normal),
            "InstanceNumber": place + 1,
        }
        path = Path(folder) / f"IM{len(volume) - place:04d}.dcm"
        paths.append(write_dicom(path, pixels, **(given | elements)))
    return paths
