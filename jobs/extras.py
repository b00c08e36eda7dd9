"""What the light installation lacks: libraries that run models, and what to say where one is needed."""

from __future__ import annotations

import importlib.util

from shards.errors import UserError

#: Module -> name of its package, of everything in the extra ``run``.
RUN_MODULES = {
    "monai": "monai",
    "open_clip": "open_clip_torch",
    "ray": "ray",
    "safetensors": "safetensors",
    "segment_anything": "segment-anything",
    "sklearn": "scikit-learn",
    "timm": "timm",
    "torch": "torch",
    "torchvision": "torchvision",
}
INSTALL = "pip install 'fairray[run]'"


def missing_packages() -> tuple[str, ...]:
    """Return the packages of the extra ``run`` that are not installed."""
    return tuple(
        package for module, package in RUN_MODULES.items() if importlib.util.find_spec(module) is None
    )


def require_run() -> None:
    """Refuse to run a study where the libraries for it are not installed.

    Raises
    ------
    UserError
        Names them, and how to install them.
    """
    missing = missing_packages()
    if missing:
        raise UserError(
            f"running a study needs {', '.join(missing)}, which are not installed here. Install them: {INSTALL}."
        )


def explain_import(error: ModuleNotFoundError) -> UserError | None:
    """Turn a failed import of a library of the extra ``run`` into what a user can do; None for any other module."""
    package = RUN_MODULES.get((error.name or "").partition(".")[0])
    if package is None:
        return None
    return UserError(f"this needs {package}, which is not installed here. Install it: {INSTALL}.")
