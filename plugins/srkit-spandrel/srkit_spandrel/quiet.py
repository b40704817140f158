"""spandrel, imported without what torch has to say of its code: that is not for the user."""

import warnings

with warnings.catch_warnings(action="ignore"):
    import spandrel

__all__ = ["spandrel"]
