"""Environment that Ray must find before it is imported: it reads its authentication mode then, and never again."""

from __future__ import annotations

import os
import secrets


def prepare_environment(*, joins_cluster: bool) -> None:
    """Turn Ray's token authentication on; values the user has set win.

    Parameters
    ----------
    joins_cluster
        A running cluster has its own token, which the user or the batch script provides; a Ray started here gets a random
        one that lives in this process's environment only (never on a command line or in a file).
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # CPU actors keep sight of the GPUs they do not use
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    if not joins_cluster:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
