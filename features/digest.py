"""A hash of what a function computes: its code, and that of the helpers, constants and vocabulary it uses."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from types import FunctionType, MethodType, ModuleType
from typing import Any

from features.credibility import RULES
from features.entities import BID_WINDOWS, LINK_CAPS, LINK_EPOCH, MOST_COUNTED
from features.moment import Moment
from features.windows import WINDOWS

FOUND_BY = {
    "total": (WINDOWS,),
    "distinct": (WINDOWS, MOST_COUNTED),
    "bids": (RULES,),
    "rates": (RULES, BID_WINDOWS),
    "links": (LINK_CAPS, LINK_EPOCH),
}
"""Word that the evaluators find themselves -> the constants that say what it means."""

OWN = ("features",)
"""Packages whose functions are followed. What an evaluator finds (the abstract part of the vocabulary) has no code to
follow: its tests see to it that it keeps its meaning."""


def code_digest(function: Callable[..., Any]) -> str:
    """Eight hexadecimal digits that change when the code does.

    Names, docstrings, decorators, annotations and comments do not count.
    """
    parts: list[str] = []
    _collect(function, parts, set())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _collect(item: Any, parts: list[str], seen: set[int]) -> None:
    if isinstance(item, functools.partial):
        parts.append(repr(sorted(item.keywords.items())) + repr(item.args))
        return _collect(item.func, parts, seen)
    if isinstance(item, MethodType):
        item = item.__func__
    if not isinstance(item, FunctionType):
        parts.append(repr(item))
        return None
    if id(item) in seen:
        return None
    seen.add(id(item))
    parts.append(_code(item))
    for cell in item.__closure__ or ():
        if not isinstance(
            cell.cell_contents, int | float | str
        ):  # its address would be hashed: new in every process
            raise TypeError(
                f"{item.__qualname__} closes over an object; give it as an argument or a constant"
            )
        parts.append(repr(cell.cell_contents))
    for name in _names(item):
        if name in item.__globals__:
            _collect_global(name, item.__globals__[name], parts, seen)
        _collect_word(name, parts, seen)
    return None


def _collect_word(name: str, parts: list[str], seen: set[int]) -> None:
    """A word of the vocabulary that is written in terms of others."""
    parts.extend(repr(value) for value in FOUND_BY.get(name, ()))
    word = vars(Moment).get(name)
    function = word.fget if isinstance(word, property) else word
    if isinstance(function, FunctionType) and name not in Moment.__abstractmethods__:
        _collect(function, parts, seen)


def _collect_global(name: str, value: Any, parts: list[str], seen: set[int]) -> None:
    if isinstance(value, FunctionType):
        if value.__module__.split(".")[0] in OWN or value.__module__ == "__main__":
            _collect(value, parts, seen)
    elif isinstance(value, int | float | str | tuple | list | dict):
        parts.append(f"{name}={value!r}")
    elif not isinstance(value, ModuleType | type):
        parts.append(name)


def _names(function: FunctionType) -> list[str]:
    names = set(function.__code__.co_names)
    for constant in function.__code__.co_consts:
        if inspect.iscode(constant):
            names |= set(constant.co_names)
    return sorted(names)


def _code(function: FunctionType) -> str:
    """The function's arguments and body in a normal form."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    if not isinstance(tree, ast.FunctionDef):
        return ast.unparse(tree)
    tree.name, tree.decorator_list, tree.returns = "_", [], None
    for argument in (*tree.args.args, *tree.args.kwonlyargs):
        argument.annotation = None
    first = tree.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(tree.body) > 1:
        tree.body = tree.body[1:]
    return ast.unparse(tree)
