"""What is computed: models, usages, metrics, statistics, audits and reports. Never imports Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evaluator.auditing.api import audit as audit

__all__ = ["audit"]


def __getattr__(name: str) -> Any:
    """Import what is exported here only when it is used."""
    if name == "audit":
        from evaluator.auditing.api import audit

        return audit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
