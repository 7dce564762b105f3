"""Parameter trees of networks as they were, made those of the networks of today."""

from typing import Any

from models.layers.conditioning import LEVEL_DIM


def upgrade_upsampler(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of an upsampler that was a network around a U-Net; others as they are.

    params: nested dicts. Those of the U-Net were under "unet"; and one kernel, "embedding/augment",
    had the rows of the augmentation, if there was one, above those of the level of the
    low-resolution image, which are "embedding/low" now.
    """
    if set(params) != {"unet"}:
        return params
    unet = params["unet"]
    embedding = dict(unet["embedding"])
    kernel = embedding.pop("augment")["kernel"]
    embedding["low"] = {"kernel": kernel[-LEVEL_DIM:]}
    if len(kernel) > LEVEL_DIM:
        embedding["augment"] = {"kernel": kernel[:-LEVEL_DIM]}
    return unet | {"embedding": embedding}
