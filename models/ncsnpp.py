"""NCSN++ and DDPM++, the U-Nets of Song et al. 2021 (appendix H).

      x -> conv_in -> [down_0] -> shrink_0 -> [down_1] -> ... -> [down_L]
                         |  skips                |                  |
                         v                       v                middle
    out <- conv_out <- [up_0]  <- grow_1   <- [up_1]  <- ... <- [up_L]

`down_l` is `num_res_blocks` residual blocks at level l, nf * ch_mult[l] channels wide; `up_l` is
one more, each of which takes an activation of the way down in. Attention stands where the grid is
one of `attn_resolutions`. Beside this path a pyramid of the input may come in (`progressive_input`)
and a pyramid of the output may be built (`progressive`).
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from models.layers.activation import ACTIVATIONS, DTYPES
from models.layers.attention import AttentionBlock
from models.layers.conditioning import TEXT, Embedding, Encoding, check_names, value_of
from models.layers.convolution import Conv
from models.layers.dropout import fold_keys
from models.layers.embedding import NOISE_FEATURES
from models.layers.padding import Mask, without_padding
from models.layers.patches import from_patches, to_patches
from models.layers.places import expected_places
from models.layers.pyramid import COMBINATIONS, INPUTS, OUTPUTS, NoInput, NoOutput
from models.layers.residual import ResidualBlock
from models.layers.resolution import RESOLUTION_CHANGES, ResolutionChange
from models.layers.stage import Stage
from models.sizes import check_channels, check_grid, check_kernel, required_divisor
from options.choices import choose, require, require_at_least_one, require_fraction
from options.fields import hidden

FEATURES_PER_CHANNEL = {"fourier": 2, "positional": 1}
# Whether conditions enter before the dense layers of the noise level, by `conditions_in`.
IN_FEATURES = {"embedding": False, "features": True}


class NCSNpp(nn.Module):
    """The U-Net of score-based models (Song et al. 2021, app. H): NCSN++ and DDPM++.

    x: (b, h, w, c), centred and scaled by the caller -> (b, h, w, out_channels), float32.

    Images may be padded, to the right and below: outputs at real pixels depend neither on what is
    in the padding nor on how much of it there is, see `models.layers.padding`.

    NCSN++ is the default; DDPM++ has fir=False, progressive_input="none" and
    embedding_type="positional".

    Attributes:
      nf: channels at level 0, before `ch_mult`.
      ch_mult: width of each level, from fine to coarse, in units of nf.
      num_res_blocks: residual blocks of a level on the way down.
      attn_resolutions: heights of the grid at which there is attention.
      dropout: rate, in every residual block.
      resamp_with_conv: of "ddpm" blocks: change resolution by a convolution, or without weights.
      conditional: whether the network is conditioned on the noise level.
      fir, fir_kernel: resample through a FIR filter, or by plain averages and repetitions.
      skip_rescale: divide every sum of two branches by sqrt(2).
      resblock_type: "biggan": residual blocks change the resolution; "ddpm": layers between them.
      progressive: pyramid of the output: "none"; "output_skip", where every level adds an image;
        "residual", where it adds features.
      progressive_input: pyramid of the input: "none", "input_skip", "residual", alike.
      progressive_combine: "input_skip" is joined by "sum" or "cat".
      embedding_type: of c_noise, "fourier" (log sigma) or "positional" (999 t).
      fourier_scale: standard deviation of the Fourier frequencies.
      init_scale: initial scale of the last layer of every branch and of the network; 0 is 1e-10.
      nonlinearity: "swish", "elu", "relu" or "lrelu".
      conv_size: size of the first convolution.
      conditions: what the network is conditioned on beside the noise level, in the order in which
        channels and tokens are concatenated; see `tasks.conditions.Condition`.
      conditions_in: "embedding": labels and augmentations are added to the embedding of the noise
        level; "features": to its features, before the dense layers (Karras et al. 2022).
      cross_heads: of the attention to tokens.
      expected_places: characters of the text have places along the width, where `points` expects
        them, and the attention to it begins as one to the nearest of them.
      points: how wide each token of the text is, in any unit, the first that of no character; for
        `expected_places`.
      patch_size: p, above 1, works on squares of p x p pixels as channels; resolutions then count
        squares.
      out_channels: channels of the output; 0 for as many as the input has.
      dtype: "float32" or "bfloat16", of the computation; parameters and output are float32.
      remat: keep less for the backward pass and compute it again.
      scan_blocks: compile runs of equal blocks as loops. Parameters are alike with and without.
    """

    nf: int = 128
    ch_mult: tuple[int, ...] = (1, 2, 2, 2)
    num_res_blocks: int = 4
    attn_resolutions: tuple[int, ...] = (16,)
    dropout: float = 0.1
    resamp_with_conv: bool = True
    conditional: bool = True
    fir: bool = True
    fir_kernel: tuple[float, ...] = (1.0, 3.0, 3.0, 1.0)
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
    conditions: tuple[Any, ...] = hidden(())
    conditions_in: str = "embedding"
    cross_heads: int = 1
    expected_places: bool = False
    points: tuple[float, ...] = hidden(())
    patch_size: int = 1
    out_channels: int = hidden(0)
    dtype: str = hidden("float32")
    remat: bool = False
    scan_blocks: bool = False

    @property
    def divisor(self) -> int:
        """What height and width must be multiples of."""
        return required_divisor(len(self.ch_mult), self.patch_size)

    @property
    def token_width(self) -> int:
        """Of the embedding, and of the tokens that conditions are encoded to."""
        return 4 * self.nf

    def check(self, height: int, width: int) -> None:
        """InvalidValue, which names a field, if images of this size cannot do."""
        choose(RESOLUTION_CHANGES, self.resblock_type, "resblock_type")
        choose(OUTPUTS, self.progressive, "progressive")
        choose(INPUTS, self.progressive_input, "progressive_input")
        choose(COMBINATIONS, self.progressive_combine, "progressive_combine")
        choose(NOISE_FEATURES, self.embedding_type, "embedding_type")
        choose(ACTIVATIONS, self.nonlinearity, "nonlinearity")
        choose(IN_FEATURES, self.conditions_in, "conditions_in")
        choose(DTYPES, self.dtype, "dtype")
        require_at_least_one(self, "nf", "num_res_blocks", "conv_size", "patch_size", "cross_heads")
        require_fraction(self, "dropout")
        widths = [self.nf * int(multiple) for multiple in self.ch_mult]
        divides = not any(width % self.cross_heads for width in widths)
        require(divides, "cross_heads", self.cross_heads, f"a divisor of the widths {widths}")
        check_kernel(self.fir_kernel)
        least = NOISE_FEATURES[self.embedding_type].least
        expected = f"{least} or more for a {self.embedding_type} embedding"
        require(self._num_features >= least, "nf", self.nf, expected)
        check_names(self.conditions)
        if self.expected_places:
            first = [condition.name for condition in self.conditions][:1]
            require(first == [TEXT], "conditions", first, f"{TEXT!r} first, which has places")
            require(self.points, "points", self.points, "the widths of tokens")
        check_grid(self, height, width, self.patch_size)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        c_noise: Float[Array, "b"],
        *,
        mask: Mask | None = None,
        dropout_keys: Key[Array, "b"] | None = None,
        **cond: Any,
    ) -> Float[Array, "b h w d"]:
        """c_noise: a number for the noise level; keys switch dropout on. mask: 1 where x is real,
        (b, 1 or h, w, 1); None for everywhere.

        cond: values of the conditions by name; one that is absent is its null.

        Every dropout layer folds a number of its own into each example's key.
        """
        act = ACTIVATIONS[self.nonlinearity]
        attention, block, stage = self._layers(act)
        layer_number = count()

        def keys() -> Key[Array, "b"] | None:
            return fold_keys(dropout_keys, next(layer_number))

        def attends(h: Array) -> bool:
            return h.shape[1] in self.attn_resolutions

        embedding, more_channels, tokens = self._embed(act, c_noise, cond, x.shape[1:])
        out_channels = self.patch_size**2 * (self.out_channels or x.shape[-1])
        x = without_padding(x, mask)
        if more_channels is not None:
            x = jnp.concatenate([x, more_channels], axis=-1)
        x = to_patches(x, self.patch_size).astype(self.dtype)
        resolution, in_pyramid, out_pyramid = self._beside(act, out_channels)
        last = len(self.ch_mult) - 1
        widths = [self.nf * multiple for multiple in self.ch_mult]

        # Down
        check_channels(self, "conv_in", x)
        h = Conv(self.nf, self.conv_size, dtype=self.dtype, name="conv_in")(x)
        skips, pyramid = [h], x
        for level, width in enumerate(widths):
            units = stage(width, self.num_res_blocks, name=f"down_{level}", attend=attends(h))
            skips += units(h, None, embedding, keys(), tokens, mask)
            h = skips[-1]
            if level < last:
                h = resolution.shrink(block, width, f"shrink_{level}")(h, embedding, keys(), mask)
                h, pyramid = in_pyramid.join(level, h, pyramid, mask)
                skips.append(h)

        # Middle
        h = block(widths[-1], name="middle_0")(h, embedding, keys(), mask)
        h = attention(name="middle_attention")(h, tokens, mask)
        h = block(widths[-1], name="middle_1")(h, embedding, keys(), mask)

        # Up
        built = None
        for level, width in reversed(list(enumerate(widths))):
            from_below = [skips.pop() for _ in range(self.num_res_blocks + 1)]
            units = stage(width, self.num_res_blocks + 1, name=f"up_{level}")
            h = units(h, from_below, embedding, keys(), tokens, mask)[-1]
            if attends(h):
                h = attention(name=f"up_{level}_attention")(h, tokens, mask)
            h, built = out_pyramid.join(level, h, built, mask)
            if level > 0:
                h = resolution.grow(block, width, f"grow_{level}")(h, embedding, keys(), mask)
        assert not skips

        y = out_pyramid.output(h, built, mask)
        return without_padding(from_patches(y, self.patch_size), mask).astype(jnp.float32)

    def _layers(self, act: Callable[[Array], Array]) -> tuple[Callable[..., nn.Module], ...]:
        """What makes an attention block, a residual block and a stage of them."""
        remat = nn.remat if self.remat else lambda layer: layer
        common: dict[str, Any] = {
            "init_scale": self.init_scale,
            "skip_rescale": self.skip_rescale,
            "dtype": self.dtype,
        }
        attention = partial(AttentionBlock, cross_heads=self.cross_heads, **common)
        options: dict[str, Any] = {
            "act": act,
            "dropout": self.dropout,
            "shortcut_scale": RESOLUTION_CHANGES[self.resblock_type].shortcut_scale,
        }
        block = partial(ResidualBlock, **options, **common)

        def stage(width: int, num_units: int, name: str, attend: bool = False) -> Stage:
            extra: dict[str, Any] = {"remat": self.remat, "scan": self.scan_blocks, "name": name}
            return Stage(width, num_units, block, attention if attend else None, **extra)

        return attention, partial(remat(ResidualBlock), **options, **common), stage

    def _embed(
        self,
        act: Callable[[Array], Array],
        c_noise: Float[Array, "b"],
        cond: Mapping[str, Any],
        shape: tuple[int, ...],
    ) -> Encoding:
        features = None
        if self.conditional:
            kind = NOISE_FEATURES[self.embedding_type]
            features = kind.features(c_noise, self._num_features, self.fourier_scale)
        embed = Embedding(
            self.token_width,
            act,
            self.conditions,
            self.dtype,
            IN_FEATURES[self.conditions_in],
            name="embedding",
        )
        found = embed(features, cond, shape, len(c_noise))
        if found.tokens is None or not self.expected_places:
            return found
        text = value_of(self.conditions[0], cond, shape, len(c_noise))
        places = expected_places(text, self.points)
        return found._replace(tokens=found.tokens._replace(places=places))

    def _beside(
        self, act: Callable[[Array], Array], channels: int
    ) -> tuple[ResolutionChange, NoInput, NoOutput]:
        """How the resolution changes, and the pyramids of the input and of the output."""
        kernel = self.fir_kernel if self.fir else None
        change = RESOLUTION_CHANGES[self.resblock_type]
        combine = COMBINATIONS[self.progressive_combine]
        rescale, dtype = self.skip_rescale, self.dtype
        return (
            change(kernel, self.resamp_with_conv, dtype),
            INPUTS[self.progressive_input](kernel, rescale, combine, dtype),
            OUTPUTS[self.progressive](channels, act, self.init_scale, kernel, rescale, dtype),
        )

    @property
    def _num_features(self) -> int:
        """Of the noise level: the original has as many sines as channels, or half as many."""
        return FEATURES_PER_CHANNEL[self.embedding_type] * self.nf
