"""Trains the digit judge of `metrics/digits.py` on the embedded set and writes its weights.

    python -m tools.train_digit_classifier [--steps 4000] [--out metrics/digit_classifier.npz]

About ten minutes on two CPU cores. Every batch holds digits under small random shifts, turns and
stretches, and rejects made from them. The metrics printed at the end are those of the float16
weights as shipped, on the held-out split, which training never sees.
"""

import argparse
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

import data
from metrics import digits, legibility, rejects
from metrics.features import Activations
from metrics.weights import write_weights
from options.program import one_line_errors
from options.progress import progress_bar

# In every batch.
DIGITS, FAKES = 128, 48
# Rejects to a digit that the finished judge expects. As in the batches, 0.375, it would refuse
# 1.8 % of real digits instead of 0.6 %, and take 2.0 instead of 2.9 % of chimeras for digits.
EXPECTED = 0.075
# Glued and shuffled strokes are the hard ones, so they come more often than noise.
WEIGHT = {"chimera": 4.0, "overlay": 2.0, "shuffled": 2.0, "blurred": 1.5}


def distort(key: Key[Array, ""], image: Float[Array, "28 28"]) -> Float[Array, "28 28"]:
    """Turned (10 degrees), stretched (10 %), sheared (0.15) and shifted (2 pixels) at random.

    A quarter of the digits stay as they are, as those to be judged are.
    """
    some, turn, scale, shear, shift = jax.random.split(key, 5)
    amount = jax.random.bernoulli(some, 0.75).astype(jnp.float32)
    angle = 0.17 * amount * jax.random.uniform(turn, minval=-1.0)
    rotation = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])
    stretch = jnp.diag(1 + 0.1 * amount * jax.random.uniform(scale, (2,), minval=-1.0))
    slant = jnp.eye(2).at[1, 0].set(0.15 * amount * jax.random.uniform(shear, minval=-1.0))
    offset = 2.0 * amount * jax.random.uniform(shift, (2, 1, 1), minval=-1.0)
    grid = jnp.stack(jnp.meshgrid(jnp.arange(28.0), jnp.arange(28.0), indexing="ij")) - 13.5
    where = jnp.einsum("ij,jhw->ihw", rotation @ stretch @ slant, grid) + 13.5 + offset
    return jax.scipy.ndimage.map_coordinates(image, list(where), order=1)


def make_batch(
    key: Key[Array, ""], images: Float[Array, "n 28 28"], labels: Int[Array, "n"]
) -> tuple[Float[Array, "b 28 28 1"], Int[Array, "b"]]:
    """DIGITS distorted digits with their labels, then FAKES rejects of all kinds."""
    pick, warp, pair, kind, draw = jax.random.split(key, 5)
    index = jax.random.randint(pick, (DIGITS,), 0, len(images))
    label = labels[index]
    digit = jax.vmap(distort)(jax.random.split(warp, DIGITS), images[index])

    other = digit[rejects.partner(pair, label)]
    logits = jnp.log(jnp.array([WEIGHT.get(name, 1.0) for name in rejects.REJECTS]))
    kinds = jax.random.categorical(kind, logits, shape=(FAKES,))
    keys = jax.random.split(draw, FAKES)
    every = jnp.stack(
        [jax.vmap(f)(keys, digit[:FAKES], other[:FAKES]) for f in rejects.REJECTS.values()]
    )
    fake = every[kinds, jnp.arange(FAKES)]
    x = jnp.concatenate([digit, fake])[..., None]
    return x, jnp.concatenate([label, jnp.full((FAKES,), digits.REJECT)])


def train(
    images: Float[Array, "n 28 28"], labels: Int[Array, "n"], steps: int, seed: int = 0
) -> dict:
    """Parameters after `steps` steps of AdamW under a cosine schedule, averaged over the end."""
    network = digits.DigitClassifier()
    key = jax.random.key(seed)
    params = network.init(key, jnp.zeros((1, 28, 28, 1)))["params"]
    schedule = optax.warmup_cosine_decay_schedule(0.0, 2e-3, steps // 20, steps)
    optimizer = optax.adamw(schedule, weight_decay=1e-2)

    def loss_fn(params: dict, key: Key[Array, ""]) -> Float[Array, ""]:
        batch, dropout = jax.random.split(key)
        x, y = make_batch(batch, images, labels)
        out = network.apply({"params": params}, x, train=True, rngs={"dropout": dropout})
        logits = Activations(*out).logits
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def step(params: dict, average: dict, state: optax.OptState, i: Int[Array, ""]) -> tuple:
        loss, grads = jax.value_and_grad(loss_fn)(params, jax.random.fold_in(key, i))
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        average = optax.incremental_update(params, average, 0.005)
        return params, average, state, loss

    average, state = jax.tree.map(jnp.copy, params), optimizer.init(params)
    with progress_bar(range(steps), "digit classifier") as bar:
        for i in bar:
            params, average, state, loss = step(params, average, state, jnp.int32(i))
            if i % 100 == 0:
                bar.set_postfix(loss=f"{float(loss):.3f}")
    return average


def finish(params: dict, images: Float[Array, "n 28 28"]) -> dict:
    """The same features at mean square 1 over `images`, and the bias for the rejects expected.

    ReLU is homogeneous: what the hidden layer is divided by, the output kernel is multiplied by,
    and no logit changes. The kernel of KID needs features of about this size. By Bayes' rule the
    log of the odds by which the expectation differs from the batches goes to the reject's bias.
    """
    hidden, out = params["Dense_0"], params["Dense_1"]
    features, _ = digits.DigitClassifier().apply({"params": params}, images[..., None])
    size = jnp.sqrt(jnp.mean(features**2))
    odds = jnp.log(EXPECTED * DIGITS / FAKES)
    return params | {
        "Dense_0": jax.tree.map(lambda x: x / size, hidden),
        "Dense_1": {
            "kernel": out["kernel"] * size,
            "bias": out["bias"].at[digits.REJECT].add(odds),
        },
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=digits.WEIGHTS)
    arguments = parser.parse_args()
    with one_line_errors():
        make(arguments.steps, arguments.out)


def make(steps: int, out: Path) -> None:
    """Trains, writes the weights and prints the report."""
    source = data.digits("train")
    images = jnp.asarray(source.images[..., 0], jnp.float32) / 255.0
    params = train(images, jnp.asarray(source.labels, jnp.int32), steps)
    params = finish(params, images[:1000])
    write_weights(out, params)
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB")
    test = data.digits("test")
    held_out = test.images, test.labels.astype(np.int64)
    report = legibility.legibility(*held_out, *held_out, extractor=digits.extractor(out))
    print(json.dumps(report["controls"]))


if __name__ == "__main__":
    main()
