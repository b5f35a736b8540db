"""Reads a card from a photo: text with rapidocr's models (they come with its wheel; nothing is fetched), bar and QR
codes with zxing-cpp, and the rules of :mod:`pipelines.recycling.proposals` over both."""

from __future__ import annotations

import math
import threading
from datetime import date
from typing import TYPE_CHECKING, Any

from features.catalogue import Catalogue
from pipelines.recycling.card_fields import Line, pieces
from pipelines.recycling.card_photo import open_photo
from pipelines.recycling.proposals import Proposal, propose

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

MAX_LINES = 200
"""A photo with more lines than a card can have is read no further."""
TURNS, ENOUGH_FIELDS = (0, 90, 270, 180), 3
"""Degrees by which a photo is turned until this many of its labelled fields are found."""
SECOND_LOOK = 0.75
"""The second look is at the photo this much smaller: other pixels, so another chance to be wrong."""


class CardReader:
    """Loads the models at the first photo and keeps them. One photo at a time; hold one reader per process.

    ``threads``: of the model runtime. ``second_look``: read the photo twice, at two sizes, and doubt what differs; it
    costs about as much again.
    """

    def __init__(self, *, threads: int = 1, second_look: bool = False) -> None:
        self._threads = threads
        self._second_look = second_look
        self._engine: Any = None
        self._one_at_a_time = threading.Lock()

    def read(self, content: bytes, *, catalogue: Catalogue, today: date) -> Proposal:
        """What the photo seems to show. Raises PhotoRefused; a photo without a card gives a proposal of doubts."""
        import numpy as np

        photo = open_photo(content)
        with self._one_at_a_time:
            image, lines = self._upright(photo.image)
            second = self._lines(_smaller(image)) if self._second_look else ()
        return propose(
            lines,
            bar_codes=bar_codes(np.asarray(image)),
            catalogue=catalogue,
            today=today,
            second=second,
            photo_sha256=photo.sha256,
        )

    def _upright(self, image: Image.Image) -> tuple[Image.Image, list[Line]]:
        """The photo turned so that most labels are found, and its lines; nearly always the first look is enough."""
        looks: list[tuple[int, Image.Image, list[Line]]] = []
        for turn in TURNS:
            turned = image.rotate(turn, expand=True) if turn else image
            lines = self._lines(turned)
            looks.append((len(pieces(lines)), turned, lines))
            if looks[-1][0] >= ENOUGH_FIELDS:
                break
        _, best, lines = max(looks, key=lambda look: look[0])
        return best, lines

    def _lines(self, image: Image.Image) -> list[Line]:
        import numpy as np

        pixels = np.asarray(image)
        found = self._loaded()(np.ascontiguousarray(pixels[:, :, ::-1]))  # the models were trained on BGR
        if found.boxes is None or found.txts is None or found.scores is None:
            return []
        read = zip(found.boxes, found.txts, found.scores, strict=True)
        return [_line(box, text, score) for box, text, score in list(read)[:MAX_LINES]]

    def _loaded(self) -> Any:
        if self._engine is None:
            from rapidocr import RapidOCR

            runtime = "EngineConfig.onnxruntime"
            self._engine = RapidOCR(
                params={
                    "Global.log_level": "critical",  # it would log what it reads
                    f"{runtime}.intra_op_num_threads": self._threads,
                    f"{runtime}.inter_op_num_threads": self._threads,
                }
            )
        return self._engine


def bar_codes(pixels: np.ndarray) -> tuple[str, ...]:
    """The texts of all bar and QR codes in an image, each once, as they were found."""
    import zxingcpp

    found = zxingcpp.read_barcodes(pixels)
    return tuple(dict.fromkeys(code.text for code in found if code.valid and code.text))


def _smaller(image: Image.Image) -> Image.Image:
    return image.resize((round(image.width * SECOND_LOOK), round(image.height * SECOND_LOOK)))


def _line(box: np.ndarray, text: str, score: float) -> Line:
    """``box``: corners (4, 2) from the top left, clockwise."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = ((float(x), float(y)) for x, y in box)
    return Line(
        text=text,
        confidence=float(score),
        left=((x0 + x3) / 2, (y0 + y3) / 2),
        right=((x1 + x2) / 2, (y1 + y2) / 2),
        height=math.hypot(x3 - x0, y3 - y0),
    )
