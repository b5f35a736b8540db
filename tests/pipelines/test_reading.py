"""Cards read from photos: what is read, what the rules doubt, and what a photo may not do."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from features.catalogue import load_catalogue
from pipelines.recycling.card_fields import Line
from pipelines.recycling.card_photo import MAX_BYTES, PhotoRefused, open_photo, stripped
from pipelines.recycling.proposals import Proposal, propose
from pipelines.recycling.reading import CardReader
from pipelines.simulation.card_images import KINDS, draw_card
from serving.commands.bench_ocr import compared
from serving.commands.read_card import masked

CATALOGUE = load_catalogue()
TODAY = date(2026, 6, 1)
NUMBER, SECRET = "12345678901234567", "123456789012345678"


@pytest.fixture(scope="module")
def reader() -> CardReader:
    return CardReader()


def image(size: tuple[int, int] = (400, 300), *, form: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "white").save(out, form, **options)
    return out.getvalue()


def line(text: str, *, row: int, left: float = 0.0, sure: float = 0.99, tilt: float = 0.0) -> Line:
    """A line 20 high and 10 wide a letter, in the given row; ``tilt``: pixels down by pixel right."""
    right = left + 10 * len(text)
    return Line(text, sure, (left, 40 * row + tilt * left), (right, 40 * row + tilt * right), 20.0)


def card(
    *,
    number: str = NUMBER,
    secret: str = SECRET,
    face: str = "面值 100 元",
    until: str = "有效期至：2027-12-31",
    **more,
) -> Proposal:
    """The proposal of a printed China Mobile card."""
    lines = [
        line("中国移动充值卡", row=0),
        line(face, row=1),
        line(f"序列号：{number}", row=2),
        line(f"密码：{secret}", row=3),
        line(until, row=4),
    ]
    return propose(lines, bar_codes=more.pop("bar_codes", ()), catalogue=CATALOGUE, today=TODAY, **more)


@pytest.mark.parametrize("seed", range(6))
def test_rendered_cards_are_read(reader, seed):
    """Cards with Chinese text, blurred, tilted, unevenly lit: type, number, secret, face value and expiry are right."""
    photo = draw_card(rng=random.Random(seed), kind=KINDS[seed])
    proposal = reader.read(photo.jpeg, catalogue=CATALOGUE, today=TODAY)
    assert all(compared(photo, proposal).values()), compared(photo, proposal)
    assert "bar_code" in proposal.number.checked
    assert photo.number not in repr(proposal)
    assert photo.secret not in repr(proposal)


def test_a_photo_held_sideways_is_turned(reader):
    """A photo without EXIF that lies on its side is read as if it stood."""
    photo = draw_card(rng=random.Random(1), kind=KINDS[1])
    out = io.BytesIO()
    Image.open(io.BytesIO(photo.jpeg)).rotate(90, expand=True).save(out, "JPEG", quality=90)
    proposal = reader.read(out.getvalue(), catalogue=CATALOGUE, today=TODAY)
    assert all(compared(photo, proposal).values())


def test_a_picture_without_a_card_is_full_of_doubts(reader):
    """Nothing is invented: no field is found and each says so."""
    proposal = reader.read(image(), catalogue=CATALOGUE, today=TODAY)
    assert proposal.card_type is None
    assert set(proposal.doubts()) == {"card_type", "number", "secret", "face_value", "expires_on"}
    assert all("not_found" in doubts for doubts in proposal.doubts().values())


def test_a_plain_card_passes_every_rule():
    """Name and format agree, patterns fit, the face value is usual, the date is one: nothing is doubted."""
    proposal = card(bar_codes=[NUMBER])
    assert (proposal.card_type, proposal.face_value_fen, proposal.expires_on) == (
        "china_mobile",
        10_000,
        date(2027, 12, 31),
    )
    assert proposal.candidates[0].because == "name_and_format"
    assert proposal.number.checked == ("number_pattern", "bar_code")
    assert proposal.secret.checked == ("secret_pattern",)
    assert (proposal.face_value.checked, proposal.expiry.checked) == (("face_values",), ("calendar",))
    assert proposal.doubts() == {}


@pytest.mark.parametrize(
    ("changed", "field", "doubt"),
    [
        ({"number": NUMBER[:-1]}, "number", "wrong_format"),
        ({"number": NUMBER[:-1] + "O"}, "number", "wrong_format"),
        ({"secret": SECRET + "1"}, "secret", "wrong_format"),
        ({"bar_codes": [NUMBER[:-1] + "8"]}, "number", "bar_code_differs"),
        ({"face": "面值 101 元"}, "face_value", "unusual_face_value"),
        ({"face": "面值 1000 元"}, "face_value", "above_legal_maximum"),
        ({"until": "有效期至 2025-12-31"}, "expires_on", "expired"),
        ({"until": "有效期至 2077-12-31"}, "expires_on", "unlikely_date"),
        ({"until": "有效期至 2027-02-30"}, "expires_on", "not_found"),
        ({"second": [line(f"密码：{SECRET[:-1]}9", row=3)]}, "secret", "readings_differ"),
    ],
)
def test_wrong_reads_are_doubted(changed, field, doubt):
    """A misread digit that a rule can see leaves a doubt on its field, however sure the reader was."""
    doubts = card(**changed).doubts()
    assert doubt in doubts[field]


def test_two_readings_that_agree_count_as_a_check():
    """A second look that says the same is one more rule met."""
    again = [line(f"密码：{SECRET}", row=3)]
    assert "second_reading" in card(second=again).secret.checked


def test_letters_that_look_alike_are_doubted_where_both_would_fit():
    """A secret of letters and digits with an O is not taken for sure although its format fits."""
    lines = [
        line("京东E卡", row=0),
        line("卡号 JDV12345678901234567", row=1),
        line("卡密 ABCO-1234-5678-EFGH", row=2),
    ]
    proposal = propose(lines, bar_codes=(), catalogue=CATALOGUE, today=TODAY)
    assert (proposal.card_type, proposal.secret.checked) == ("jd_ecard", ("secret_pattern",))
    assert "lookalikes" in proposal.secret.doubts


def test_a_type_without_a_pattern_is_checked_by_eye_or_bar_code():
    """Without a pattern a number counts as unchecked, unless the bar code says the same."""
    lines = [line("沃尔玛购物卡", row=0), line("卡号 2326 9900 1234 5678 901", row=1)]
    alone = propose(lines, bar_codes=(), catalogue=CATALOGUE, today=TODAY)
    assert alone.number.doubts == ("no_pattern_to_check",)
    coded = propose(lines, bar_codes=["2326990012345678901"], catalogue=CATALOGUE, today=TODAY)
    assert coded.number.doubts == ()
    assert coded.number.checked == ("bar_code",)


def test_a_number_that_only_the_bar_code_has_is_taken_from_it():
    """Where no printed number is found, the bar code's is proposed, with where it came from."""
    proposal = propose(
        [line("沃尔玛购物卡", row=0)],
        bar_codes=["2326990012345678901", "https://x.example/"],
        catalogue=CATALOGUE,
        today=TODAY,
    )
    assert (proposal.number.value.open(), proposal.number.source) == ("2326990012345678901", "bar_code")


def test_a_value_stands_to_the_right_along_the_slope_or_below():
    """A value may be a box of its own: to the right on a tilted photo, in several pieces, or in the next line."""
    tilted = [
        line("卡号：", row=1, tilt=0.15),
        line("1234 5678 9012", row=1, left=60, tilt=0.15),
        line("34567", row=1, left=215, tilt=0.15),
        line("密码", row=3, tilt=0.15),
        line(SECRET, row=4, tilt=0.15),
    ]
    proposal = propose(tilted, bar_codes=(), catalogue=CATALOGUE, today=TODAY)
    assert proposal.number.value.open() == NUMBER
    assert proposal.secret.value.open() == SECRET


def test_a_format_that_several_types_share_asks_which():
    """Codes alone name candidates, never one forced answer."""
    lines = [line("卡号 1234567890123456", row=1), line("密码 12345678901234567", row=2)]
    proposal = propose(lines, bar_codes=(), catalogue=CATALOGUE, today=TODAY)
    assert {one.card_type for one in proposal.candidates} == {"china_mobile_fujian", "china_mobile_jiangsu"}
    assert proposal.type_doubts == ("several_card_types",)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.text(max_size=30), st.integers(0, 10), st.floats(0, 1000)), max_size=12))
def test_no_text_breaks_the_rules(texts):
    """Whatever a photo says, there is a proposal, and what was not found is doubted."""
    lines = [line(text, row=row, left=left) for text, row, left in texts]
    proposal = propose(lines, bar_codes=[text for text, _, _ in texts], catalogue=CATALOGUE, today=TODAY)
    if proposal.face_value_fen is None:
        assert "not_found" in proposal.face_value.doubts
    if proposal.expires_on is None:
        assert "not_found" in proposal.expiry.doubts


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"not a photo", "not_a_photo"),
        (b"%PDF-1.7 " + b"x" * 500, "not_a_photo"),
        (image(form="GIF"), "not_a_photo"),
        (image((100, 400)), "too_small"),
        (image((12_001, 200)), "too_many_pixels"),
        (image((9_000, 9_000)), "too_many_pixels"),
        (image()[:-200], "damaged"),
        (image(form="JPEG")[:700], "damaged"),
        (b"\xff" * (MAX_BYTES + 1), "too_large"),
    ],
)
def test_photos_that_cannot_be_read_are_refused_by_name(content, code):
    """Format by content, size before decoding, damage on decoding: each has a name."""
    with pytest.raises(PhotoRefused) as refusal:
        open_photo(content)
    assert refusal.value.code == code


def test_a_bomb_is_refused_before_it_is_decoded():
    """A small file whose header claims a huge picture is refused by the header."""
    bomb = bytearray(image())
    bomb[16:24] = (30_000).to_bytes(4, "big") + (30_000).to_bytes(4, "big")
    with pytest.raises(PhotoRefused):
        open_photo(bytes(bomb))


def test_moving_pictures_are_refused():
    """An animation has no one picture to read."""
    out = io.BytesIO()
    frames = [Image.new("RGB", (300, 300), colour) for colour in ("red", "blue")]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(PhotoRefused) as refusal:
        open_photo(out.getvalue())
    assert refusal.value.code == "animated"


def test_a_turned_photo_is_upright_and_bare():
    """EXIF turns the photo and is then gone, with the place and device it told of."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "TelephoneMaker"
    photo = open_photo(image((400, 300), form="JPEG", exif=exif))
    assert photo.image.size == (300, 400)
    kept = stripped(photo)
    assert b"TelephoneMaker" not in kept
    assert not Image.open(io.BytesIO(kept)).getexif()


def test_large_photos_are_reduced():
    """A photo of a good camera is read at 2,000 pixels."""
    assert max(open_photo(image((5_000, 3_000), form="JPEG")).image.size) <= 2_000


@pytest.mark.parametrize(
    ("code", "shown", "text"),
    [
        ("1234567890123456", 4, "••••••••••••3456"),
        ("12345678", 4, "••••••••"),
        ("ABCD", 0, "••••"),
        ("", 4, ""),
    ],
)
def test_masking_shows_the_end_of_long_numbers_only(code, shown, text):
    """A secret shows nothing but its length; a short number neither."""
    assert masked(code, shown=shown) == text


def test_the_command_masks_number_and_secret(tmp_path, capsys):
    """`huika read-card` prints the proposal without number or secret."""
    from serving.cli import main

    photo = draw_card(rng=random.Random(3), kind=KINDS[1], rough=0.3)
    (tmp_path / "card.jpg").write_bytes(photo.jpeg)
    with pytest.raises(SystemExit) as ended:
        main(["read-card", str(tmp_path / "card.jpg"), "--home", str(tmp_path)])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "china_mobile" in shown
    assert photo.number not in shown
    assert photo.secret not in shown
    assert photo.number[-4:] in shown


def test_the_flow_is_free_of_heavy_libraries():
    """Adapters, reading and lots load neither models' libraries nor the readers before the first photo."""
    heavy = (
        "lightgbm",
        "sklearn",
        "mlflow",
        "feast",
        "bentoml",
        "great_expectations",
        "rapidocr",
        "cv2",
        "onnxruntime",
    )
    code = (
        "import sys, pipelines.recycling.adapters, pipelines.recycling.reading, pipelines.recycling.lots; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
