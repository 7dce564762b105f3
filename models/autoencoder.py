"""The autoencoders of latent diffusion (Rombach et al. 2022).

That under a small KL penalty is as diffusers' AutoencoderKL has it:

    q(z | x) = N(mean, exp(logvar)),   [mean, logvar] = quant(encoder(x))                   (1)
    x        = decoder(post_quant(z))                                                       (2)
    KL       = 1/2 sum (mean^2 + exp(logvar) - 1 - logvar)                                  (3)

The other has a codebook e_1 .. e_K (van den Oord et al. 2017, eq. 1 to 3):

    h = encoder(x),   q(h) = e_k,   k = argmin_j |h - e_j|                                  (4)
    codebook = |sg(h) - q(h)|^2,   commitment = |h - sg(q(h))|^2                            (5)

with sg the gradient stopped, and that of the decoder's input passed on to h. Its latents are h, and
q belongs to the decoder, as in latent diffusion.

Each level of the encoder halves the sides, but for the last; the decoder mirrors it with one block
more a level.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from models.layers.attention import AttentionBlock
from models.layers.convolution import Conv, dense
from models.layers.normalization import GroupNorm
from models.layers.resampling import Downsample, Upsample
from models.layers.residual import ResidualBlock
from models.layers.stage import Stage
from models.sizes import check_channels, required_divisor
from options.choices import require, require_at_least_one
from options.errors import InvalidValue, Words

LEAST, MOST = -30.0, 20.0  # of logvar


class Latents(NamedTuple):
    """The normal distribution (1); both (b, h', w', latent_channels)."""

    mean: Float[Array, "b h w c"]
    logvar: Float[Array, "b h w c"]


class Reconstruction(NamedTuple):
    """What a training has of images.

    Attributes:
      x: the images again. penalties: on the latents of each, (b,), by name.
    """

    x: Float[Array, "b h w c"]
    penalties: dict[str, Float[Array, "b"]]


class AutoencoderKL(nn.Module):
    """x: (b, h, w, channels), images in [-1, 1] -> its `Latents`, and back by `decode`.

    Attributes:
      channels: of images. latent_channels: of latents.
      widths: of each level, from fine to coarse; the sides of latents are halved once less.
      num_res_blocks: residual blocks of a level of the encoder.
      groups: of the norms, a divisor of all widths.
      attention: whether there is attention in the middle.
      quant, post_quant: whether there is a 1x1 convolution behind the encoder, before the decoder.
    """

    channels: int = 3
    latent_channels: int = 4
    widths: tuple[int, ...] = (128, 256, 512, 512)
    num_res_blocks: int = 2
    groups: int = 32
    attention: bool = True
    quant: bool = True
    post_quant: bool = True

    @property
    def divisor(self) -> int:
        """What the sides of images must be multiples of."""
        return required_divisor(len(self.widths))

    def check(self, height: int, width: int) -> None:
        """InvalidValue, which names a field, if images of this size cannot do."""
        check_autoencoder(self, height, width)

    def setup(self) -> None:
        fields = (self.widths, self.num_res_blocks, self.groups, self.attention)
        self.encoder = Encoder(2 * self.latent_channels, *fields)
        self.decoder = Decoder(self.channels, *fields)
        self.quant_conv = dense(2 * self.latent_channels) if self.quant else None
        self.post_quant_conv = dense(self.latent_channels) if self.post_quant else None

    def encode(self, x: Float[Array, "b h w c"]) -> Latents:
        """(1), with logvar clipped to [-30, 20]."""
        h = self.encoder(x)
        mean, logvar = jnp.split(self.quant_conv(h) if self.quant_conv else h, 2, axis=-1)
        return Latents(mean, jnp.clip(logvar, LEAST, MOST))

    def decode(self, z: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """(2)."""
        return self.decoder(self.post_quant_conv(z) if self.post_quant_conv else z)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The image that the mean of an image's latents is decoded to."""
        return self.decode(self.encode(x).mean)

    def reconstruct(self, x: Float[Array, "b h w c"], keys: Key[Array, "b"]) -> Reconstruction:
        """By a latent drawn from (1), with one key an image; "kl" is (3), per coordinate of x."""
        mean, logvar = self.encode(x)
        eps = jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:]))(keys)
        kl = 0.5 * jnp.sum(mean**2 + jnp.exp(logvar) - 1 - logvar, axis=(1, 2, 3)) / x[0].size
        return Reconstruction(self.decode(mean + jnp.exp(logvar / 2) * eps), {"kl": kl})


class AutoencoderVQ(nn.Module):
    """x: (b, h, w, channels), images in [-1, 1] -> its `Latents`, and back by `decode`.

    Attributes: those of `AutoencoderKL`, and
      codes: K, vectors of the codebook.
    """

    channels: int = 3
    latent_channels: int = 3
    widths: tuple[int, ...] = (128, 256, 512)
    num_res_blocks: int = 2
    groups: int = 32
    attention: bool = True
    codes: int = 8192

    @property
    def divisor(self) -> int:
        """As of `AutoencoderKL`."""
        return required_divisor(len(self.widths))

    def check(self, height: int, width: int) -> None:
        """As of `AutoencoderKL`."""
        require_at_least_one(self, "codes")
        check_autoencoder(self, height, width)

    def setup(self) -> None:
        fields = (self.widths, self.num_res_blocks, self.groups, self.attention)
        self.encoder = Encoder(self.latent_channels, *fields)
        self.decoder = Decoder(self.channels, *fields)
        self.codebook = self.param(
            "codebook", nn.initializers.normal(1.0), (self.codes, self.latent_channels)
        )

    def encode(self, x: Float[Array, "b h w c"]) -> Latents:
        """h of (4), of no variance."""
        h = self.encoder(x)
        return Latents(h, jnp.full_like(h, -jnp.inf))

    def nearest(self, h: Float[Array, "b h w c"]) -> Int[Array, "b h w"]:
        """k of (4)."""
        e = self.codebook
        away = jnp.sum(e**2, axis=1) - 2 * jnp.matmul(h, e.T, precision="highest")
        return jnp.argmin(away, axis=-1)

    def decode(self, z: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """The image of q(z)."""
        return self.decoder(self._passed_on(z, self.codebook[self.nearest(z)]))

    def _passed_on(self, h: Array, quantised: Array) -> Array:
        """q(h), with the derivative of h."""
        return h + jax.lax.stop_gradient(quantised - h)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The image that an image's latents are decoded to."""
        return self.decode(self.encode(x).mean)

    def reconstruct(self, x: Float[Array, "b h w c"], keys: Key[Array, "b"]) -> Reconstruction:
        """The same, with (5) as "codebook" and "commitment", means over latents; none is drawn."""
        h = self.encoder(x)
        quantised = self.codebook[self.nearest(h)]

        def squared(a: Array, b: Array) -> Array:
            return jnp.mean((a - b) ** 2, axis=(1, 2, 3))

        stopped = jax.lax.stop_gradient
        penalties = {
            "codebook": squared(stopped(h), quantised),
            "commitment": squared(h, stopped(quantised)),
        }
        return Reconstruction(self.decoder(self._passed_on(h, quantised)), penalties)


def check_autoencoder(network: Any, height: int, width: int) -> None:
    """InvalidValue, which names a field, if images of this size cannot do."""
    require_at_least_one(network, "channels", "latent_channels", "num_res_blocks", "groups")
    levels, groups = len(network.widths), network.groups
    divided = levels > 0 and all(w > 0 and w % groups == 0 for w in network.widths)
    require(divided, "widths", network.widths, f"one or more multiples of {groups} groups")
    if height % network.divisor or width % network.divisor:
        multiples = f"multiples of {network.divisor}"
        but = f"they need images whose sides are {multiples}, not {height} x {width}"
        raise InvalidValue("widths", Words(f"{levels} levels"), but=but)


class Encoder(nn.Module):
    """x -> (b, h', w', out_channels); fields as of `AutoencoderKL`."""

    out_channels: int
    widths: tuple[int, ...]
    num_res_blocks: int
    groups: int
    attention: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        block = partial(ResidualBlock, act=nn.swish, groups=self.groups)
        check_channels(self, "conv_in", x)
        h = Conv(self.widths[0], name="conv_in")(x)
        for level, width in enumerate(self.widths):
            units = Stage(width, self.num_res_blocks, block, None, name=f"down_{level}")
            h = units(h, None, None, None)[-1]
            if level < len(self.widths) - 1:
                h = Downsample(width, True, None, name=f"shrink_{level}")(h)
        h = _middle(h, block, self.groups, self.attention)
        h = nn.swish(GroupNorm(groups=self.groups, name="norm_out")(h))
        return Conv(self.out_channels, name="conv_out")(h)


class Decoder(nn.Module):
    """z -> (b, h, w, out_channels); fields as of `AutoencoderKL`."""

    out_channels: int
    widths: tuple[int, ...]
    num_res_blocks: int
    groups: int
    attention: bool

    @nn.compact
    def __call__(self, z: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        block = partial(ResidualBlock, act=nn.swish, groups=self.groups)
        check_channels(self, "conv_in", z)
        h = Conv(self.widths[-1], name="conv_in")(z)
        h = _middle(h, block, self.groups, self.attention)
        for level, width in reversed(list(enumerate(self.widths))):
            units = Stage(width, self.num_res_blocks + 1, block, None, name=f"up_{level}")
            h = units(h, None, None, None)[-1]
            if level > 0:
                h = Upsample(width, True, None, name=f"grow_{level}")(h)
        h = nn.swish(GroupNorm(groups=self.groups, name="norm_out")(h))
        return Conv(self.out_channels, name="conv_out")(h)


def _middle(h: Array, block: Any, groups: int, attention: bool) -> Array:
    """Two residual blocks, with attention of one head between them."""
    width = h.shape[-1]
    h = block(width, name="middle_0")(h)
    if attention:
        h = AttentionBlock(groups=groups, name="middle_attention")(h)
    return block(width, name="middle_1")(h)
