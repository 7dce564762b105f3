"""SongUNet as NCSN++: the layout by its names; outputs are tested from the file on."""

import numpy as np
import pytest

from models import NCSNpp
from models.importers.edm import fields_of, params_from_edm
from tasks.conditions import Augmentation, ClassLabel
from tools.published import edm_pickle
from tools.published.content import array_of, opened


@pytest.fixture(scope="module")
def published(golden):
    """The constructor's arguments and the arrays of a fixture."""
    with opened(golden.path / "edm_ddpmpp_cond/network.pkl") as content:
        network = content.tree["ema"].state["_modules"]["model"]
        arrays = {name: array_of(x) for name, x in edm_pickle.tensors_of(network).items()}
        return network.state["_init_kwargs"], arrays


def test_labels_are_rows_and_no_label_is_the_last(published):
    kwargs, arrays = published
    model = NCSNpp(**fields_of(kwargs), conditions=(ClassLabel(10), Augmentation(9)))
    params = params_from_edm(arrays, model, (16, 16, 3))
    table = params["embedding"]["labels"]["embedding"]
    weight, bias = arrays["map_label.weight"], arrays["map_label.bias"]
    np.testing.assert_allclose(table[3], np.sqrt(10) * weight[:, 3] + bias, rtol=1e-6)
    np.testing.assert_array_equal(table[10], bias)
    joined = arrays["dec.8x8_in0.qkv.weight"]
    np.testing.assert_array_equal(
        params["middle_attention"]["key"]["kernel"].T, joined[1::3, :, 0, 0]
    )


def test_every_misfit_is_named(published):
    kwargs, arrays = published
    model = NCSNpp(**fields_of(kwargs), conditions=(ClassLabel(10), Augmentation(9)))
    bad = dict(arrays)
    bad["enc.16x16_conv.weight"] = np.zeros((16, 3, 3, 3))
    bad["other"] = bad.pop("dec.16x16_aux_conv.bias")
    with pytest.raises(ValueError, match="^file: it is not of this NCSNpp") as error:
        params_from_edm(bad, model, (16, 16, 3))
    for part in (
        "enc.16x16_conv.weight: got shape (16, 3, 3, 3) for conv_in/kernel, expected (3, 3, 3, 32)",
        "other is unknown",
        "it lacks dec.16x16_aux_conv.bias for conv_out/bias",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"encoder_type": "other"}, "encoder_type: got 'other'"),
        ({"channel_mult_noise": 2}, "channel_mult_noise: got 2, expected 1"),
        ({"channel_mult_emb": 3}, "channel_mult_emb: got 3, expected 4"),
    ],
)
def test_what_ours_has_nothing_for(change, expected, published):
    with pytest.raises(ValueError, match=expected):
        fields_of(published[0] | change)
