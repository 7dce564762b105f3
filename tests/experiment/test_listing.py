"""`--mode fields`: every field there is, with a meaning, and every class that can be chosen."""

import dataclasses

import pytest

from experiment import kinds
from experiment.listing import listing
from experiment.settings import ClassifierSettings, ImageSettings
from options.fields import choices, entries, fields, flat, meanings, summary


def classes(cls, found=None):
    """The class, and all that a configuration of it may consist of."""
    found = {} if found is None else found
    if cls not in found:
        found[cls] = None
        for field in fields(cls):
            table = choices(field) or entries(field) or {}
            inside = [type(field.default)] if dataclasses.is_dataclass(field.default) else []
            for other in (*table.values(), *inside):
                classes(other, found)
    return found


EVERY = classes(ImageSettings) | classes(ClassifierSettings)


@pytest.mark.parametrize("cls", EVERY, ids=lambda cls: cls.__name__)
def test_every_field_has_a_meaning_and_every_class_a_summary(cls):
    assert summary(cls).endswith((".", ".)")), summary(cls)
    known = meanings(cls)
    for field in fields(cls):
        inside = dataclasses.is_dataclass(field.default) and not choices(field)
        assert inside or known.get(field.name, "").endswith("."), field.name


OVERRIDES = {
    "sampling.solver": "picard",
    "sampling.solver.solver": "stochastic_heun",
    "conditions.low.size": 14,
    "control.task": "restore",
}


@pytest.mark.parametrize(
    "where, overrides",
    [("pretrained/digits.npz", OVERRIDES), ("configs/digits/classifier.py", {})],
)
def test_every_field_of_a_configuration_is_listed_once(where, overrides):
    config = kinds.load(where, overrides)
    lines = list(listing(kinds.settings_of(config.task), config))
    listed = [line.partition(" = ")[0] for line in lines if line[0] != " " and " = " in line]
    config_fields = flat(config)
    expected = {name.removesuffix(".name") for name in config_fields if name != "task"}
    assert sorted(listed) == sorted(expected | {"conditions"} & set(config))
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    assert "sampling.num_steps = 50 (default 1000)\n    steps of the grid." in text or not overrides
    for field in fields(kinds.settings_of(config.task)):
        for name in choices(field) or entries(field) or {}:
            assert f"\n        {name}: " in text


def test_a_choice_says_which_fields_it_brings():
    config = kinds.load("pretrained/digits.npz")
    text = " ".join(" ".join(listing(ImageSettings, config)).split())
    assert "order = 2, noise = False." in text  # of dpm, which is not chosen
    assert "predictor = reverse_diffusion, corrector = langevin." in text
    assert "num_classes = to be given, dropout = 0.0." in text
    assert "atol = unset." in text
