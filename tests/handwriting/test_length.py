"""How many points a line takes."""

import numpy as np
import pytest

from handwriting.length import LengthModel, mean_style, points_of
from options.errors import InvalidValue


def test_points_of_characters_and_hands_are_found():
    """Lines made by the model itself are predicted to within its ridge."""
    random = np.random.default_rng(0)
    points, hands = np.array([0.0, 4.0, 12.0, 9.0]), random.normal(size=(6, 2))
    tokens = random.integers(0, 4, (600, 12))
    writer = random.integers(0, 6, 600)
    lengths = np.rint(points[tokens].sum(1) * np.exp(hands[writer] @ [0.2, -0.1])).astype(int)
    lengths = np.maximum(lengths, 1)
    found, factors = points_of(tokens, lengths, writer, 4)
    ratio = np.array(found[1:]) / points[1:]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=0.03)
    model = LengthModel.fit(found, tokens, lengths, hands[writer])
    assert np.abs(model.predict(tokens, hands[writer]) / lengths - 1).mean() < 0.02
    none = np.zeros((600, 0))
    plain = LengthModel.fit(found, tokens, lengths, none, factors)
    assert np.abs(plain.predict(tokens, none) / lengths - 1).mean() > 0.05
    assert np.abs(plain.predict(tokens, none, writer) / lengths - 1).mean() < 0.02
    strangers = plain.predict(tokens, none, np.where(writer % 2, -1, 6))
    np.testing.assert_array_equal(strangers, plain.predict(tokens, none))
    assert plain.knows(np.array([-1, 0, 5, 6])).tolist() == [False, True, True, False]


def test_a_character_that_never_occurs_takes_as_many_as_others():
    tokens, lengths = np.full((50, 4), 1), np.full(50, 40)
    found, factors = points_of(tokens, lengths, np.array([0, 2] * 25), 3)
    assert factors[1] == 0 and factors[0] == pytest.approx(factors[2])
    assert found[2] == pytest.approx(10.0, rel=0.01)


def test_an_empty_text_takes_one_point_and_an_unfitted_model_is_refused():
    model = LengthModel((0.0, 5.0))
    assert model.knows(np.array([-1, 3])).tolist() == [False, True]
    assert model.predict(np.array([[0, 0]]), np.zeros((1, 0))).tolist() == [1]
    with pytest.raises(InvalidValue, match="points: got none"):
        LengthModel().predict(np.array([[1]]), np.zeros((1, 0)))


def test_the_style_of_a_line_is_its_mean():
    assert mean_style(np.arange(6.0).reshape(1, 3, 2)).tolist() == [[2.0, 3.0]]
