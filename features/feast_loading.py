"""Feast, loaded without its checks of types: they are more than half of what loading it takes.

Feast marks its classes for typeguard, which parses and compiles a whole module again for each of their functions. That
is some five seconds of processor time in every process, for checks of what this package alone hands to Feast. Modules
of Feast that it loads later, as its source for MLflow, keep theirs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_LOADING = threading.Lock()


def load_feast() -> Any:
    """The package ``feast``. Call it before anything else of Feast is imported; later it costs nothing."""
    import typeguard

    with _LOADING:
        checked = typeguard.typechecked
        typeguard.typechecked = _unchecked
        try:
            import feast
        finally:
            typeguard.typechecked = checked
    return feast


def _unchecked(target: Any = None, **_: Any) -> Any:
    """Stands in for the decorator, with and without options."""
    return target if target is not None else _as_it_is


def _as_it_is(target: Callable[..., Any]) -> Callable[..., Any]:
    return target
