"""From a mitigation's options to the method that trains."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from evaluator.mitigation.method import Method
from evaluator.mitigation.options import MitigationOptions

#: name -> module and class of this package; imported when used, because most need torch.
_METHODS = {
    "resampling": "rebalancing:ResamplingMethod",
    "reweighting": "rebalancing:ReweightingMethod",
    "group_dro": "group_dro:GroupDroMethod",
    "domain_ind": "domain_ind:DomainIndMethod",
    "swad": "swad:SwadMethod",
    "sam": "sam:SamMethod",
    "fin": "fin:FinMethod",
    "fis": "fis:FisMethod",
    "fairclip": "fairclip:FairClipMethod",
    "laftr": "laftr:LaftrMethod",
    "cfair": "cfair:CFairMethod",
    "lnl": "lnl:LnlMethod",
    "end": "end:EnDMethod",
    "odr": "odr:OdrMethod",
}


def make_method(options: MitigationOptions) -> Method:
    """Return a fresh method for one fit."""
    if options.name == "erm":
        return Method()
    module, _, name = _METHODS[options.name].partition(":")
    make: Callable[[MitigationOptions], Method] = getattr(
        import_module(f"evaluator.mitigation.{module}"), name
    )
    return make(options)
