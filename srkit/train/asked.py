"""What a loss asks for beside sr and hr, by its keyword-only parameters."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from srkit.errors import PluginError

OFFERED = ("lr", "average")


def asked_of(loss: Callable[..., Any]) -> tuple[str, ...]:
    """Those of OFFERED that a loss is given. PluginError where it needs what is not offered."""
    return tuple(name for name in keywords_of(loss) if name in OFFERED)


def needed_by(loss: Callable[..., Any]) -> tuple[str, ...]:
    """Those of OFFERED that a loss has no default for."""
    return tuple(name for name, has_default in keywords_of(loss).items() if name in OFFERED and not has_default)


def keywords_of(loss: Callable[..., Any]) -> dict[str, bool]:
    """The keyword-only parameters of a loss's call, and whether each has a default."""
    call = loss.forward if isinstance(loss, nn.Module) else loss
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):  # of a callable that does not say
        return {}
    found = {p.name: p.default is not p.empty for p in parameters if p.kind is p.KEYWORD_ONLY}
    unknown = [name for name, has_default in found.items() if name not in OFFERED and not has_default]
    if unknown:
        raise PluginError(
            f"a loss is called with '{unknown[0]}', which is not offered; beside sr and hr there are "
            f"{' and '.join(OFFERED)}"
        )
    return found
