"""The platform's own extras: every name becomes an input, and nothing else about the model changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from features.extras import ExtrasError, canonical_extras, extras_text
from models.frames import frame_of_columns
from models.fraud.extras import ExtraInputs, learn_extras
from models.fraud.model import FraudModel
from models.fraud.pyfunc import FraudPyfunc
from models.fraud.training import fit_fraud


def texts(rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Extras of trades and their fraud: a score and a word say all there is to know."""
    score, word = rng.normal(size=rows), rng.choice(["red", "blue", "green"], size=rows)
    risk = 1 / (1 + np.exp(-(2 * score + 2 * (word == "red") - 3.5)))
    values = [
        extras_text({"score: a [b]": float(one), "the word": str(other), "empty": None})
        for one, other in zip(score, word, strict=True)
    ]
    return np.array(values, dtype=object), rng.random(rows) < risk


def fitted(values: np.ndarray, fraud: np.ndarray) -> FraudModel:
    rows = len(fraud)
    return fit_fraud(
        columns={"extras": values, "card_face_cny": np.full(rows, 100.0)},
        fraud=fraud,
        submitted_at=np.arange(rows) * 60_000,
        names=("card_face_cny", "extras"),
        families={"card_face_cny": "card", "extras": "extras"},
    )


def test_extras_have_one_written_form():
    """Order, spaces, nulls and what is not finite make no difference; an empty object is null."""
    assert canonical_extras('{ "b": 1, "a": "x", "n": null }') == '{"a":"x","b":1.0}'
    assert extras_text({"b": float("nan"), "a": ""}) is None
    assert canonical_extras("{}") is None


@pytest.mark.parametrize("text", ["[1]", "7", "{", '{"a": [1]}', '{"a": {"b": 1}}', '{"": 1}'])
def test_what_is_no_object_of_plain_values_is_refused(text: str):
    """Lists, nested objects and nameless values are refused."""
    with pytest.raises(ExtrasError):
        canonical_extras(text)


@pytest.mark.parametrize("name", ["card_secret", "PIN password", "卡密"])
def test_a_name_of_a_secret_is_refused(name: str):
    """Extras are stored, logged and learned from; a secret must not get in by its name."""
    with pytest.raises(ExtrasError):
        extras_text({name: "x"})


def test_numbers_texts_and_rare_names_are_told_apart():
    """A name with any text is a text; names and words with fewer than 20 rows are left out."""
    rows = [extras_text({"n": 1.5, "t": "a" if row % 2 else 3}) for row in range(60)]
    rows += [extras_text({"rare": 1, "t": "seldom"})]
    found = learn_extras(rows)
    assert found == ExtraInputs(numbers=("n",), texts={"t": ("3", "a")})


def test_a_few_words_among_many_numbers_do_not_make_texts_of_them():
    """One word in twenty among many numbers is unknown; more words, words among few numbers and codes with leading
    zeros are told apart."""
    rows = [
        extras_text(
            {
                "km": "unknown" if row % 40 == 0 else row,
                "size": "large" if row % 8 == 0 else row,
                "rooms": "10+" if row % 40 == 0 else row % 4,
                "zip": f"0{row:04d}" if row % 40 == 0 else str(10_000 + row % 60),
            }
        )
        for row in range(1600)
    ]
    found = learn_extras(rows)
    assert found.numbers == ("km",)
    assert set(found.texts or {}) == {"rooms", "size", "zip"}
    assert (found.texts or {})["rooms"] == ("0", "1", "10+", "2", "3")
    given = found.inputs(np.array(['{"km":"unknown"}', '{"km":7}'], dtype=object))["extras.km"]
    np.testing.assert_array_equal(given, [np.nan, 7.0])


def test_a_number_means_the_same_however_it_is_written():
    """Texts that read as numbers are numbers, and a number among words is the word it would be written as."""
    written = learn_extras([extras_text({"n": str(row), "zip": f"{row:05d}"}) for row in range(60)])
    assert written.numbers == ("n",)
    given = np.array(['{"n":"12"}', '{"n":12.0}', '{"n":"x"}', '{"n":"."}', '{"n":"1e2"}'], dtype=object)
    np.testing.assert_array_equal(written.inputs(given)["extras.n"], [12, 12, np.nan, np.nan, 100])
    codes = learn_extras(
        [extras_text({"c": code}) for code in ("W1", 4_812_345, "4812345") for _ in range(30)]
    )
    assert codes.texts == {"c": ("4812345", "W1")}
    found = codes.inputs(np.array(['{"c":4812345.0}', '{"c":4812346}'], dtype=object))
    assert list(found["extras.c"]) == ["4812345", None]


def test_only_the_finite_is_kept_and_names_are_bounded():
    """A number beyond any float is unknown; too many names are refused."""
    assert extras_text({"huge": 10**400, "ok": 1}) == '{"ok":1.0}'
    with pytest.raises(ExtrasError):
        extras_text({f"n{number}": 1 for number in range(501)})


def test_a_model_learns_from_extras_and_survives_its_file(tmp_path: Path):
    """Extras raise the ranking far above chance; a saved model answers with the same bits."""
    rng = np.random.default_rng(5)
    values, fraud = texts(6_000, rng)
    model = fitted(values, fraud)
    later, truth = texts(4_000, rng)
    columns = {"extras": later, "card_face_cny": np.full(4_000, 100.0)}
    probability = model.probability(columns)
    assert probability[truth].mean() > 3 * probability[~truth].mean()
    assert {"extras.score: a [b]", "extras.the word"} <= set(model.encoding.names)
    assert model.families["extras.the word"] == "extras"
    assert model.trained_signals == ("card_face_cny", "extras")
    model.save(tmp_path)
    again = FraudModel.load(tmp_path)
    assert np.array_equal(again.probability(columns), probability)
    generic = FraudPyfunc(again).predict(frame_of_columns(columns, 5))
    assert np.array_equal(generic["fraud_probability"], probability[:5])
    parts = model.contributions(columns)
    assert np.allclose(
        parts.base + parts.log_odds.sum(axis=1), np.log(probability / (1 - probability)), atol=1e-9
    )


def test_names_that_look_alike_train():
    """Blanks and signs are no part of a name inside the booster; names that would be the same there stay two."""
    rng = np.random.default_rng(5)
    names = ("a b", "a_b", "a_b_0", "a b@0", "a-b")
    values = [extras_text(dict.fromkeys(names, float(one))) for one in rng.normal(size=400)]
    fraud = np.arange(400) % 5 == 0
    model = fitted(np.array(values, dtype=object), fraud)
    assert set(model.extras.numbers) == set(names)


def test_a_trade_without_extras_or_with_unknown_ones_is_still_answered():
    """Nothing, other names and other kinds of value count as unknown."""
    values, fraud = texts(3_000, np.random.default_rng(6))
    model = fitted(values, fraud)
    odd = [None, json.dumps({"other": 1}), json.dumps({"score: a [b]": "high", "the word": 7})]
    columns = {"extras": np.array(odd, dtype=object), "card_face_cny": np.full(3, 100.0)}
    probability = model.probability(columns)
    assert np.ptp(probability) == 0
    assert 0 < probability[0] < 1


def test_a_log_without_extras_says_so():
    """The model had to do without them, and names them."""
    values, fraud = texts(3_000, np.random.default_rng(7))
    model = fitted(np.full(len(values), None, dtype=object), fraud & (np.arange(3_000) % 2 == 0))
    assert model.absent_signals == ("extras",)
