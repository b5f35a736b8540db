"""Photos of made-up gift cards: what a seller's telephone would send, with the truth beside it.

The numbers and secrets are drawn at random in the format of their card type and belong to no real card. Chinese text is
drawn with two small fonts that stand beside this module (`fonts/`), digits also with those of matplotlib, so a picture
is the same on every machine. Blur, skew, light and JPEG noise are mild, as of a hand held over a table.
"""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

FONTS = Path(__file__).parent / "fonts"
CHINESE_FONTS = ("noto_sans_sc_subset.otf", "noto_serif_sc_subset.otf")
DIGIT_FONTS = ("DejaVuSansMono.ttf", "DejaVuSans.ttf", "DejaVuSansMono-Bold.ttf")
WIDTH, HEIGHT = 1_100, 700
LETTERS_AND_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
PAPERS = ((250, 250, 246), (226, 236, 250), (252, 232, 226), (232, 246, 230), (255, 244, 214))


@dataclass(frozen=True)
class CardKind:
    """How the cards of one type look: the words printed before each field, and how its codes are drawn and grouped."""

    card_type: str
    brand: str
    number_label: str
    secret_label: str
    draw_number: Callable[[random.Random], str]
    draw_secret: Callable[[random.Random], str]
    faces_yuan: tuple[int, ...]
    number_group: int = 0
    secret_group: int = 4
    separator: str = " "


@dataclass(frozen=True)
class CardPhoto:
    """A rendered photo and what is printed on it; number and secret without separators."""

    jpeg: bytes
    card_type: str
    face_value_fen: int
    expires_on: date
    number: str = ""
    secret: str = ""


def _digits(count: int, start: str = "") -> Callable[[random.Random], str]:
    return lambda rng: start + "".join(rng.choices("0123456789", k=count - len(start)))


def _letters(count: int) -> Callable[[random.Random], str]:
    return lambda rng: "".join(rng.choices(LETTERS_AND_DIGITS, k=count))


def _telecom(rng: random.Random) -> str:
    return _digits(3)(rng) + "1" + _digits(15)(rng)


KINDS = (
    CardKind(
        "jd_ecard",
        "京东E卡",
        "卡号",
        "卡密",
        _digits(20, "JDV"),
        _letters(16),
        (100, 200, 500, 1000),
        separator="-",
    ),
    CardKind(
        "china_mobile", "中国移动充值卡", "序列号", "密码", _digits(17), _digits(18), (30, 50, 100, 300), 0, 4
    ),
    CardKind(
        "china_unicom", "中国联通充值卡", "卡号", "密码", _digits(15), _digits(19), (50, 100, 300), 0, 4
    ),
    CardKind("china_telecom", "中国电信充值卡", "卡号", "密码", _telecom, _digits(18), (50, 100, 200), 0, 3),
    CardKind("junnet", "骏网一卡通", "卡号", "密码", _digits(16), _digits(16), (30, 50, 100, 500), 4, 4),
    CardKind(
        "walmart_cn", "沃尔玛购物卡", "卡号", "卡密", _digits(19, "2326"), _digits(6), (100, 500, 1000), 4, 0
    ),
    CardKind(
        "freshippo", "盒马礼品卡", "卡号", "卡密", _digits(16, "80"), _digits(12), (100, 200, 500), 4, 4
    ),
)
DATE_FORMS = ("{0:%Y-%m-%d}", "{0:%Y}年{0:%m}月{0:%d}日", "{0:%Y}/{0:%m}/{0:%d}", "{0:%Y.%m.%d}")
FACE_FORMS = ("面值 {0} 元", "面值：{0}元", "面值 ¥{0}", "面值人民币{0}元")


def draw_card(*, rng: random.Random, kind: CardKind | None = None, rough: float = 1.0) -> CardPhoto:
    """A photo of a card of ``kind``, or of any; ``rough`` 0 is a clean print, 1 a usual photo, 2 a poor one."""
    kind = kind or rng.choice(KINDS)
    number, secret = kind.draw_number(rng), kind.draw_secret(rng)
    face, expires = (
        rng.choice(kind.faces_yuan),
        date(rng.randint(2027, 2031), rng.randint(1, 12), rng.randint(1, 28)),
    )
    card = _printed(kind, number=number, secret=secret, face=face, expires=expires, rng=rng)
    return CardPhoto(
        _photographed(card, rng=rng, rough=rough), kind.card_type, face * 100, expires, number, secret
    )


def _printed(
    kind: CardKind, *, number: str, secret: str, face: int, expires: date, rng: random.Random
) -> Image.Image:
    chinese, digits = str(FONTS / rng.choice(CHINESE_FONTS)), _digit_font(rng.choice(DIGIT_FONTS))
    paper = Image.new("RGB", (WIDTH, HEIGHT), rng.choice(PAPERS))
    pen = ImageDraw.Draw(paper)
    pen.rectangle((0, 0, WIDTH, 120), fill=rng.choice(((180, 30, 40), (20, 70, 150), (30, 110, 70))))
    pen.text((40, 30), kind.brand, font=ImageFont.truetype(chinese, 58), fill="white")
    words = ImageFont.truetype(chinese, 38)
    pen.text(
        (40, 150),
        rng.choice(FACE_FORMS).format(face),
        font=ImageFont.truetype(chinese, 48),
        fill=(40, 40, 40),
    )
    codes = ImageFont.truetype(digits, 36)
    lines = (
        (240, kind.number_label, _grouped(number, kind.number_group, kind.separator)),
        (320, kind.secret_label, _grouped(secret, kind.secret_group, kind.separator)),
    )
    pen.rectangle((30, 310, WIDTH - 200, 375), fill=(205, 205, 205))  # the strip that was scratched off
    for top, label, code in lines:
        pen.text((40, top), f"{label}：", font=words, fill=(20, 20, 20))
        pen.text(
            (60 + pen.textlength(f"{label}：", font=words), top + 6), code, font=codes, fill=(20, 20, 20)
        )
    until = rng.choice(DATE_FORMS).format(expires)
    pen.text((40, 400), f"有效期至：{until}", font=words, fill=(20, 20, 20))
    pen.text(
        (40, 640),
        "本卡不记名，不挂失，请刮开涂层使用",
        font=ImageFont.truetype(chinese, 26),
        fill=(90, 90, 90),
    )
    paper.paste(_bar_code(number), (40, 480))
    return paper


def _digit_font(name: str) -> str:
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name)


def _grouped(code: str, size: int, separator: str) -> str:
    return separator.join(re.findall(f".{{1,{size}}}", code)) if size else code


def _bar_code(number: str) -> Image.Image:
    import numpy as np
    import zxingcpp

    code = zxingcpp.create_barcode(number, zxingcpp.BarcodeFormat.Code128)
    bars = Image.fromarray(np.array(zxingcpp.write_barcode_to_image(code, scale=3)))
    return bars.resize((min(bars.width, 900), 130), Image.Resampling.NEAREST).convert("RGB")


def _photographed(card: Image.Image, *, rng: random.Random, rough: float) -> bytes:
    """The card on a table: turned and tilted a little, unevenly lit, slightly out of focus, compressed."""
    table = Image.new(
        "RGB", (WIDTH + 200, HEIGHT + 200), rng.choice(((70, 60, 50), (120, 120, 125), (200, 190, 175)))
    )
    table.paste(card, (100, 100))
    turned = table.rotate(
        rng.uniform(-4, 4) * rough, resample=Image.Resampling.BICUBIC, fillcolor=(90, 90, 90)
    )
    seen = _tilted(turned, rng=rng, rough=rough)
    light = Image.linear_gradient("L").resize(seen.size).rotate(rng.choice((0, 180)))
    dim = ImageEnhance.Brightness(seen).enhance(1 - 0.35 * min(rough, 2))
    seen = Image.composite(seen, dim, light).filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.3) * rough))
    noise = Image.effect_noise(seen.size, 12 * rough).convert("RGB") if rough else seen
    out = io.BytesIO()
    Image.blend(seen, noise, 0.06 * min(rough, 2)).save(out, "JPEG", quality=rng.randint(60, 85))
    return out.getvalue()


def _tilted(image: Image.Image, *, rng: random.Random, rough: float) -> Image.Image:
    wide, high = image.size
    reach = 0.03 * rough
    corners = ((0, 0), (0, high), (wide, high), (wide, 0))
    pulled = [
        (x + rng.uniform(-reach, reach) * wide, y + rng.uniform(-reach, reach) * high) for x, y in corners
    ]
    quad = tuple(value for corner in pulled for value in corner)
    return image.transform(
        (wide, high), Image.Transform.QUAD, quad, resample=Image.Resampling.BICUBIC, fillcolor=(90, 90, 90)
    )
