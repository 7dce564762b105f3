"""Classifier guidance on a mixture: classes, classifier and conditional distributions are exact."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from damage import NAMES, damages

from controllable.automatic.gain import GainSearch, MeasurementOptions, measure
from controllable.automatic.guidance import automatic_guidance
from controllable.automatic.measurement import GuidedModel, Level, Measured, levels_at
from controllable.classifier_guidance import clamped_level, class_gradient, classifier_guidance
from controllable.schedules import Constant, Interval, Linear
from controllable.strategies import (
    STRATEGIES,
    Automatic,
    ClassifierFree,
    GuidanceInputs,
    Strategy,
    Truncated,
    Zones,
)
from generation.guide import Guide, KeptParts
from options.errors import InvalidValue
from oracles import Gaussian, Mixture
from parameterization import MASK, Prediction, as_pytree
from sampling import sample
from sde_lib import VESDE, VPSDE, FlowMatching
from solvers import DDIM, AdaptiveSDE, DPMSolverPP, Heun, PredictorCorrector
from solvers.grids import log_snr_grid
from solvers.predictor_corrector import Ancestral, NoCorrector
from tasks.conditions import ClassLabel

DATA = Mixture(jnp.array([[-1.0, 0.0], [1.0, 0.5], [0.3, -1.2]]), 0.3, jnp.array([0.3, 0.5, 0.2]))
PROCESS = VPSDE()
FLOW = DDIM()
LABELS = jnp.repeat(jnp.arange(3), 600)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Exact:
    """The classifier of the mixture's parts: log p times `sharpness`, gradients times `slope`."""

    sharpness: float = 1.0
    slope: float = 1.0

    def log_probs(self, x, node):
        log_p = self.sharpness * jax.nn.log_softmax(DATA.log_parts(node, x))
        return self.slope * log_p + jax.lax.stop_gradient((1 - self.slope) * log_p)


def score(x, node, cond):
    """The mixture as an unconditional network: given a class it would fail."""
    assert not cond
    return DATA(x, node)


DROPPED = (ClassLabel(3, 0.1),)


def given_no_class(x, node, cond):
    """As a network trained with label dropout, which is to be given the null."""
    return DATA(x + 0 * (cond["labels"] - 3)[:, None] * jnp.nan_to_num(jnp.inf), node)


def draw(guidance, solver=FLOW, process=PROCESS, labels=LABELS, steps=200, predict=score):
    start = {"t_start": 0.999} if isinstance(process, FlowMatching) else {}
    grid = log_snr_grid(process, steps, t_end=1e-3, **start)
    shape = (len(labels), 2)
    made = sample(
        jax.random.key(0), process, predict, solver, grid, shape,
        cond={"labels": labels}, guidance=guidance,
    )  # fmt: skip
    return np.asarray(made.x)


def assert_is_the_class(x, labels, spread=0.1):
    for k in range(3):
        own = x[np.asarray(labels) == k]
        np.testing.assert_allclose(own.mean(0), DATA.means[k], atol=0.06)
        np.testing.assert_allclose(own.std(0) / DATA.std, 1.0, atol=spread)


@pytest.mark.parametrize("process", [VPSDE(), VESDE(0.01, 30.0), FlowMatching()])
def test_bayes_rule_makes_the_score_of_a_class(process):
    node = process.node(jnp.full(3, 0.4 * process.t_max))
    x, labels = jax.random.normal(jax.random.key(1), (3, 2)), jnp.arange(3)
    guided = classifier_guidance(Exact())(score)(x, node, {"labels": labels})
    for k in range(3):
        one = Gaussian(DATA.means[k], jnp.full(2, DATA.std))(x, node)
        np.testing.assert_allclose(guided.x_0[k], one.x_0[k], rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(guided.eps[k], one.eps[k], rtol=2e-3, atol=1e-4)


SOLVERS = [
    DDIM(), DPMSolverPP(), Heun(), PredictorCorrector(Ancestral(), NoCorrector()), AdaptiveSDE(),
]  # fmt: skip


@pytest.mark.one_in(3)
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_bayes_rule_samples_the_class_with_every_solver(solver):
    assert_is_the_class(draw(classifier_guidance(Exact()), solver), LABELS)


def test_amplified_guidance_sharpens():
    labels = jnp.zeros(500, jnp.int32)
    plain, strong = (draw(classifier_guidance(Exact(), scale), labels=labels) for scale in (1, 20))
    # Away from the other two parts, which lie to the right.
    assert strong[:, 0].mean() < plain[:, 0].mean() - 0.1
    assert strong.std(0).mean() < plain.std(0).mean()


def test_scale_0_is_the_model_and_the_null_is_given():
    x = draw(classifier_guidance(Exact(), 0.0))
    np.testing.assert_allclose(x.mean(0), DATA.weights @ DATA.means, atol=0.1)
    y = draw(classifier_guidance(Exact(), 0.0, DROPPED), predict=given_no_class)
    np.testing.assert_allclose(x, y, atol=1e-5)


def test_the_zone_of_guidance_and_the_level_given_to_the_classifier():
    node = PROCESS.node(jnp.array([0.05, 0.4, 0.9]))
    x, cond = jnp.ones((3, 2)), {"labels": jnp.array([0, 0, 0])}
    s = np.asarray(node.sigma / node.alpha)
    low, high = (s[0] + s[1]) / 2, (s[1] + s[2]) / 2
    plain = DATA(x, node)
    bayes = classifier_guidance(Exact())(score)(x, node, cond)
    zone = classifier_guidance(Exact(), Interval(Constant(1.0), low, high))(score)(x, node, cond)
    np.testing.assert_allclose(zone.eps[::2], plain.eps[::2])
    np.testing.assert_allclose(zone.eps[1], bayes.eps[1], rtol=1e-5)

    level, factor = clamped_level(PROCESS, node, float(s[1]))
    np.testing.assert_allclose(level.sigma / level.alpha, np.minimum(s, s[1]), rtol=1e-4)
    np.testing.assert_allclose(factor * node.alpha, level.alpha, rtol=1e-5)
    clamped = classifier_guidance(
        Exact(), Linear(2.0, 1.0), process=PROCESS, s_max_classifier=float(s[1])
    )(score)(x, node, cond)
    g, _ = class_gradient(Exact(), factor[:, None] * x, level, cond["labels"])
    want = plain.score + (1 + node.t[:, None]) * factor[:, None] * g
    np.testing.assert_allclose(clamped.score, want, rtol=1e-4, atol=1e-5)


def test_each_class_has_a_zone_of_its_own():
    node = PROCESS.node(jnp.full(3, 0.4))
    x, cond = jnp.ones((3, 2)), {"labels": jnp.array([0, 1, 2])}
    s = float(node.sigma[0] / node.alpha[0])
    inside, below, above = (s / 2, 2 * s), (s / 4, s / 2), (2 * s, 4 * s)
    low, high = zip(inside, below, above, strict=True)
    strategy = Zones(3.0, low, high, s / 1.5)
    zones = strategy.guidance(GuidanceInputs(PROCESS, (), Exact()))(score)(x, node, cond)
    one = Truncated(3.0, *inside, s / 1.5).guidance(GuidanceInputs(PROCESS, (), Exact()))
    np.testing.assert_allclose(zones.eps[0], one(score)(x, node, cond).eps[0], rtol=1e-5)
    np.testing.assert_allclose(zones.eps[1:], DATA(x, node).eps[1:], rtol=1e-5)
    assert abs(zones.eps[0] - DATA(x, node).eps[0]).max() > 0.01
    two = Zones(1.0, (0.1, 0.1), (2.0, 3.0)).guidance(GuidanceInputs(PROCESS, (), Exact()))(score)
    with pytest.raises(InvalidValue, match="scale: got 2 of them, expected one, or one for each"):
        two(x, node, cond)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Zones(low=(0.1, 0.2), high=(1.0, 2.0, 3.0)), "low: got .*as many as high, 3"),
        (lambda: Zones(low=(2.0,), high=(1.0, 3.0)), "low: got 2.0, expected less than high"),
        (lambda: Zones(high=(np.inf,)), "high: got .*finite"),
        (lambda: Zones(low=()), "low: got .*some"),
        (lambda: classifier_guidance(Exact(), -1.0), "scale: got -1.0, expected 0 or more"),
        (lambda: classifier_guidance(Exact(), s_max_classifier=1.0), "process: got None"),
        (
            lambda: classifier_guidance(Exact(), process=PROCESS, s_max_classifier=0.0),
            "s_max_classifier: got 0.0",
        ),
        (
            lambda: measure(
                jax.random.key(0),
                GuidedModel(PROCESS, score, Exact()),
                jnp.zeros((4, 2)),
                np.zeros(3, int),
            ),  # fmt: skip
            "x_0: got 4 and 3 labels",
        ),
        (lambda: classifier_guidance(Exact(), 1.0, (ClassLabel(3),)), "labels.dropout: got 0.0"),
        (lambda: automatic_guidance(Exact(), None, (ClassLabel(3),)), "labels.dropout: got 0.0"),
        (
            lambda: measure(
                jax.random.key(0),
                GuidedModel(PROCESS, score, Exact(), (ClassLabel(3),)),
                jnp.zeros((3, 2)),
                np.zeros(3, int),
            ),  # fmt: skip
            "labels.dropout: got 0.0",
        ),
    ],
)
def test_bad_guidance_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "strategy, options",
    [
        ("amplified", {"scale": 1.0}),
        ("linear", {"scale": 1.0, "last_scale": 1.0}),
        ("truncated", {"scale": 1.0, "low": 0.01, "high": 1e4, "s_max_classifier": 1e4}),
        ("automatic", {}),
    ],
)
def test_strategies_by_name(strategy, options):
    """With numbers that make all of them Bayes' rule."""
    x, node = jax.random.normal(jax.random.key(1), (3, 2)), PROCESS.node(jnp.full(3, 0.4))
    cond = {"labels": jnp.arange(3)}
    table = measured(Exact()).table() if strategy == "automatic" else None
    made = STRATEGIES[strategy](**options).guidance(GuidanceInputs(PROCESS, (), Exact(), table))
    bayes = classifier_guidance(Exact())(score)(x, node, cond)
    tolerance = 0.05 if strategy == "automatic" else 1e-4
    found = made(score)(x, node, cond)
    np.testing.assert_allclose(found.eps, bayes.eps, rtol=tolerance, atol=tolerance)


def test_a_scale_of_1_is_the_conditional_model():
    """Which is then evaluated once, whatever the zone."""
    for options in ({}, {"low": 0.5, "high": 2.0}):
        guidance = ClassifierFree(1.0, **options).guidance(GuidanceInputs(PROCESS, DROPPED))
        assert guidance(score) is score


def test_a_strategy_without_what_it_needs_is_refused():
    for name, cls in STRATEGIES.items():
        assert isinstance(cls(), Strategy) and cls.needs_classifier == (name != "free")
        if cls.needs_classifier:
            with pytest.raises(InvalidValue, match="classifier: got none, expected one"):
                cls().guidance(GuidanceInputs(PROCESS))
    with pytest.raises(InvalidValue, match="table: got none"):
        Automatic().guidance(GuidanceInputs(PROCESS, (), Exact()))


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_model_that_was_never_without_its_class_is_not_guided(name):
    strategy = STRATEGIES[name]()
    needs = (Exact(), measured(Exact()).table() if strategy.needs_table else None)
    with pytest.raises(InvalidValue, match="expected .* a prediction without"):
        strategy.guidance(GuidanceInputs(PROCESS, (ClassLabel(3),), *needs))
    assert callable(strategy.guidance(GuidanceInputs(PROCESS, DROPPED, *needs)))


@pytest.mark.parametrize(
    "name, options, field",
    [
        ("free", {"scale": -1.0}, "scale"),
        ("linear", {"last_scale": -1.0}, "last_scale"),
        ("truncated", {"low": 2.0, "high": 1.0}, "low"),
        ("truncated", {"s_max_classifier": 0.0}, "s_max_classifier"),
        ("automatic", {"images": 1}, "images"),
    ],
)
def test_numbers_that_cannot_be_are_refused(name, options, field):
    with pytest.raises(InvalidValue, match=f"^{field}: got"):
        STRATEGIES[name](**options)


def test_padding_takes_no_part_in_guidance():
    """Two coordinates of padding change neither the gradient's strength nor become other than 0."""

    @jax.tree_util.register_static
    class First:
        def log_probs(self, x, node):
            return Exact().log_probs(x[:, :2], node) + 0.1 * jnp.sum(x[:, 2:])

    def padded(x, node, cond):
        found = DATA(x[:, :2], node)
        wide = [jnp.pad(leaf, ((0, 0), (0, 2))) for leaf in (found.x_0, found.eps)]
        return Prediction(*wide, node)

    node = PROCESS.node(jnp.full(3, 0.25))
    x, labels = DATA.means[jnp.array([1, 2, 0])], jnp.arange(3)
    mask = jnp.broadcast_to(jnp.array([1.0, 1.0, 0.0, 0.0]), (3, 4))
    table = measured(Exact()).table(8.0)
    for make in (lambda c: classifier_guidance(c, 2.0), lambda c: automatic_guidance(c, table)):
        alone = make(Exact())(score)(x, node, {"labels": labels})
        cond = {"labels": labels, MASK: mask}
        wide = make(First())(lambda *a: padded(*a))(jnp.pad(x, ((0, 0), (0, 2))), node, cond)
        np.testing.assert_allclose(wide.eps[:, :2], alone.eps, rtol=1e-5, atol=1e-6)
        assert not np.any(wide.eps[:, 2:]) and not np.any(wide.x_0[:, 2:])


# Automatic guidance.


def measured(classifier, n=4000, pilots=0):
    which, noise = jax.random.split(jax.random.key(3))
    labels = jax.random.categorical(which, jnp.log(DATA.weights), shape=(n,))
    x_0 = DATA.means[labels] + DATA.std * jax.random.normal(noise, (n, 2))
    options = MeasurementOptions(levels=12, pilots=pilots, batch_size=n)
    model = GuidedModel(PROCESS, score, classifier)
    return measure(jax.random.key(4), model, x_0, np.asarray(labels), options)


@pytest.mark.parametrize(
    "classifier, temperature, scale",
    [(Exact(), 1, 1), (Exact(sharpness=0.1), 0.1, 1), (Exact(slope=1e-3), 1, 1e3)],
    ids=["exact", "unsure", "smooth"],
)
def test_scale_and_temperature_undo_what_is_wrong_with_a_classifier(classifier, temperature, scale):
    found = measured(classifier)
    informed = (found.nll > 0.05) & found.zone
    assert informed.sum() >= 3
    # A temperature that is found too low makes a scale that is found too low, and the other way.
    exact = found.scales * temperature / found.temperatures
    np.testing.assert_allclose(exact[informed], scale, rtol=0.05)
    np.testing.assert_allclose(found.temperatures[informed], temperature, rtol=0.1)
    assert np.all(found.errors[informed] < 0.03 * scale)
    assert np.all(found.explained[informed] > 0.01)


def test_a_classifier_that_knows_nothing_is_not_followed():
    """Its gradients are large, but waves that have nothing to do with the classes."""

    @jax.tree_util.register_static
    class Waves:
        def log_probs(self, x, node):
            return jax.nn.log_softmax(jnp.sin(60 * x[:, :1] / node.sigma[:, None] + jnp.arange(3)))

    found = measured(Waves())
    assert np.max(np.where(found.zone, found.explained, 0.0)) < 2e-3


@pytest.mark.one_in(4)
@pytest.mark.parametrize("classifier", [Exact(), Exact(slope=1e-3)], ids=["exact", "smooth"])
@pytest.mark.parametrize("solver", SOLVERS[1::2], ids=lambda solver: type(solver).__name__)
def test_automatic_guidance_samples_the_class(classifier, solver):
    found = measured(classifier, pilots=128)
    assert found.gain == 1.0 and len(found.pilots) == 1
    assert_is_the_class(draw(automatic_guidance(classifier, found.table()), solver), LABELS)


@jax.tree_util.register_static
class Aslant:
    """The exact likelihoods, but half of each gradient is turned by a right angle."""

    def log_probs(self, x, node):
        log_p = jax.nn.log_softmax(DATA.log_parts(node, x))
        held = jax.lax.stop_gradient(log_p)

        def moved(y):
            return jax.nn.log_softmax(DATA.log_parts(node, y))

        # Forward along x, and along x turned, with the values of the exact one.
        turned = jax.lax.stop_gradient(x) + (x - jax.lax.stop_gradient(x)) @ TURN
        return held + 0.5 * (moved(x) - held) + 0.5 * (moved(turned) - held)


TURN = jnp.array([[0.0, 1.0], [-1.0, 0.0]])


@pytest.mark.slow
def test_a_gradient_that_points_aside_is_given_a_gain():
    """Until samples are as recognisable as data: Bayes' rule with it leaves them astray."""
    found = measured(Aslant(), pilots=512)
    assert found.gain > 1 and found.pilots[-1, 1] <= 0 < found.pilots[0, 1]
    np.testing.assert_array_equal(found.pilots[:, 0], 2.0 ** np.arange(len(found.pilots)))

    def fraction_right(gain):
        x = draw(automatic_guidance(Aslant(), found.table(gain)))
        near = np.linalg.norm(x[:, None] - np.asarray(DATA.means), axis=-1).argmin(1)
        return np.mean(near == np.asarray(LABELS))

    right = fraction_right(1.0), fraction_right(found.gain)
    assert right[0] < 0.9 < 0.95 < right[1]


@pytest.mark.slow
def test_what_was_measured_is_kept(monkeypatch, tmp_path):
    labels = np.repeat(np.arange(3), 40)
    x_0 = DATA.means[labels] + DATA.std * jax.random.normal(jax.random.key(5), (120, 2))
    guided = Guide(Automatic(), PROCESS, (), Exact(), lambda: (x_0, labels), tmp_path / "kept")
    guided.measured(score)
    assert not guided.keep.exists()  # a plain function does not say what it depends on
    found = guided.measured(DATA)
    (kept,) = guided.keep.iterdir()  # no parts of it
    monkeypatch.setattr("generation.guide.measure", None)
    again = guided.measured(DATA)
    for field in dataclasses.fields(found):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(found, field.name))
    other = dataclasses.replace(guided, held_out=lambda: (x_0, labels[::-1]))
    with pytest.raises(TypeError, match="not callable"):
        other.measured(DATA)
    with pytest.raises(TypeError, match="not callable"):
        guided.measured(dataclasses.replace(DATA, std=0.4))


@pytest.mark.slow
def test_a_measurement_that_is_cut_off_goes_on(monkeypatch, tmp_path):
    """Every level and gain is measured once, and what is found is as if nothing had happened."""
    labels = np.repeat(np.arange(3), 40)
    x_0 = DATA.means[labels] + DATA.std * jax.random.normal(jax.random.key(5), (120, 2))
    row, missed = Level.row, GainSearch.missed
    done = []

    def stops(after, function):
        def call(*args):
            if len(done) == after:
                raise KeyboardInterrupt
            done.append(args)
            return function(*args)

        return call

    def found_in(folder, after):
        monkeypatch.setattr(Level, "row", stops(after, row))
        monkeypatch.setattr(GainSearch, "missed", stops(after, missed))
        return Guide(Automatic(), PROCESS, (), Exact(), lambda: (x_0, labels), folder).measured(
            DATA
        )

    whole = found_in(tmp_path / "whole", None)
    parts = len(done)
    done.clear()
    levels = MeasurementOptions.levels
    for after in (2, levels + 1 if len(whole.pilots) > 1 else levels):
        with pytest.raises(KeyboardInterrupt):
            found_in(tmp_path / "cut", after)
    again = found_in(tmp_path / "cut", None)
    assert len(done) == parts
    for field in dataclasses.fields(whole):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(whole, field.name))


@pytest.mark.parametrize("how", NAMES)
def test_a_damaged_measurement_is_made_again(how, monkeypatch, tmp_path, caplog):
    labels = np.arange(3)
    x_0 = jnp.asarray(DATA.means[labels])
    guided = Guide(Automatic(), PROCESS, (), Exact(), lambda: (x_0, labels), tmp_path, batch_size=3)
    made = Measured(**{field.name: np.zeros(3) for field in dataclasses.fields(Measured)})
    monkeypatch.setattr("generation.guide.measure", lambda *_: made)
    guided.measured(DATA)
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damages(whole)[how])
    assert guided.measured(DATA) is made and "is damaged" in caplog.text
    assert guided.measured(DATA) is not made  # but read


@pytest.mark.parametrize("how", NAMES)
def test_damaged_parts_of_a_measurement_are_made_again(how, tmp_path, caplog):
    whole = tmp_path / "found.npz"
    assert KeptParts(whole)("level 0", lambda: (1.0, 1 / 3)) == (1.0, 1 / 3)
    assert KeptParts(whole)("level 0", lambda: (2.0,)) == (1.0, 1 / 3)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(damages(kept.read_bytes())[how])
    assert KeptParts(whole)("level 0", lambda: (2.0,)) == (2.0,) and "is damaged" in caplog.text
    parts = KeptParts(whole)
    assert parts("level 0", lambda: (3.0,)) == (2.0,)
    parts.drop()
    assert not list(tmp_path.iterdir())


def test_samples_of_measured_guidance_depend_on_what_it_is_measured_on():
    labels = np.arange(3)
    guided = Guide(Automatic(), PROCESS, (), Exact(), lambda: (DATA.means[labels], labels))
    other = dataclasses.replace(guided, held_out=lambda: (DATA.means[labels], labels[::-1]))
    assert guided.identity() == guided.identity() != other.identity()


@pytest.mark.parametrize(
    "pilots, gain",
    [
        ([[1, 0.5, 0.3], [2, 0.1, 0.4], [4, 0.2, 0.2]], 2),  # none is recognised: the nearest
        ([[1, 0.5, 0.0], [2, -0.1, 0.4], [4, -0.2, 0.2], [8, -0.3, 0.3]], 4),  # none likely enough
        ([[1, 0.5, 0.3], [2, -0.1, -0.1], [4, -0.2, -0.3]], 2),  # the least that does
    ],
)
def test_recognition_goes_before_likelihood_and_then_the_least_gain(pilots, gain):
    found = measured(Exact())
    assert found.gain == 1.0 and len(found.pilots) == 0
    tried = dataclasses.replace(found, pilots=np.array(pilots, float))
    assert tried.gain == gain and float(tried.table().gain) == gain


def test_losses_are_those_of_the_unconditional_score():
    found = measured(Exact())
    log_snr = jnp.asarray(-2 * np.log(found.levels), jnp.float32)
    node = PROCESS.node(PROCESS.time_of_log_snr(log_snr))
    # Far below the distance of the means data are one Gaussian: E|eps - eps_hat|^2 / 2 is
    # alpha^2 std^2 / (alpha^2 std^2 + sigma^2).
    wide = np.square(np.asarray(node.alpha) * DATA.std)
    want = wide / (wide + np.square(np.asarray(node.sigma)))
    near = found.levels < 0.2
    assert near.sum() >= 3
    np.testing.assert_allclose(found.losses[near], want[near], rtol=0.05)
    assert np.all(np.abs(found.losses - want)[near] < 4 * found.loss_errors[near])


def test_samples_far_from_the_data_are_not_likely():
    found = measured(Exact())
    at = levels_at(found.levels, GuidedModel(PROCESS, as_pytree(score), Exact()), 512)
    search = GainSearch(at, found, (2,), np.arange(512) % 3)
    key = jax.random.key(8)
    x_0 = search.samples(key, 1.0)
    assert search.missed_likelihood(key, x_0) <= 0
    assert search.missed_likelihood(key, 1.5 * x_0) > 0


def test_a_sample_that_went_astray_is_pushed_harder_but_not_beyond_the_noise():
    table = measured(Exact()).table(3.0)
    node = PROCESS.node(jnp.full(2, 0.25))
    scale, temperature, surprise = table.at(node)
    alpha = float(node.alpha[0])
    x = alpha * jnp.stack([DATA.means[0], DATA.means[1]])
    guided = automatic_guidance(Exact(), table)(score)(x, node, {"labels": jnp.array([0, 0])})
    g, log_p = class_gradient(Exact(), x, node, jnp.array([0, 0]), temperature)
    plain = DATA(x, node)
    push = np.linalg.norm(guided.eps - plain.eps, axis=1)
    unit = np.asarray(node.sigma * scale) * np.linalg.norm(g, axis=1)
    assert -log_p[0] < surprise[0] and -log_p[1] > 1.2 * surprise[1]
    np.testing.assert_allclose(push[0], 3 * unit[0], rtol=1e-4, atol=1e-6)
    want = max(unit[1], min(unit[1] * (1 + 2 * float(-log_p[1] / surprise[1])), np.sqrt(2)))
    np.testing.assert_allclose(push[1], want, rtol=1e-4)


def test_the_prediction_with_a_score_added_keeps_the_state():
    node = FlowMatching().node(jnp.array([0.5, 1.0]))
    x, g = jnp.ones((2, 3)), jnp.full((2, 3), 0.7)
    plain = Prediction(jnp.zeros((2, 3)), x / node.sigma[:, None], node)
    found = plain.with_score_added(g)
    back = node.alpha[:, None] * found.x_0 + node.sigma[:, None] * found.eps
    np.testing.assert_allclose(back, x, rtol=1e-6)
    np.testing.assert_allclose(found.score[0] - plain.score[0], g[0], rtol=1e-6)
    np.testing.assert_array_equal(found.x_0[1], plain.x_0[1])
