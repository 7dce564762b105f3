"""Folders of diffusers with a UNet2DConditionModel, the network of latent diffusion."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from models.importers import diffusers_unet_condition as layout
from tasks.conditions import Caption
from tools.published.checkpoint import Compared, channels_last, network_output, one_of
from tools.published.content import Content
from tools.published.diffusers import CLASS, DiffusersFolder

IMAGES = (1, 3)  # channels of what is an image; anything else is a latent, which has no pixels


class DiffusersConditionFolder(DiffusersFolder):
    """The same files; tokens of a text come in as the condition `caption`."""

    title = "UNet2DConditionModel of diffusers"
    classes = ("UNet2DConditionModel",)

    def _fields(self) -> tuple[str, dict[str, Any]]:
        return "unet_condition", layout.fields_of(self.config)

    @classmethod
    def recognise(cls, content: Content) -> "DiffusersConditionFolder | None":
        config = content.beside.get("config.json", {})
        return cls(content) if config.get(CLASS) in cls.classes else None

    def _sections_of_data(self, height: int, width: int) -> dict[str, Any]:
        made = super()._sections_of_data(height, width)
        made["conditions"] = {Caption.name: {"features": layout.features_of(self.config)}}
        if made["data"]["num_channels"] not in IMAGES:
            made["data"]["space"] = {"name": "scaled"}
            made["data"]["source"] = {"name": "npy", "path": "~/latents.npy"}
            self.notes.append("latents, standardised: data.space=scaled")
            del made["eval"]
        return made

    def _parameters(self, arrays: Mapping[str, np.ndarray], experiment: Any) -> dict[str, Any]:
        return layout.params_from_diffusers(arrays, experiment.network, experiment.shape)

    def inexact(self, experiment: Any) -> str:
        return ""

    def compared(
        self, experiment: Any, params: Any, given: Mapping[str, np.ndarray]
    ) -> list[Compared]:
        """`out` of (sample, timestep, encoder_hidden_states), all of whose tokens are real."""
        channels = experiment.shape[-1]
        x = channels_last(one_of(given, "sample", "x"), channels)
        t = np.asarray(one_of(given, "timestep", "t"), np.float32)
        vectors = jnp.asarray(one_of(given, "encoder_hidden_states"), jnp.float32)
        value = {"vectors": vectors, "mask": jnp.ones(vectors.shape[:2], bool)}
        out = network_output(experiment, params, x, t, **{Caption.name: value})
        return [Compared("out", out, channels_last(one_of(given, "out"), channels))]
