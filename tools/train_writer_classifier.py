"""Trains the style network of `handwriting/style.py` to tell writers apart, and writes its weights.

    make strokes
    python -m tools.train_writer_classifier --strokes runs/strokes/strokes.npz

Every batch has windows of lines, drawn with pens of different widths, a little turned, stretched
and smaller, blurred, faint and noisy, as photographs are. Printed are the accuracy over the writers
on the split `test`, whose texts are others, and, for the writers of `new_writers`, who were never
seen, how often the line with the nearest features is by the same one: 0.954 and 0.947 of 1,500
lines each for the shipped weights (--steps 2000; 33 minutes on a busy machine of two cores).
"""

import argparse
import functools
import json
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, UInt8

from data.strokes import Strokes, StrokeSource
from handwriting import style
from handwriting.line_features import activations
from handwriting.preprocessing import Rows
from handwriting.render import Rendering, padded
from handwriting.writer_recognition import nearest, recognised
from metrics.weights import write_weights
from options.program import one_line_errors
from options.progress import progress_bar

BATCH = 64
WINDOW = 256  # px of a line that a batch shows
STANDARDISED = 1000  # lines from which the features' means and variances are taken
NORM_EPSILON = 1e-5  # of Flax


def distorted(rows: Rows, rng: np.random.Generator) -> UInt8[np.ndarray, "96 window"]:
    """A window of a line, turned by up to 2 degrees and stretched by up to 8 %, with any pen."""
    angle, stretch = rng.uniform(-0.035, 0.035), rng.uniform(-0.08, 0.08)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moves = rows[:, :2] * [np.exp(stretch), 1] @ turn.T
    rendering = Rendering(pen=float(rng.uniform(1.2, 4.5)), margin=int(rng.integers(0, 10)))
    image = rendering(np.column_stack([moves, rows[:, 2]]))
    start = rng.integers(0, max(image.shape[1] - WINDOW, 0) + 1)
    return padded([image[:, start:]], WINDOW)[0]


def batches(
    source: StrokeSource, seed: int
) -> Iterator[tuple[UInt8[np.ndarray, "b 96 window"], Int[np.ndarray, "b"]]]:
    """Windows of lines in a random order, again and again, and their writers, from 0 on."""
    rng = np.random.default_rng(seed)
    writers = np.searchsorted(np.unique(source.writers), source.writers)
    while True:
        order = rng.permutation(len(source))
        for start in range(0, len(source) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            windows = [distorted(source.line(int(i)).offsets, rng) for i in chosen]
            yield np.stack(windows), writers[chosen]


def degraded(key: Key[Array, ""], x: Float[Array, "b h w"]) -> Float[Array, "b h w"]:
    """Blurred, faint and noisy darkness; half of the images stay as they are."""
    some, blur, faint, size, noise = jax.random.split(key, 5)
    b = len(x)
    amount = jax.random.bernoulli(some, 0.5, (b, 1, 1))
    mean = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 3, 3), (1, 1, 1), "SAME") / 9
    mixed = x + jax.random.uniform(blur, (b, 1, 1)) * (mean - x)
    mixed *= jax.random.uniform(faint, (b, 1, 1), minval=0.4)
    std = 0.08 * jax.random.uniform(size, (b, 1, 1))
    mixed += std * jax.random.normal(noise, x.shape)
    columns = jnp.arange(x.shape[2]) < style.ink_widths(x)[:, None]
    mixed = jnp.clip(mixed, 0, 1) * columns[:, None]  # the padding stays white
    return jnp.where(amount, mixed, x)


def train(source: StrokeSource, steps: int, seed: int = 0) -> tuple[dict, dict]:
    """Parameters after `steps` steps of AdamW under a cosine schedule, statistics of the norms."""
    network = style.WriterClassifier(batch_norm=True)
    key = jax.random.key(seed)
    made = network.init(key, jnp.zeros((1, style.HEIGHT, WINDOW)))
    params, statistics = made["params"], made["batch_stats"]
    schedule = optax.warmup_cosine_decay_schedule(0.0, 4e-3, steps // 20, steps)
    optimizer = optax.adamw(schedule, weight_decay=1e-2)

    def loss_fn(params: dict, statistics: dict, key: Key[Array, ""], images, writers):
        x = degraded(key, style.darkness(images))
        variables = {"params": params, "batch_stats": statistics}
        (_, logits), changed = network.apply(variables, x, train=True, mutable="batch_stats")
        wanted = optax.smooth_labels(jax.nn.one_hot(writers, network.writers), 0.05)
        loss = jnp.mean(optax.softmax_cross_entropy(logits, wanted))
        return loss, changed["batch_stats"]

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def step(params: dict, statistics: dict, state: optax.OptState, i: Array, images, writers):
        grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
        some = jax.random.fold_in(key, i)
        (loss, statistics), grads = grad_fn(params, statistics, some, images, writers)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), statistics, state, loss

    state, drawn = optimizer.init(params), batches(source, seed)
    with progress_bar(range(steps), "writer classifier") as bar:
        for i in bar:
            batch = next(drawn)
            params, statistics, state, loss = step(params, statistics, state, jnp.int32(i), *batch)
            if i % 50 == 0:
                bar.set_postfix(loss=f"{float(loss):.3f}")
    return params, statistics


def folded(params: dict, statistics: dict) -> dict:
    """The same network without norms: they go into the convolutions, `center` and `scale`."""
    found = {"Dense_0": params["Dense_0"]}
    for name, convolution in params.items():
        if not name.startswith("Conv"):
            continue
        norm = name.replace("Conv", "BatchNorm")
        mean, variance = statistics[norm]["mean"], statistics[norm]["var"]
        scale = params[norm]["scale"] / jnp.sqrt(variance + NORM_EPSILON)
        bias = params[norm]["bias"] + (convolution["bias"] - mean) * scale
        found[name] = {"kernel": convolution["kernel"] * scale, "bias": bias}
    last = statistics["line_norm"]
    center = params["center"] + last["mean"] / params["scale"]
    scale = params["scale"] / jnp.sqrt(last["var"] + NORM_EPSILON)
    return found | {"center": center, "scale": scale}


def finish(params: dict, source: StrokeSource) -> dict:
    """The same logits of features that have mean 0 and variance 1 in each channel, over lines.

    Features are shifted and scaled, and the last layer undoes it.
    """
    lines = np.arange(min(STANDARDISED, len(source)))
    extractor = style.with_weights(style.WriterClassifier(), params, "unfinished")
    features = activations(source, extractor, lines).features
    mean = features.mean(axis=(0, 1))
    std = np.maximum(features.std(axis=(0, 1)), 1e-3)  # a channel may be silent
    last = params["Dense_0"]
    return params | {
        "center": params["center"] + mean / params["scale"],
        "scale": params["scale"] / std,
        "Dense_0": {
            "kernel": last["kernel"] * std[:, None],
            "bias": last["bias"] + mean @ last["kernel"],
        },
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strokes", default="", help="the file of lines; the embedded ones")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=style.WEIGHTS)
    arguments = parser.parse_args()
    with one_line_errors():
        make(Strokes(arguments.strokes), arguments.steps, arguments.out)


def make(strokes: Strokes, steps: int, out: Path) -> None:
    """Trains, writes the weights and prints the accuracies."""
    source = strokes.read("train")
    write_weights(out, finish(folded(*train(source, steps)), source))
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")
    extractor, known = style.load(out), np.unique(source.writers)
    for split in ("test", "new_writers"):
        lines = strokes.read(split)
        found = activations(lines, extractor, np.arange(len(lines)))
        report = {"lines": len(lines), "nearest": nearest(found.features, lines.writers)}
        if np.isin(lines.writers, known).all():
            report["recognised"] = recognised(found.logits, known, lines.writers)
        print(f"{split}: {json.dumps(report)}")


if __name__ == "__main__":
    main()
