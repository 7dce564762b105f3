"""A small classifier of the ten digits and a reject class, and the features that it learnt.

    image (28, 28) in [0, 1] -> convolutions -> 64 features -> 11 logits

Class 10 is everything that is not a digit (`metrics.rejects`). The weights are float16, shipped
beside this file, and made by `python -m tools.train_digit_classifier`.
"""

import functools
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Real

from metrics.features import Activations, FeatureExtractor
from metrics.weights import read_weights
from options.errors import InvalidValue, Words
from options.precision import FLOAT32

NUM_DIGITS = 10
REJECT = 10
WEIGHTS = Path(__file__).with_name("digit_classifier.npz")


class DigitClassifier(nn.Module):
    """Four 3x3 convolutions, two at 14 x 14 and two at 7 x 7; a hidden layer: the features."""

    dim: int = 64
    dropout: float = 0.2

    @nn.compact
    def __call__(self, x: Float[Array, "b 28 28 1"], train: bool = False) -> Activations:
        b = len(x)
        x = x.reshape(b, 14, 2, 14, 2).transpose(0, 1, 3, 2, 4).reshape(b, 14, 14, 4)
        x = self._convolve(self._convolve(x, 32), 32)
        x = jnp.max(x.reshape(b, 7, 2, 7, 2, 32), axis=(2, 4))
        x = self._convolve(self._convolve(x, 40), 40).reshape(b, -1)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        features = nn.relu(nn.Dense(self.dim)(x))
        return Activations(features, nn.Dense(NUM_DIGITS + 1)(features))

    def _convolve(self, x: Float[Array, "b h w c"], width: int) -> Float[Array, "b h w d"]:
        return nn.relu(nn.GroupNorm(num_groups=8)(nn.Conv(width, (3, 3))(x)))


@functools.cache
def extractor(path: Path = WEIGHTS) -> FeatureExtractor:
    """The shipped network as a feature extractor of 28 x 28 grey images."""
    network = DigitClassifier()
    params, version = read_weights(path, network, (28, 28, 1))

    @jax.jit
    def forward(images: Real[Array, "b 28 28 1"]) -> Activations:
        x = images.astype(jnp.float32) / 255.0
        with FLOAT32.context():
            return Activations(*network.apply({"params": params}, x))

    def apply(images: Real[Array | np.ndarray, "b h w c"]) -> Activations:
        if images.shape[1:] != (28, 28, 1):
            got = Words(f"shape {images.shape[1:]}")
            raise InvalidValue("images", got, "(28, 28, 1), which the digit network takes")
        return forward(images)

    says = "28 px as they are, x / 255"
    return FeatureExtractor("digits", version, network.dim, apply, 1, says)


def probabilities(logits: Float[Array | np.ndarray, "b 11"]) -> Float32[np.ndarray, "b 11"]:
    """Class probabilities; column 10 is the reject class."""
    return np.asarray(jax.nn.softmax(jnp.asarray(logits)))
