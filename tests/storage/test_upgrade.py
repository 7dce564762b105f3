"""What older versions saved is read: every shipped file, and a flat configuration of each kind."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiment import kinds
from experiment.experiment import at
from experiment.writing import Writer
from options.errors import InvalidValue
from storage.checkpoint import Checkpoints
from storage.upgrade import LEVEL_FEATURES, upgrade_config, upgrade_parameters
from storage.weights import read_meta

PRETRAINED = pathlib.Path(__file__).parent.parent.parent / "pretrained"
# At fixed states, times and conditions: first, middle, mean and standard deviation of what the
# networks said of two examples before configurations were nested; "emoji", "emoji_latent" and those
# of handwriting, which are newer, when they were exported.
SAID = {
    "digits": [[1.57220256, 2.61217666, 0.46684620, 1.00178336],
               [1.03797889, 1.17622876, 0.13174945, 0.71749714]],
    "emoji": [[-1.15663517, 1.34156835, 0.01948163, 0.84485318],
              [-0.75357825, 0.64669389, -0.02363252, 0.72225891]],
    "emoji_base_8": [[-1.29645085, -0.98431921, -0.03684492, 0.87518693],
                     [0.78490990, -0.40447229, -0.09879346, 0.71256652]],
    "emoji_up_16": [[-2.26222920, -1.64298415, -0.10843353, 1.38895551],
                    [0.83598113, -1.02602553, -0.00788992, 0.72307468]],
    "emoji_up_32": [[-2.03733706, -0.67804557, -0.05721063, 1.44155123],
                    [-0.73295856, 0.64704597, -0.02456409, 0.72484953]],
    "emoji_latent": [[-0.68380791, -0.33782071, -0.03810685, 1.10216541],
                     [0.37942484, -0.65503466, 0.01540935, 0.70322362]],
    "handwriting_small": [[-0.139489, 0.0, -0.027369, 0.353703],
                          [0.954778, 0.0, -0.004293, 0.200656]],
    "lines_small": [[-1.316404, -0.267273, -0.073008, 0.531253],
                    [-1.453885, 0.617987, -0.048102, 0.327319]],
    "digits_classifier": [[-5.35040092, -5.79801893, -5.52979570, 2.45333811],
                          [-2.87820411, -2.38868856, -2.33735976, 0.26556447]],
    "emoji_classifier": [[-2.37748742, -1.84562206, -3.30033763, 1.77426107],
                         [-4.91153431, -3.66578460, -3.63928164, 1.43437421]],
}  # fmt: skip


def wave(shape: tuple[int, ...], function, rate: float) -> jax.Array:
    count = int(np.prod(shape))
    return function(jnp.arange(2 * count, dtype=jnp.float32).reshape(2, *shape) * rate)


def asked_of_a_writer(made) -> dict:
    """Two texts by two writers, in styles that nobody has."""
    tokens = np.stack([Writer(made, None).alphabet.encode(text, 8) for text in ("Call me", "a 1.")])
    style = np.asarray(wave((14, 128), jnp.cos, 0.23))
    asked = made.asked(tokens, np.array([1, 4], np.int32), style)
    return asked.conditioning(np.arange(2), made.medium, made.shape[made.medium.axis])


@pytest.mark.one_in(8)
@pytest.mark.parametrize("name", SAID)
def test_a_shipped_network_says_what_it_said(name):
    path = PRETRAINED / f"{name}.npz"
    made = kinds.open_experiment(path)
    made.check_all(1)
    params = at(path).params(made.template)
    node = made.process.node(jnp.array([0.1, 0.6]))
    x = wave(made.shape, jnp.sin, 0.37)
    if made.writes or made.draws_samples:
        cond = asked_of_a_writer(made) if made.writes else {"labels": jnp.array([1, 4])}
        if not made.writes and made.low is not None:
            image = wave(made.low.shape(made.shape), jnp.cos, 0.11)
            cond["low"] = {"image": image, "level": jnp.array([0.0, 0.3])}
        predict = made.task.predictor(params)
        found = jax.jit(lambda x: predict(x, node, cond).eps)(x)
    else:
        found = made.task.classifier(params).log_probs(x, node)
    rows = np.asarray(found, np.float64).reshape(2, -1)
    said = [[row[0], row[len(row) // 2], row.mean(), row.std()] for row in rows]
    np.testing.assert_allclose(said, SAID[name], rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", SAID)
def test_a_shipped_configuration_is_whole_and_upgrading_it_again_changes_nothing(name):
    config = kinds.load(PRETRAINED / f"{name}.npz")
    again = kinds.complete(upgrade_config(json.loads(config.to_json())))
    assert again.to_dict() == config.to_dict()


def test_the_shipped_emoji_remember_the_configuration_that_is_here():
    """Whose header says how they were trained and how good they are."""
    found, here = kinds.load(PRETRAINED / "emoji.npz"), kinds.load("configs/emoji/vp.py")
    assert found.to_dict() == here.to_dict()


def flat(**changes) -> dict:
    """The flat configuration of the shipped digits, with fields changed by dotted name."""
    old = read_meta(PRETRAINED / "digits.npz")["config"]
    old = json.loads(json.dumps(old))
    for name, value in changes.items():
        section, _, field = name.partition("__")
        old.setdefault(section, {})[field] = value
    return old


def upgraded(**changes):
    return kinds.complete(upgrade_config(flat(**changes)))


def test_what_only_the_chosen_class_reads_is_kept():
    config = upgraded(process__name="ve", process__sigma_max=77.0, process__beta_max=9.0)
    assert config.process.to_dict() == {
        "name": "ve", "sigma_min": 0.01, "sigma_max": 77.0, "t_min": 1e-5, "t_max": 1.0
    }  # fmt: skip
    config = upgraded(sampling__solver="ddim", sampling__eta=0.5, sampling__snr=0.3)
    assert config.sampling.solver.to_dict() == {"name": "ddim", "eta": 0.5}
    config = upgraded(sampling__solver="ode", sampling__rtol=0.0, sampling__atol=1e-3)
    assert config.sampling.solver.atol == 1e-3 and config.sampling.solver.rtol > 0
    config = upgraded(sampling__solver="picard", sampling__inner="heun", sampling__window=4)
    assert (config.sampling.solver.window, config.sampling.solver.solver.name) == (4, "heun")
    config = upgraded(sampling__faithful=True, sampling__grid="published", sampling__num_steps=7)
    assert (
        config.sampling.solver.predictor.faithful == config.sampling.solver.corrector.faithful == 7
    )


def test_outputs_times_and_controls_keep_their_numbers():
    config = upgraded(
        parameterization__output="edm", parameterization__sigma_data=0.7, loss__weighting="edm",
        loss__times="lognormal", loss__time_mean=-1.0, loss__time_std=1.1,
    )  # fmt: skip
    assert config.parameterization.output.sigma_data == config.loss.weighting.sigma_data == 0.7
    assert config.loss.times.to_dict() == {"name": "lognormal", "mean": -1.0, "std": 1.1}
    config = upgraded(control__task="restore", control__method="dps", control__strength=9.0)
    assert config.control.task.method.to_dict() == {"name": "dps", "strength": 9.0}
    config = upgraded(guidance__strategy="truncated", guidance__s_max_classifier=3.0)
    assert config.guidance.strategy.s_max_classifier == 3.0
    # Dropout was read from the configuration, off where that was silent.
    silent = flat()
    silent["model"].pop("dropout", None)
    assert kinds.complete(upgrade_config(silent)).model.dropout == 0.0


def test_older_versions_held_nothing_out_and_judged_all_by_the_digits_network():
    old = flat(data__name="folder", data__path="x")
    nested = {"data": {"source": {"name": "folder", "path": "x"}}, "eval": {"extractor": "digits"}}
    for found in (upgrade_config(old), upgrade_config(nested)):
        assert found["data"]["holdout"] == 0.0 and found["eval"]["extractor"] == "auto"
    now = {"data": nested["data"] | {"holdout": 0.2}, "eval": nested["eval"]}
    assert upgrade_config(now) == now
    assert upgrade_config(flat())["eval"]["extractor"] == "digits"
    assert kinds.load(PRETRAINED / "emoji_up_32.npz").eval.extractor == "auto"


def test_older_versions_measured_nothing_while_they_trained():
    nested = {"training": {"steps": 7, "n_jitted_steps": 7}}
    assert upgrade_config(nested)["training"] == nested["training"] | {"evaluate_every": 0}
    assert upgrade_config(flat())["training"]["evaluate_every"] == 0
    now = {"training": {"evaluate_every": 30}, "data": {"holdout": 0.1}}
    assert upgrade_config(now) == now


def test_the_kernel_of_an_old_upsampler_is_split_between_augmentation_and_level():
    kernel = np.arange((9 + LEVEL_FEATURES) * 2.0).reshape(-1, 2)
    old = {"unet/conv_in/kernel": np.ones(3), "unet/embedding/augment/kernel": kernel}
    new = upgrade_parameters(old)
    assert sorted(new) == ["conv_in/kernel", "embedding/augment/kernel", "embedding/low/kernel"]
    assert np.array_equal(new["embedding/augment/kernel"], kernel[:9])
    assert np.array_equal(new["embedding/low/kernel"], kernel[9:])
    assert upgrade_parameters(new) == new


def test_a_run_of_an_old_upsampler_goes_on(tmp_path):
    """Parameters, moments and average are in the places that they have now."""
    kernel = jnp.arange((9 + LEVEL_FEATURES) * 2.0).reshape(-1, 2)
    unet = {"conv_in": {"kernel": jnp.ones(3)}, "embedding": {"augment": {"kernel": kernel}}}
    old = {"unet": unet}
    state = {"step": jnp.int32(4), "params": old, "opt_state": ({"mu": old, "nu": old}, ())}
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(4, state, old, {"data": {}})
    embedding = {"augment": {"kernel": kernel[:9]}, "low": {"kernel": kernel[9:]}}
    new = {"conv_in": {"kernel": jnp.ones(3)}, "embedding": embedding}
    like = {"step": jnp.int32(4), "params": new, "opt_state": ({"mu": new, "nu": new}, ())}
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), (like, new)
    )
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        found = checkpoints.restore(*shapes)
    assert found is not None and found.step == 4
    jax.tree.map(np.testing.assert_array_equal, found.state, like)
    jax.tree.map(np.testing.assert_array_equal, found.ema, new)


def test_weights_of_another_network_are_refused_by_name():
    made = kinds.open_experiment(PRETRAINED / "digits.npz", {"model.nf": 40})
    with pytest.raises(InvalidValue, match="weights: .* does not fit this network: .*conv_in"):
        at(PRETRAINED / "digits.npz").params(made.template)


@pytest.mark.parametrize(
    "mask, new",
    [
        ("half", "half"),
        ("mine/mask.png", {"name": "drawn", "path": "mine/mask.png"}),
        ({"name": "box", "fraction": 0.5}, {"name": "box", "fraction": 0.5}),
    ],
)
def test_a_mask_was_a_name_or_a_path(mask, new):
    old = {"control": {"task": {"name": "inpaint", "mask": mask}, "images": 4}, "data": {}}
    found = upgrade_config(old)["control"]
    assert found == {"task": {"name": "inpaint", "mask": new}, "images": 4}
    assert old["control"]["task"]["mask"] == mask
