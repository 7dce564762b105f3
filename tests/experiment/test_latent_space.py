"""Latents as a space: an exact oracle, the file, the cache, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_autoencoder import LinearAutoencoder, coder

import models
import sampling
from controllable.inverse_problems import Downsampling, dps
from controllable.sdedit import noised_start
from data import CENTERED, ArraySource, Loader, Transform
from experiment import kinds
from experiment.latent_space import LatentSpace
from experiment.latents import LatentCoder, fingerprint_of
from generation.control_tasks import Colorize, Edit, Guide, Inpaint, PosteriorSampling, Restore
from generation.controls import Asked, Controls
from generation.sampler import Generator
from likelihood import log_likelihood
from options.errors import InvalidValue, StorageError
from parameterization import from_denoiser
from sde_lib import VPSDE
from solvers import DDIM
from solvers.grids import uniform_grid
from solvers.sampler import Sampler
from storage import weights

PROCESS, SIDE = VPSDE(), 4
GRID = uniform_grid(PROCESS, 20, t_end=1e-3)
MEAN, STD = 0.1, 0.3  # of the latents of Gaussian images


@pytest.fixture
def linear(monkeypatch):
    monkeypatch.setitem(models.AUTOENCODERS, "linear", LinearAutoencoder)


@pytest.fixture
def space(linear, tmp_path):
    coder().save(tmp_path / "linear.npz")
    return LatentSpace(str(tmp_path / "linear.npz"))


def denoised(z, t):
    """E[z_0 | z_t] of z_0 ~ N(MEAN, STD^2), by the formula for two Gaussians."""
    alpha, sigma = (f(t).reshape(-1, *[1] * (z.ndim - 1)) for f in (PROCESS.alpha, PROCESS.sigma))
    gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
    return MEAN + gain * (z - alpha * MEAN)


def models_of(space):
    """(model of latents, the same of pixels: images are W z, and nothing beside it)."""
    network, variables = space.coder.network, {"params": space.coder.params}

    def of_pixels(x, t):
        z = network.apply(variables, x, method="encode").mean
        return network.apply(variables, denoised(z, t), method="decode")

    return from_denoiser(denoised), from_denoiser(of_pixels)


def test_samples_guidance_and_edits_are_those_of_the_pixel_model(space):
    """A run of latents, decoded, and one of pixels from the same noise, of which the pixels' has
    some beside the subspace, that leads to nothing."""
    latents, pixels = models_of(space)
    network, variables = space.coder.network, {"params": space.coder.params}

    def encode(x):
        return network.apply(variables, x, method="encode").mean

    def decode(z):
        return network.apply(variables, z, method="decode")

    x = jax.random.normal(jax.random.key(1), (3, SIDE, SIDE, 1))
    first = PROCESS.node(jnp.full(3, GRID.t[0]))

    def draw(predict, x, **options):
        begin = {"start": (x, first), **options}
        return sampling.sample(
            jax.random.key(0), PROCESS, predict, DDIM(), GRID, x.shape, **begin
        ).x

    operator = Downsampling(2)
    y = operator(decode(0.6 * jax.random.normal(jax.random.key(2), (3, 2, 2, 2))))
    for guided in (False, True):
        ours = {"guidance": dps(space.on_states(operator), y, 30.0)} if guided else {}
        theirs = {"guidance": dps(operator, y, 30.0)} if guided else {}
        made = draw(latents, encode(x), **ours)
        np.testing.assert_allclose(decode(made), draw(pixels, x, **theirs), atol=2e-5)
        reached = jnp.abs(operator(decode(made)) - y).mean()
    unguided = jnp.abs(operator(decode(draw(latents, encode(x)))) - y).mean()
    assert reached < 0.6 * unguided  # so the guidance did something
    # Where an edit begins is the image's latents, noised.
    image = decode(jnp.full((1, 2, 2, 2), 0.2))
    start, node = noised_start(jax.random.key(3), PROCESS, encode(image), 0.4, None)
    noise = jax.random.normal(jax.random.key(3), start.shape)
    np.testing.assert_allclose(start, node.alpha * 0.2 + node.sigma * noise, atol=1e-6)


@pytest.mark.slow
def test_likelihood_is_that_of_the_gaussian_and_of_the_pixel_model(space):
    """Of the pixel model's, what noise beside the subspace adds is known: N(0, sigma(t_min)^2)."""
    latents, pixels = models_of(space)
    z = MEAN + STD * jax.random.normal(jax.random.key(4), (2, 2, 2, 2))
    x = space.coder.network.apply({"params": space.coder.params}, z, method="decode")
    key = jax.random.key(0)

    def of(predict, x):
        return log_likelihood(key, PROCESS, predict, x, probe="exact").value

    found = of(latents, z)
    t = PROCESS.t_min
    node = PROCESS.node(jnp.float32(t))
    variance = node.alpha**2 * STD**2 + node.sigma**2
    away = np.sum((np.asarray(z) - node.alpha * MEAN) ** 2, axis=(1, 2, 3))
    exact = -away / (2 * variance) - 4 * np.log(2 * np.pi * variance)
    np.testing.assert_allclose(found, exact, atol=0.01)
    beside = -4 * np.log(2 * np.pi * node.sigma**2)  # of 16 - 8 dimensions
    np.testing.assert_allclose(of(pixels, x), found + beside, atol=0.01)
    with pytest.raises(InvalidValue, match="only 8-bit pixels have bits per dimension"):
        space.bits_per_dim(found, 8)


def test_a_space_decodes_what_it_encodes_and_knows_its_scale(linear, tmp_path):
    """Of images that patches' directions make, by latents with a mean and a scale a channel."""
    coder(mean=(0.2, -0.1), std=(0.5, 2.0)).save(tmp_path / "scaled.npz")
    space = LatentSpace(str(tmp_path / "scaled.npz"))
    z = np.random.default_rng(0).normal(0, 0.1, (3, 5, 2, 4, 2)).astype(np.float32)
    images = space.decode(z)
    assert images.shape == (3, 5, 4, 8, 1) and images.dtype == np.uint8
    raw = z * np.array(space.coder.std) + (0.2, -0.1)
    network, params = space.coder.network, space.coder.params
    x = network.apply({"params": params}, jnp.asarray(raw[0], jnp.float32), method="decode")
    np.testing.assert_allclose(space.to_unit(z[0]), (x + 1) / 2, atol=1e-6)
    np.testing.assert_allclose(CENTERED.pixels.encode(images[0]), x, atol=1.01 / 255)
    again = space.encode(images[0])
    np.testing.assert_allclose(
        again * np.array(space.coder.std), z[0] * np.array(space.coder.std), atol=4 / 255
    )
    # More than a call of the network takes, in the same order.
    many = np.random.default_rng(1).integers(0, 256, (70, 4, 4, 1), np.uint8)
    np.testing.assert_array_equal(space.encode(many)[60:], space.encode(many[60:]))
    assert space.shape((4, 8, 1)) == (2, 4, 2) and space.check_transform(Transform()) is None


def test_a_training_reads_latents_that_are_encoded_once(linear, tmp_path, monkeypatch):
    coder(spread=0.05, std=(0.5,)).save(tmp_path / "linear.npz")
    space = LatentSpace(str(tmp_path / "linear.npz"))
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), np.uint8)
    source = ArraySource("few", images, np.arange(6) % 2, ("even", "odd"))
    folder, transform = tmp_path / "kept", Transform(flip=True, space=space)
    kept, posterior = space.for_training(source, transform, folder)
    assert kept.class_names == ("even", "odd") and kept[3]["label"] == 1
    loader = Loader(kept, 600, posterior, seed=0, shuffle=False)
    batch = loader.batch_at(0)
    each = batch["image"].reshape(100, 6, 2, 2, 2)
    plain, mirrored = space.encode(images), space.encode(images[:, :, ::-1])
    near = [np.abs(each - z).max((2, 3, 4)) < 0.7 for z in (plain, mirrored)]
    assert (near[0] | near[1]).all() and 0.4 < near[0].mean() < 0.6
    noise = np.where(near[0][..., None, None, None], each - plain, each - mirrored)
    assert abs(noise.std() - 0.05 / 0.5) < 0.005 and abs(noise.mean()) < 0.005
    # Read again, nothing is encoded; another autoencoder's latents are others.
    monkeypatch.setattr(LatentCoder, "moments", None)
    again, _ = space.for_training(source, transform, folder)
    np.testing.assert_array_equal(again.take(np.arange(6))["image"], kept.images)
    monkeypatch.undo()
    monkeypatch.setitem(models.AUTOENCODERS, "linear", LinearAutoencoder)
    coder(seed=1).save(tmp_path / "other.npz")
    other, _ = LatentSpace(str(tmp_path / "other.npz")).for_training(source, transform, folder)
    assert np.abs(other.images[:, :, 0] - kept.images[:, :, 0]).max() > 0.1
    assert len(list(folder.iterdir())) == 2


def config_of(path, **more):
    sections = {"data": {"space": {"name": "latents", "weights": str(path)}, "image_size": (8, 8)}}
    return {"task": "image", **sections, **more}


def test_another_autoencoder_than_the_run_remembers_is_refused(linear, tmp_path):
    first, other = tmp_path / "first.npz", tmp_path / "other.npz"
    coder().save(first)
    coder(seed=1).save(other)
    config = kinds.experiment(kinds.complete(config_of(first))).config
    assert config.data.space.fingerprint == fingerprint_of(first) == coder().fingerprint
    moved = kinds.changed(config.to_dict(), {"data.space.weights": str(other)})
    with pytest.raises(InvalidValue, match="^data.space.weights: .*other.npz.*fingerprint is"):
        kinds.experiment(moved).shape  # noqa: B018
    first.rename(tmp_path / "elsewhere.npz")
    there = {"data.space.weights": str(tmp_path / "elsewhere.npz")}
    assert kinds.experiment(kinds.changed(config.to_dict(), there)).shape == (4, 4, 2)
    # A file whose parameters were changed since.
    record = weights.read_meta(other)
    weights.export_weights(other, coder(seed=2).params, "float32", record)
    with pytest.raises(StorageError, match="not those of its fingerprint"):
        LatentCoder.load(other)


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"data.augment": 0.1}, "^data.augment: got .* images are encoded once"),
        ({"data.crop": "random"}, "^data.crop: got 'random', but images are encoded once"),
        ({"data.dequantize": True}, "^data.dequantize: .* has no grey levels"),
        (
            {"data.source": "emoji", "data.num_channels": 3},
            "^data.space.weights: .* the data 3",
        ),
        ({"conditions.low.size": 4}, "^conditions.low: .*an upsampler is of pixels"),
    ],
)
def test_what_latents_cannot_have_is_refused(change, expected, space):
    config = kinds.complete(config_of(space.weights))
    with pytest.raises(InvalidValue, match=expected):
        kinds.experiment(kinds.changed(config.to_dict(), change)).check_all(1)


@pytest.mark.slow
def test_controls_go_through_the_decoder(space):
    grid = uniform_grid(PROCESS, 4, t_end=1e-3)
    sampler = Sampler(PROCESS, DDIM(), grid, (2, 2, 2), space)
    controls = Controls(
        lambda t: sampler if t is None else dataclasses.replace(
            sampler, grid=uniform_grid(PROCESS, 4, t_start=t, t_end=1e-3)
        )
    )  # fmt: skip
    latents, _ = models_of(space)
    images = space.decode(np.full((2, 2, 2, 2), 0.2, np.float32))
    labels = np.full(2, -1, np.int32)
    for task in (Edit(0.2), Guide(), Restore(method=PosteriorSampling(1.0))):
        made = controls.run(latents, Asked(task, images, labels, 3), jax.random.key(0))
        assert made.results.shape == (2, 3, 4, 4, 1) and made.results.dtype == np.uint8
        assert made.picture.shape[-1] == 1
    made = Generator(sampler).draw(latents, jax.random.key(0), labels, frames=3)
    assert made.data.shape == (2, 4, 4, 1) and made.path.shape == (2, 3, 4, 4, 1)


def test_what_replaces_pixels_is_refused_by_name(space):
    controls = Controls(lambda t: Sampler(PROCESS, DDIM(), GRID, (2, 2, 2), space))
    for task in (Inpaint(), Colorize()):
        with pytest.raises(InvalidValue, match="it replaces pixels, which the latents"):
            controls.check(task)
    with pytest.raises(InvalidValue, match="method: got PseudoInverse, .* not linear then"):
        controls.check(Restore())
