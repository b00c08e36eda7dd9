"""Decodes DICOM files that pydicom has no decoder for, with SimpleITK's GDCM in a process of its own.

Why: GDCM's decoders can crash on damaged bytes, which would end the whole conversion. Guarantee: such a file costs one sample;
the process is started again for the next. It ends when this one does, however that happens, because its input ends then.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from shards.adapter import UnreadableSample

_CHILD = Path(__file__).with_name("_gdcm_child.py")


def decode_by_gdcm(path: Path) -> NDArray[Any]:
    """Return a file's pixels: rescaled, and of MONOCHROME1 inverted.

    Raises
    ------
    UnreadableSample
        ``decode_error`` if they cannot be decoded.
    """
    return _decoder(os.getpid()).decode(path)


class _Decoder:
    """The other process, started when it is first needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, path: Path) -> NDArray[Any]:
        """Ask for one file; start the process again if it crashed on the one before."""
        data = self._ask(path)
        if not data:
            raise UnreadableSample("decode_error", f"the compressed pixels of {path.name} cannot be decoded")
        values = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        return values[0] if values.ndim > 2 and len(values) == 1 else values

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            with contextlib.suppress(BrokenPipeError):  # closing writes what was not read
                process.communicate()

    def _ask(self, path: Path) -> bytes:
        """Return the answer; nothing if the file cannot be decoded, or crashed the process."""
        question = json.dumps(str(path.absolute())).encode() + b"\n"
        asked, answers = self._pipes()
        try:
            asked.write(question)
            asked.flush()
        except BrokenPipeError:  # something ended it since the last file
            self.close()
            asked, answers = self._pipes()
            asked.write(question)
            asked.flush()
        head = answers.read(8)
        size = int.from_bytes(head, "big")
        data = answers.read(size)
        if len(head) < 8 or len(data) < size:
            self.close()
            return b""
        return data

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process is None:
            self._process = self._start()
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("a process that was started with pipes has none")
        return self._process.stdin, self._process.stdout

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own script and interpreter
            [sys.executable, "-P", str(_CHILD)],  # -P: modules beside the script are not to be found
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders write there of every damaged byte
        )


@functools.cache
def _decoder(pid: int) -> _Decoder:
    """Return this process's decoder: a fork does not share its parent's."""
    decoder = _Decoder()
    atexit.register(lambda: decoder.close() if os.getpid() == pid else None)
    return decoder
