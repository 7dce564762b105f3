"""The page on which a trained model writes; with a model: experiment/test_handwriting.py."""

import pytest

from options.errors import InvalidValue
from tools import writing_desk


def test_a_model_of_images_is_refused():
    with pytest.raises(InvalidValue, match="weights: got 'digits'.*it does not write"):
        writing_desk.writer_of("digits")
