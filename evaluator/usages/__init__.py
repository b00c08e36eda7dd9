"""Ways of using a model: each module is one usage, and knows nothing of where or when it runs.

:data:`USAGES` lists them without importing any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evaluator.models.card import Ability
    from evaluator.usages.options import UsageOptions


@dataclass(frozen=True)
class Usage:
    """One way of using a model.

    Attributes
    ----------
    name
        Key in a study's ``usages``.
    summary
        One line for people.
    needs
        What a model must be able to do for it.
    options_name
        Class in :mod:`evaluator.usages.options`.
    """

    name: str
    summary: str
    needs: Ability
    options_name: str

    def options(self) -> type[UsageOptions]:
        """Return the class of its options (imports pydantic, not torch)."""
        from evaluator.usages import options

        kind: type[UsageOptions] = getattr(options, self.options_name)
        return kind


USAGES = {
    usage.name: usage
    for usage in (
        Usage("zero_shot", "compare images with texts that describe the classes", "text", "ZeroShotOptions"),
        Usage("linear_probe", "logistic regression on frozen features", "encode", "LinearProbeOptions"),
        Usage("segment", "masks from prompts derived from the true mask", "segment", "SegmentOptions"),
    )
}
