"""Where a command leaves what it makes, so that none overwrites what another one made.

    <workdir>/samples/step_544/default/                    as the run remembers to be sampled
    <workdir>/samples/step_544/ddim-eta=0.5/               --config.sampling.solver=ddim ...
    <workdir>/control/digits-1a2b3c4d/inpaint-mask=half/   --weights digits.npz ...
    <workdir>/eval/step_544/default/                       a report; beside it what reports share

The first name is that of the parameters, the second spells out the fields in which a command
differs from what the weights or the workdir remember: of what is chosen its name, and the fields
that are not the defaults of its class. `settings.json` has all fields that matter.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from evaluation.places import Places
from experiment import configuration, kinds
from experiment.experiment import Trained
from options.errors import UserError
from options.fields import flat
from storage.outputs import claimed, named, spelled
from storage.workdir import is_within

PyTree = Any
NAME = ".name"  # of the field that chooses a class
BY_NAME = ("sampling.solver", "control.task")  # choices that are said without their field's name
OF_TRAINING = ("training", "optim", "ema", "precision.training", "data.class_names")
OF_USE = ("seed", "sampling", "guidance", "control", "eval")
OF_SAMPLES = (  # of that mode alone
    "sampling.num_samples", "sampling.labels", "sampling.texts", "sampling.seed",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of outputs.

    Attributes:
      folder: of the workdir.
      without: sections and fields that they do not depend on.
      about: the section that is said first, and whose choice is said always; "" for none.
    """

    folder: str
    without: tuple[str, ...]
    about: str = ""


SAMPLES = Kind("samples", (*OF_TRAINING, "loss", "control", "eval"))
CONTROL = Kind("control", (*OF_TRAINING, "loss", *OF_SAMPLES), about="control")
EXAMINATIONS = Kind("doctor", ())
EVALUATIONS = Kind("eval", (*OF_TRAINING, *OF_SAMPLES, "control", "eval.checkpoints"))


@dataclasses.dataclass(frozen=True, eq=False)
class Outputs:
    """The folders of one kind of outputs of a configuration and the parameters of `trained`."""

    kind: Kind
    config: ConfigDict
    trained: Trained

    def folder(self, params: PyTree, step: int) -> Path:
        """For what is made with these parameters; with the settings in it."""
        name = self.trained.name_of(params, step)
        matter = {k: v for k, v in flat(self.config.to_dict()).items() if self._matters(k)}
        settings = {"parameters": name, "step": step, "config": matter}
        return claimed(self._of(name, step), self.variant, settings)

    def folder_of_config(self) -> Path:
        """For what is said of the configuration, with or without parameters."""
        return claimed(
            self.trained.workdir / self.kind.folder, self.variant, {"config": self.config.to_dict()}
        )

    def places(self, params: PyTree, step: int) -> Places:
        """Of an evaluation of these parameters."""
        report = self.folder(params, step)
        return Places(report, report.parent, report.parents[1] / "reference")

    def _of(self, name: str, step: int) -> Path:
        """The folder of the parameters; that of a step may have the name that it had in older
        versions."""
        parent = self.trained.workdir / self.kind.folder
        older = parent / str(step)
        return older if self.trained.weights is None and older.is_dir() else parent / name

    @property
    def variant(self) -> str:
        """The name of what differs from what the parameters remember."""
        return named(list(self._parts()))

    def _parts(self) -> Iterator[str]:
        config, before = flat(self.config.to_dict()), self._remembered()
        fields = sorted(filter(self._matters, config), key=self._place)
        for field in fields:
            said = field.removesuffix(NAME)
            always = self._first(field) and said in BY_NAME
            if always or config[field] != before.get(field, ...):
                value = spelled(config[field])
                yield value if said in BY_NAME else f"{_short(said, fields)}={value}"

    def _matters(self, field: str) -> bool:
        return not is_within(field, self.kind.without)

    def _first(self, field: str) -> bool:
        return bool(self.kind.about) and is_within(field, (self.kind.about,))

    def _place(self, field: str) -> tuple[Any, ...]:
        """Orders fields: those of what is said first, what is chosen before its fields, and of a
        section the sections in it before its plain fields."""
        *sections, last = field.split(".")
        ranks = [(0, section) for section in sections]
        ranks.append((-1 if field.endswith(NAME) else 1, last))
        return not self._first(field), not is_within(field, BY_NAME), ranks

    def _remembered(self) -> dict[str, Any]:
        """Every field as it would be had the command made its choices and nothing else."""
        try:
            given = configuration.remembered(self.trained.place)
        except UserError:
            given = {configuration.TASK: self.config.task}
        own = flat(self.config.to_dict())
        chosen = {k.removesuffix(NAME): v for k, v in own.items() if k.endswith(NAME)}
        names: dict[str, Any] = {}
        # What a choice would be depends on the choices around it.
        for depth in sorted({name.count(".") for name in chosen}):
            around = {name: value for name, value in chosen.items() if name.count(".") < depth}
            found = flat(kinds.complete(given, around).to_dict())
            names |= {k: v for k, v in found.items() if k.endswith(NAME) and k.count(".") > depth}
        return flat(kinds.complete(given, chosen).to_dict()) | names


def _short(field: str, fields: list[str]) -> str:
    """Of a dotted name in one of the sections OF_USE the end, as long as it takes to tell it from
    those of other fields there; any other name whole."""
    if not is_within(field, OF_USE):
        return field
    others = {f".{name.removesuffix(NAME)}" for name in fields if is_within(name, OF_USE)}
    others.remove(f".{field}")
    parts = field.split(".")
    ends = (".".join(parts[i:]) for i in range(len(parts) - 1, 0, -1))
    return next((e for e in ends if not any(o.endswith(f".{e}") for o in others)), field)
