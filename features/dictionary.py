"""The one registry of features. Modules of definitions add to it; :mod:`features.definitions` brings them together."""

from __future__ import annotations

from features.registry import Registry

FEATURES = Registry()
define = FEATURES.define
