"""Made-up scans, written as files with axes in any order and direction."""

from __future__ import annotations

from pathlib import Path

import numpy as np

#: Letter of a direction -> (axis of the world, +1 or -1); the world runs to the left (L), the back (P) and the head (S).
WORLD = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}


def save(path, voxels, spacing=(3.0, 0.8, 0.7), *, axes="LPS", origin=(-12.5, -30.25, 100.0), packed=True):
    """Write a scan.

    Parameters
    ----------
    path
        ``.nii``, ``.nii.gz``, ``.mha``, ...; folders are made.
    voxels
        [D, H, W]: from feet to head, front to back, right to left.
    spacing
        (slice, row, column) in mm.
    axes
        Directions in which the file's first, second and third axis run. NIfTI files of KiTS23 have ``"IPL"`` or the like.
    origin
        Place of ``voxels[0, 0, 0]`` in mm (left, back, head).
    packed
        Whether a MetaImage's voxels are compressed.
    """
    import SimpleITK as sitk

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    world = np.asarray(voxels).transpose(2, 1, 0)  # [x, y, z]
    order = [WORLD[letter][0] for letter in axes]
    place = np.array(origin, float)
    steps = np.array(spacing[::-1], float)
    directions = np.zeros((3, 3))
    for number, letter in enumerate(axes):
        axis, sign = WORLD[letter]
        directions[axis, number] = sign
        if sign < 0:
            place[axis] += steps[axis] * (world.shape[axis] - 1)
            world = np.flip(world, axis)
    image = sitk.GetImageFromArray(np.ascontiguousarray(world.transpose(order).transpose(2, 1, 0)))
    image.SetSpacing([float(steps[axis]) for axis in order])
    image.SetOrigin(place.tolist())
    image.SetDirection(directions.ravel().tolist())
    sitk.WriteImage(image, str(path), useCompression=packed)
    return path


def ball(shape, centre, radius, spacing=(1.0, 1.0, 1.0)):
    """Return where a ball (mm, centre as shares of the volume) is: bool of `shape`."""
    grids = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    squares = [
        ((grid - share * (n - 1)) * mm) ** 2
        for grid, share, n, mm in zip(grids, centre, shape, spacing, strict=True)
    ]
    return sum(squares) <= radius**2


def body(shape, seed, *, air=-1000, tissue=40, noise=10):
    """Return int16 values like those of a CT: an ellipse of tissue in air, noise, a gradient from side to side."""
    generator = np.random.default_rng(seed)
    rows, columns = np.meshgrid(np.linspace(-1, 1, shape[1]), np.linspace(-1, 1, shape[2]), indexing="ij")
    inside = (rows / 0.7) ** 2 + (columns / 0.9) ** 2 <= 1
    flat = np.where(inside, tissue + 15 * columns, air)
    return np.rint(flat + generator.normal(0, noise, shape)).astype(np.int16)
