"""What the light installation lacks: libraries of models and of file formats, and what to say where one is needed."""

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
#: Module -> name of its package, of everything in the extra ``formats``, which ``run`` contains.
FORMAT_MODULES = {
    "h5py": "h5py",
    "pycocotools": "pycocotools",
    "pydicom": "pydicom",
    "SimpleITK": "SimpleITK",
}
_INSTALL_FORMATS = "pip install 'fairray[formats]'"


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
    """Turn a failed import of a library of the extras into what a user can do; None for any other module."""
    module = (error.name or "").partition(".")[0]
    for modules, install in ((RUN_MODULES, INSTALL), (FORMAT_MODULES, _INSTALL_FORMATS)):
        if module in modules:
            return UserError(
                f"this needs {modules[module]}, which is not installed here. Install it: {install}."
            )
    return None
