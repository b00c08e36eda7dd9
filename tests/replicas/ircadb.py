"""3D-IRCADb-01 as the publisher ships it, unpacked; and as FairMedFM has it, in nnU-Net's layout.

Of the publisher: twenty people, ten women and ten men, a folder each with the slices of the scan and a folder of masks for each
structure, as DICOM files without an ending; numbers of files that run from the head or from the feet, and are no numbers as
texts (``image_10`` before ``image_2``); scans of different lengths; structures that differ between patients, with names that
are partly French, capitals here and there, numbered tumours, an adrenal tumour that is just ``tumor``, lungs and kidneys
as one or side by side; masks of 0 and 255, or of 0 and 1; folders that an unpacking program put into one of their own name;
label images, meshes and archives beside them that are not read; headers that do not all tell the sex.

Of FairMedFM's copy: ``overview.csv`` with names and sexes, labels up to 513 that do not fit eight bits, int16 Hounsfield units.
There are no more people in either, as there are none in the release.
"""

from __future__ import annotations

import warnings

import numpy as np

from replicas._volumes import ball, body, save

WOMEN = {1, 2, 8, 10, 12, 14, 15, 18, 19, 20}
PATIENTS = [f"3Dircadb1.{number}" for number in range(1, 21)]
STEP, SIDE, SIZE = 1.6, 0.75, 24
#: Headers of these say nothing of the sex.
SILENT = {4, 11, 15}
_TUMOURS = {
    1: [f"livertumor{number:02d}" for number in range(1, 8)],
    5: ["leftsurretumor", "rightsurretumor"],
    7: ["tumor"],
    8: ["livertumor01", "livertumor02", "livertumor03"],
    14: ["metastasectomie"],
    17: ["livertumor1", "livertumor2"],
    19: ["livertumors"],
    11: [],
    20: [],
}
#: Beside liver, skin, bone and tumours; everybody has a few of these.
_OTHERS = [
    "portalvein venoussystem leftlung",
    "portalvein lungs venacava",
    "gallbladder artery kidneys",
    "rightkidney leftkidney portalvein",
    "rightsurrenalGland leftsurrenalgland pancreas",
    "rightlung leftlung heart",
    "spleen stomach Stones",
    "surrenalgland smallintestin portalvein1",
    "liverkyst liverkyste livercyst",
    "biliarysystem metal colon",
    "bladder uterus sigmoid",
    "duodenum stomachoesophage lymphNodes",
    "aorta Hyperplasie artery",
]


def make(folder):
    root = folder / "3Dircadb1"
    for number in range(1, 21):
        write_patient(root / f"3Dircadb1.{number}", number)
    first = root / "3Dircadb1.1"
    (first / "MESHES_VTK").mkdir()
    (first / "MESHES_VTK" / "liver.vtk").write_text("# vtk DataFile Version 2.0\n")
    for part in ("PATIENT_DICOM", "MASKS_DICOM", "LABELLED_DICOM", "MESHES_VTK"):
        (first / f"{part}.zip").write_bytes(b"PK\5\6" + b"\0" * 18)
    write_series(first / "LABELLED_DICOM", np.ones(shape_of(1), np.uint16), 1, uid="1.2.9.1")
    return {"raw": root}


def shape_of(number):
    return (12 if number == 12 else 5 + number % 3, SIZE, SIZE)


def scan_of(number):
    """Return [D, H, W] Hounsfield units: feet to head, front to back, right to left."""
    shape = shape_of(number)
    units = body(shape, number)
    for name, where in drawn_of(number).items():
        units[where & (name != "skin")] += 60 if name == "liver" else 3 * len(name)
    units[np.arange(shape[0]), 0, 0] = 100 * np.arange(shape[0])  # tells slices apart
    return units


def drawn_of(number):
    """Return the structures by the names of their folders, [D, H, W] bool each: the liver in front and on the right."""
    shape = shape_of(number)
    rows, columns = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE), indexing="ij")
    inside = (rows / 0.7) ** 2 + (columns / 0.9) ** 2 <= 1
    drawn = {
        "skin": np.broadcast_to(inside, shape).copy(),
        "liver": ball(shape, (0.5, 0.4, 0.3), 5.0, (STEP, SIDE, SIDE)),
        "bone": _cube(shape, 17, 11, size=3),
    }
    for place, name in enumerate(_TUMOURS.get(number, ["livertumor"])):
        in_liver = name.startswith("livertumor") or name == "metastasectomie"
        drawn[name] = (
            _cube(shape, 7 + place, 6 + place % 2, size=2) if in_liver else _cube(shape, 14, 16 + 3 * place)
        )
    names = _OTHERS[number % len(_OTHERS)].split()
    for place, name in enumerate(names):
        drawn[name] = _cube(shape, 10, 8 + 4 * place, size=4)  # the first crosses the border of the liver
    if number == 2:
        drawn["portalvein"] = _cube(shape, 7, 7, size=3)  # over a part of the tumour
    return drawn


def _cube(shape, row, column, size=2):
    where = np.zeros(shape, bool)
    where[1 : shape[0] - 1, row : row + size, column : column + size] = True
    return where


def write_patient(folder, number):
    own = number % 7 == 0  # an unpacking program made a folder for each archive
    scan, masks = (
        folder / part / part if own else folder / part for part in ("PATIENT_DICOM", "MASKS_DICOM")
    )
    sex = "" if number in SILENT else "F" if number in WOMEN else "M"
    write_series(scan, scan_of(number), number, uid=f"1.2.3.{number}", PatientSex=sex)
    for place, (name, where) in enumerate(drawn_of(number).items()):
        pixels = where.astype(np.uint8) * (1 if number % 5 == 0 else 255)
        write_series(masks / name, pixels, number, uid=f"1.2.4.{number}.{place}")


def file_order(number, depth):
    """Return the place of each file's slice above the lowest: from the head, from the feet, or neither."""
    if number == 3:
        return np.random.default_rng(3).permutation(depth)
    return np.arange(depth)[::-1] if number % 2 else np.arange(depth)


def write_series(folder, voxels, number, *, uid, axes=(1, 0, 0, 0, 1, 0), **elements):
    """Write ``image_0``, ``image_1``, ...; `elements` win over what is usual, None leaves one out."""
    import pydicom

    folder.mkdir(parents=True)
    ct = "1.2.840.10008.5.1.4.1.1.2"
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = ct, pydicom.uid.ExplicitVRLittleEndian
    file = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    bits = voxels.dtype.itemsize * 8
    usual = {
        "SOPClassUID": ct,
        "SeriesInstanceUID": uid,
        "Modality": "CT",
        "PatientName": f"liver_{number:02d}^patient",
        "Rows": voxels.shape[1],
        "Columns": voxels.shape[2],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(voxels.dtype.kind == "i"),
        "PixelSpacing": [SIDE, SIDE],
        "SliceThickness": STEP,
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
        "ImageOrientationPatient": [float(value) for value in axes],
    }
    normal = np.cross(axes[:3], axes[3:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in usual.items():
            setattr(file, name, value)
        for name, place in enumerate(file_order(number, len(voxels))):
            meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = f"{uid}.{name + 1}"
            file.InstanceNumber = name + 1
            file.ImagePositionPatient = [
                float(value) for value in np.array([-9, -9, 0]) + place * STEP * normal
            ]
            file.PixelData = np.ascontiguousarray(voxels[place]).tobytes()
            for element, value in elements.items():
                if value is not None:
                    setattr(file, element, value)
                elif element in file:
                    delattr(file, element)
            file.save_as(folder / f"image_{name}", enforce_file_format=True)


NAMES = [f"patient_{number:02d}" for number in range(1, 21)]
LABELS = (1, 17, 33, 65, 97, 129, 193, 257, 321, 385, 449, 451, 453, 465, 481, 513)
SHAPE, SPACING = (6, 32, 32), (1.6, 0.75, 0.75)


def make_nnunet(folder):
    root = folder / "IRCADb"
    for number, name in enumerate(NAMES):
        image, mask = body(SHAPE, number), np.zeros(SHAPE, np.int16)
        liver = ball(SHAPE, (0.5, 0.5, 0.35), 6.0, SPACING)
        image[liver] += 60
        mask[liver] = 1
        for place, label in enumerate(LABELS[1:]):  # a small cube each, in rows of five
            mask[
                2:4, 2 + 3 * (place // 5) : 4 + 3 * (place // 5), 16 + 3 * (place % 5) : 18 + 3 * (place % 5)
            ] = label
        for kind, voxels in (("imagesTr", image), ("labelsTr", mask)):
            save(root / "Dataset003_3D-IRCADb" / kind / f"{name}.nii.gz", voxels, SPACING, axes="LAS")
    lines = [f"{name},{'FM'[number % 2]}" for number, name in enumerate(NAMES)]
    (root / "overview.csv").write_text("\n".join(["name,sex", *lines]) + "\n")
    return {"raw": root}
