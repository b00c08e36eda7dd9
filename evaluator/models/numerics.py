"""The one setting in which every model runs: inference only, no hidden precision loss, no autotuned kernels.

``fp32`` means float32: TF32 convolutions, which cuDNN allows by default, are off. ``bf16`` runs matrix
products and convolutions in bfloat16 and keeps sums, norms and softmax in float32 (autocast). cuDNN chooses
its kernels by rule, not by timing them, so that a rerun takes the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal

from shards.errors import UserError

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16"]


@contextmanager
def inference(device: torch.device, precision: Precision) -> Iterator[None]:
    """Run the body without gradients, in the precision asked for; settings are restored afterwards."""
    import torch

    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        if device.type == "cuda":
            flags = torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False
            )
            stack.enter_context(flags)
        if precision == "bf16":
            stack.enter_context(torch.autocast(device.type, dtype=torch.bfloat16))
        yield


def resolve_device(name: str) -> torch.device:
    """Return the device of that name.

    Raises
    ------
    UserError
        If torch does not know the name, or the machine has no such device.
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {name!r}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise UserError(
            f"device {name!r} asked for, torch sees {found} CUDA device(s). Use 'cpu', or check the driver."
        )
    return device
