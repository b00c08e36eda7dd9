"""A process of its own that decodes DICOM files with GDCM (see :mod:`shards.formats._gdcm`); run as a script.

It reads paths from standard input, one a line as JSON, and answers each on standard output: the number of bytes that follow
(8 bytes, big endian), then the pixels as ``.npy``; no bytes follow if the file cannot be decoded. It ends with its input.
"""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import SimpleITK as sitk


def decode(path: str) -> bytes:
    """Return a file's rescaled values as ``.npy``; nothing if GDCM says that it cannot."""
    try:
        values = sitk.GetArrayFromImage(sitk.ReadImage(path, imageIO="GDCMImageIO"))
    except RuntimeError:
        return b""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def main() -> None:
    """Answer until there is nothing to read."""
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    for line in sys.stdin:
        data = decode(json.loads(line))
        sys.stdout.buffer.write(len(data).to_bytes(8, "big") + data)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
