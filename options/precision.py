"""The precision of a computation, by what it is for.

An accelerator rounds the operands of float32 products where nothing else is asked for: to TF32 (10
bits of the mantissa, of 23) on an NVIDIA GPU, to bfloat16 (7 bits) on a TPU. Training bears that;
an exact divergence, an adaptive step size or a published sampler's trace does not. So

    training                                       as `precision.training` says, "tf32"
    sampling                                       as `precision.sampling` says, "float32"
    likelihood, latent codes, losses of an evaluation, gradients of classifiers, features and
    distances of metrics                           "float32"

On a CPU "tf32" is "float32", since its products are not rounded.
"""

import dataclasses
from contextlib import AbstractContextManager
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Precision:
    """How a network computes.

    Attributes:
      dtype: of activations and operands, "float32" or "bfloat16"; parameters stay float32.
      products: of convolutions and matrix products of float32 operands, as
        `jax.default_matmul_precision` takes it.
    """

    dtype: str
    products: str

    def of(self, network: Any) -> Any:
        """The network computing in this dtype; one without a field `dtype` as it is."""
        return network.clone(dtype=self.dtype) if hasattr(network, "dtype") else network

    def context(self) -> AbstractContextManager:
        """Within it, what is traced has these products, its derivatives too."""
        return jax.default_matmul_precision(self.products)


PRECISIONS = {
    "float32": Precision("float32", "highest"),
    "tf32": Precision("float32", "default"),
    "bfloat16": Precision("bfloat16", "default"),
}
FLOAT32 = PRECISIONS["float32"]
