"""Values that must not be seen: they can be passed on and compared, and show nothing by themselves."""

from __future__ import annotations

import hmac
from typing import Any, NoReturn

SHOWN = "Secret(hidden)"


class Secret:
    """A text that no log, traceback, format, pickle or JSON shows. :meth:`open` alone gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def open(self) -> str:
        """The text itself. Whoever asks for it answers for where it goes."""
        return self._text

    def __repr__(self) -> str:
        return SHOWN

    __str__ = __repr__

    def __format__(self, form: str) -> str:
        return SHOWN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a secret is not written anywhere")
