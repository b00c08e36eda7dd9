"""COVID-CT-MD as unpacked from its figshare record: ``Clinical-data.csv``, three folders of patients, DICOM slices.

Of the publisher: an index in the first column with numbers left out, headers with odd blanks, ages such as ``039Y`` and
``100Y``, ``CAP`` in the table where folders say ``cap001`` in ``Cap Cases``, files numbered otherwise than they lie, a scout
without a slice location, a few unknown ages and weights, a list of slice labels that is another matter.
"""

from __future__ import annotations

import warnings

import numpy as np

GROUPS = {"COVID-19": ("COVID-19 Cases", "P{:03d}", 16), "CAP": ("Cap Cases", "cap{:03d}", 10)}
GROUPS["Normal"] = ("Normal Cases", "normal{:03d}", 12)
SHAPE, STEP = (6, 20, 24), 2.0
HUNDRED, NO_AGE = "P003", "cap004"
CT = "1.2.840.10008.5.1.4.1.1.2"


def make(folder):
    root = folder / "COVID-CT-MD"
    lines = ["clinical_data,Diagnosis, Folder,Patient Gender ,Patient Age,Weight,Clinical Characteristics"]
    number = 0
    for diagnosis, (part, pattern, count) in GROUPS.items():
        for place in range(1, count + 1):
            number += 2 if place == 5 else 1  # numbers are left out
            name = pattern.format(place)
            write_patient(root / part / name, diagnosis, number)
            age = "" if name == NO_AGE else "100Y" if name == HUNDRED else f"{20 + (number * 7) % 60:03d}Y"
            listed = name.replace("cap", "CAP")
            weight = "" if place % 6 == 0 else f"{50 + number:03d}"
            lines.append(f'{number},{diagnosis},{listed},{"MF"[number % 2]},{age},{weight},"Fever, Cough"')
    (root / "Clinical-data.csv").write_text("\n".join(lines) + "\n")
    (root / "Index.csv").write_text(
        "Label Index,Diagnosis,Relative Path,Folder/ID\n1,COVID-19,COVID-19 Cases,P001\n"
    )
    return {"raw": root}


def volume_of(diagnosis, number):
    """Return [D, H, W] Hounsfield units from feet to head: lungs with a patch where there is pneumonia."""
    generator = np.random.default_rng(number)
    units = np.full(SHAPE, 40) + generator.integers(-20, 21, SHAPE)
    units[:, 4:16, 3:10] = units[:, 4:16, 14:21] = -850
    if diagnosis != "Normal":
        patch = 2 if diagnosis == "CAP" else 4
        units[1:4, 8 : 8 + patch, 4 : 4 + patch] = -300
    units[np.arange(SHAPE[0]), 0, 0] = 100 * np.arange(SHAPE[0])  # tells slices apart
    return units


def write_patient(folder, diagnosis, number):
    folder.mkdir(parents=True)
    units = volume_of(diagnosis, number)
    order = np.random.default_rng(100 + number).permutation(SHAPE[0])
    for file, place in enumerate(order, start=1):
        write_slice(folder / f"IM{file:04d}.dcm", units[place], float(place) * STEP, number)
    scout = np.full((30, 10), -200)
    write_slice(folder / f"IM{SHAPE[0] + 1:04d}.dcm", scout, None, number)


def write_slice(path, units, height, number):
    """Write one file: stored values are Hounsfield units plus 1024; without a height it is a scout."""
    import pydicom

    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = CT
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}.{path.stem[2:].lstrip('0')}"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    elements = {
        "SOPClassUID": CT,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": f"1.2.3.{number}" if height is not None else f"1.2.4.{number}",
        "Modality": "CT",
        "PatientID": f"{number}",
        "Rows": units.shape[0],
        "Columns": units.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "PixelSpacing": [0.75, 0.5],
        "SliceThickness": STEP,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
    }
    if height is None:
        elements |= {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    else:
        elements |= {"ImagePositionPatient": [-6.0, -7.5, height], "SliceLocation": height}
        elements |= {"ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in elements.items():
            setattr(file, name, value)
        file.PixelData = (units + 1024).astype("<u2").tobytes()
        file.save_as(path, enforce_file_format=True)
