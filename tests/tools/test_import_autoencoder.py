"""A folder of diffusers, from its files to latents and back."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiment.latents import PIXELS, LatentCoder
from options.errors import StorageError, UserError
from tools.import_autoencoder import import_autoencoder, main
from tools.import_checkpoint import import_checkpoint


def test_what_is_written_gives_what_was_recorded(golden, tmp_path, capsys):
    theirs = golden.path / "diffusers_autoencoder_kl"
    out, recorded = tmp_path / "made.npz", theirs / "expected.npz"
    main([str(theirs), "--out", str(out), "--expected", str(recorded)])
    said = capsys.readouterr().out
    assert all(f"{name} differs by" in said for name in ("mean", "logvar", "decoded_mean"))
    coder = LatentCoder.load(out)
    assert (coder.mean, coder.std) == ((0.0,), (1 / 0.18215,))
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    z = coder.encode(images)
    variables = {"params": coder.params}
    x = jnp.asarray(PIXELS.encode(images))
    latents = coder.network.apply(variables, x, method="encode")
    np.testing.assert_allclose(z, 0.18215 * latents.mean, atol=1e-5)
    back = coder.network.apply(variables, latents.mean, method="decode")
    assert np.abs(coder.decode(z).astype(int) - PIXELS.decode(back).astype(int)).max() <= 1
    with pytest.raises(UserError, match="sides are multiples of 2, not 7 x 8"):
        coder.encode(images[:, :7])


def test_what_is_no_autoencoder_is_one_line_and_no_file(golden, tmp_path):
    with pytest.raises(StorageError, match="expected a folder of diffusers' AutoencoderKL"):
        import_autoencoder(golden.path / "diffusers_ddpm", tmp_path / "made.npz")
    theirs = golden.path / "diffusers_autoencoder_kl"
    with pytest.raises(StorageError, match="an autoencoder: tools.import_autoencoder takes"):
        import_checkpoint(theirs, tmp_path / "made.npz")
    z = np.load(theirs / "expected.npz")
    np.savez(tmp_path / "other.npz", x=z["x"], mean=2 * z["mean"])
    with pytest.raises(UserError, match="mean differs by 0.5 of the largest value"):
        import_autoencoder(theirs, tmp_path / "made.npz", expected=str(tmp_path / "other.npz"))
    assert not (tmp_path / "made.npz").exists()
    with pytest.raises(StorageError, match="digits.npz', but it has no autoencoder"):
        LatentCoder.load("pretrained/digits.npz")
