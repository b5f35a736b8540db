"""Feast, loaded without its checks of types, which are more than half of what loading it takes, and without a say in
which warnings are shown.

Feast marks its classes for typeguard, which parses and compiles a whole module again for each of their functions. That
is some five seconds of processor time in every process, for checks of what this package alone hands to Feast. Modules
of Feast that it loads later, as its source for MLflow, keep theirs.

Feast also asks for the deprecations of every library to be shown, in front of what a command has asked for
(:func:`serving.cli.main`): users would read what libraries tell each other about a future release.
"""

from __future__ import annotations

import threading
import warnings
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
            with warnings.catch_warnings():  # puts back what was asked for before
                import feast
        finally:
            typeguard.typechecked = checked
    return feast


def _unchecked(target: Any = None, **_: Any) -> Any:
    """Stands in for the decorator, with and without options."""
    return target if target is not None else _as_it_is


def _as_it_is(target: Callable[..., Any]) -> Callable[..., Any]:
    return target
