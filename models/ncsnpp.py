"""NCSN++ and DDPM++, the U-Nets of Song et al. 2021 (appendix H)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from models.layers.attention import AttentionBlock
from models.layers.convolution import Conv, dense
from models.layers.dropout import fold_keys
from models.layers.embedding import FourierFeatures, positional_embedding
from models.layers.normalization import GroupNorm
from models.layers.patches import from_patches, to_patches
from models.layers.resampling import Downsample, Upsample, average_down, fir_down, fir_up, nearest_up
from models.layers.residual import ResidualBlock
from models.layers.stage import Stage

ACTIVATIONS = {
    "swish": nn.swish,
    "elu": nn.elu,
    "relu": nn.relu,
    "lrelu": partial(nn.leaky_relu, negative_slope=0.2),
}


class NCSNpp(nn.Module):
    nf: int = 128
    ch_mult: tuple[int, ...] = (1, 2, 2, 2)
    num_res_blocks: int = 4
    attn_resolutions: tuple[int, ...] = (16,)
    dropout: float = 0.1
    resamp_with_conv: bool = True
    conditional: bool = True
    fir: bool = True
    fir_kernel: tuple[float, ...] = (1, 3, 3, 1)
    skip_rescale: bool = True
    resblock_type: str = "biggan"
    progressive: str = "none"
    progressive_input: str = "residual"
    progressive_combine: str = "sum"
    embedding_type: str = "fourier"
    fourier_scale: float = 16.0
    init_scale: float = 0.0
    nonlinearity: str = "swish"
    conv_size: int = 3
    num_classes: int = 0
    augment_dim: int = 0
    patch_size: int = 1
    dtype: str = "float32"
    remat: bool = False
    scan_blocks: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, "b"],
        *,
        labels: Int[Array, "b"] | None = None,
        augment: Float[Array, "b a"] | None = None,
        dropout_keys: Key[Array, "b"] | None = None,
    ) -> Float[Array, "b h w c"]:
        act = ACTIVATIONS[self.nonlinearity]
        levels = range(len(self.ch_mult))
        kernel = self.fir_kernel if self.fir else None
        down = partial(fir_down, kernel=kernel) if self.fir else average_down
        up = partial(fir_up, kernel=kernel) if self.fir else nearest_up
        norm = partial(GroupNorm, dtype=self.dtype)
        common = dict(skip_rescale=self.skip_rescale, init_scale=self.init_scale, dtype=self.dtype)
        attention = partial(AttentionBlock, **common)
        shortcut = "conv" if self.resblock_type == "biggan" else "dense"
        block = partial(ResidualBlock, act=act, dropout=self.dropout, shortcut=shortcut, **common)
        resampler = dict(with_conv=self.resamp_with_conv, fir_kernel=kernel, dtype=self.dtype)

        def stage(name, width, num_units, h, skips, attend_each):
            attend = attention if attend_each and h.shape[1] in self.attn_resolutions else None
            layer = Stage(
                partial(block, width=width), attend, num_units, self.remat, self.scan_blocks, name=name
            )
            return layer(h, skips, embedding, keys())

        count = iter(range(10_000))

        def keys():
            return fold_keys(dropout_keys, next(count))

        def plus(a, b):
            return (a + b) / jnp.sqrt(2.0).astype(b.dtype) if self.skip_rescale else a + b

        embedding = self.embed(act, c_noise, labels, augment)
        x = to_patches(x, self.patch_size).astype(self.dtype)
        channels = x.shape[-1]

        # Down
        h = Conv(self.nf, self.conv_size, dtype=self.dtype, name="conv_in")(x)
        skips = [h]
        pyramid = x
        for level in levels:
            width = self.nf * self.ch_mult[level]
            outputs = stage(f"down_{level}", width, self.num_res_blocks, h, None, True)
            skips += outputs
            h = outputs[-1]
            if level == levels[-1]:
                break
            if self.resblock_type == "biggan":
                h = block(width, resample=down, name=f"shrink_{level}")(h, embedding, keys())
            else:
                h = Downsample(width, name=f"shrink_{level}", **resampler)(h)
            if self.progressive_input == "input_skip":
                pyramid = down(pyramid)
                mixed = Conv(width, 1, dtype=self.dtype, name=f"pyramid_{level}")(pyramid)
                h = (
                    jnp.concatenate([mixed, h], -1)
                    if self.progressive_combine == "cat"
                    else mixed + h
                )
            elif self.progressive_input == "residual":
                pyramid = Downsample(
                    width, True, kernel, self.dtype, name=f"pyramid_{level}"
                )(pyramid)
                h = pyramid = plus(pyramid, h)
            skips.append(h)

        # Middle
        width = h.shape[-1]
        h = block(width, name="middle_0")(h, embedding, keys())
        h = attention(name="middle_attention")(h)
        h = block(width, name="middle_1")(h, embedding, keys())

        # Up
        for level in reversed(levels):
            width = self.nf * self.ch_mult[level]
            n = self.num_res_blocks + 1
            mine, skips = skips[-n:][::-1], skips[:-n]
            h = stage(f"up_{level}", width, n, h, mine, False)[-1]
            if h.shape[1] in self.attn_resolutions:
                h = attention(name=f"up_{level}_attention")(h)
            if level != 0:
                if self.resblock_type == "biggan":
                    h = block(width, resample=up, name=f"grow_{level}")(h, embedding, keys())
                else:
                    h = Upsample(width, name=f"grow_{level}", **resampler)(h)
        h = act(norm(name="norm_out")(h))
        h = Conv(channels, init_scale=self.init_scale, dtype=self.dtype, name="conv_out")(h)
        return from_patches(h, self.patch_size).astype(jnp.float32)

    def embed(self, act, c_noise, labels, augment) -> Any:
        width = 4 * self.nf
        e = jnp.zeros((c_noise.shape[0], width))
        if self.conditional:
            if self.embedding_type == "fourier":
                features = FourierFeatures(self.nf, self.fourier_scale, name="fourier")(c_noise)
            else:
                features = positional_embedding(c_noise, self.nf)
            e = dense(width, dtype=self.dtype, name="embed_0")(features)
            e = dense(width, dtype=self.dtype, name="embed_1")(act(e))
        if self.num_classes:
            if labels is None:
                labels = jnp.full(c_noise.shape, self.num_classes)
            init = nn.initializers.normal(1.0)
            table = nn.Embed(self.num_classes + 1, width, embedding_init=init, dtype=self.dtype, name="labels")
            e += table(labels)
        return e.astype(self.dtype)
