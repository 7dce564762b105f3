"""Published models as weights of this project, which every command takes.

    python -m tools.import_checkpoint checkpoint_8.pth --out weights.npz
    python main.py --weights weights.npz --mode sample

Reads the checkpoints of Song et al.'s score-SDE (PyTorch and Flax), the folders of diffusers with a
UNet2DModel, the pickles of EDM, and the safetensors of tools.export_weights: what becomes of each
is in docs/published_models.md. Every tensor is accounted for, nothing in a file is executed, and
neither PyTorch nor diffusers is needed. An official configuration alone becomes one of ours:

    python -m tools.import_checkpoint --official_config cifar10_ncsnpp_continuous.py --out mine.py
"""

import argparse
import dataclasses
import json
import logging
import pprint
from pathlib import Path
from typing import Any

from options.choices import require
from options.errors import InvalidValue, StorageError
from options.program import one_line_errors
from options.progress import busy

logger = logging.getLogger(__name__)
TOLERANCE = 1e-3  # of the largest value: Fourier features of float32 differ by half as much


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is asked of an import.

    Attributes:
      config, official_config: a configuration of ours, or theirs, in place of what the file says.
      params: "average" or "raw".
      dtype: of matrices and kernels in the file that is written.
      image_size, process: what the file does not say.
      expected: recorded inputs and outputs (.npz).
      tolerance: of these, relative to the largest value.
      force: write though outputs differ.
    """

    config: str = ""
    official_config: str = ""
    params: str = "average"
    dtype: str = "float32"
    image_size: int = 0
    process: str = ""
    expected: str = ""
    tolerance: float = TOLERANCE
    force: bool = False


def import_checkpoint(source: str | Path, out: str | Path, wanted: Wanted = Wanted()) -> list[str]:
    """Writes the weights, whole or not at all; what there is to say of them, a line each.

    Raises:
      UserError: the file is damaged, or of another kind; its parameters do not fit; or outputs
        differ from those expected.
    """
    from experiment import kinds
    from storage import weights
    from tools.published.checkpoint import Asked
    from tools.published.content import opened
    from tools.published.layouts import checkpoint_of

    own = _own_sections(wanted)
    with busy("reading the checkpoint"), opened(source) as content:
        found = checkpoint_of(content)
        asked = Asked(wanted.image_size, wanted.process)
        config = kinds.complete(found.sections(asked) if own is None else own)
        experiment: Any = kinds.experiment(config)
        experiment.check()
        params = found.params(wanted.params, experiment)
    said = [f"{found.title}, {wanted.params} parameters after {found.step} updates"]
    said += [f"assumed {note}" for note in found.notes]
    said += _checked(found, experiment, params, wanted)
    meta = {"config": json.loads(config.to_json()), "step": found.step}
    weights.export_weights(out, params, wanted.dtype, meta)
    return said


def _own_sections(wanted: Wanted) -> dict[str, Any] | None:
    """Of the configuration that a user names; None where the file is to say it."""
    from experiment import kinds

    if wanted.config:
        return kinds.load(wanted.config).to_dict()
    return official_sections(wanted.official_config) if wanted.official_config else None


def official_sections(path: str | Path) -> dict[str, Any]:
    """The sections of our configuration for a file of theirs (.py, .json)."""
    from tools.published import official_config, official_file

    official = official_file.read(path)
    try:
        return official_config.sections(official)
    except (KeyError, TypeError, AttributeError) as error:
        but = f"{path} lacks a field, or has one of another type: {error}"
        raise StorageError("official_config", but=but) from None


def _checked(found: Any, experiment: Any, params: Any, wanted: Wanted) -> list[str]:
    """What was compared; InvalidValue where outputs differ and `force` is not asked for."""
    said, wrong = [], [found.inexact(experiment)]
    if wanted.expected:
        for compared in found.compared(experiment, params, recorded(wanted.expected)):
            line = f"{compared.name} differs by {compared.error:.2g} of the largest value"
            said.append(f"{line}, {wanted.tolerance:g} allowed")
            if not compared.error <= wanted.tolerance:
                wrong.append(line)
    for problem in filter(None, wrong):
        if not wanted.force:
            raise InvalidValue("file", but=f"{problem}; --force writes it all the same")
        logger.warning(problem)
    return said


def recorded(path: str) -> dict[str, Any]:
    """The numbers in a file of recorded outputs; StorageError where it cannot be read."""
    from storage import npz

    try:
        shapes = npz.stand_ins(path)
        return npz.read(path, [k for k, v in shapes.items() if v.dtype.kind in "fiu"])
    except npz.UNREADABLE as error:
        raise StorageError("expected", but=f"{path} cannot be read: {error}") from None


def write_config(source: str | Path, out: str | Path) -> None:
    """Writes a configuration file of ours for an official one, whole or not at all."""
    from experiment import kinds
    from storage.files import atomic_write

    sections = official_sections(source)
    kinds.experiment(kinds.complete(sections)).check()
    command = f"python main.py --config {out} --workdir runs/{Path(out).stem} --mode train"
    fields = pprint.pformat(sections, width=96, sort_dicts=False)
    with atomic_write(out, "w") as file:
        file.write(
            f'r"""Of {Path(source).name}, a configuration of Song et al.\'s score-SDE.\n\n'
            f'Command: {command}\nResult here: not yet run.\n"""\n\n'
            f"from ml_collections import ConfigDict\n\nCONFIG = {fields}\n\n\n"
            "def get_config() -> ConfigDict:\n    return ConfigDict(CONFIG, type_safe=False)\n"
        )


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", nargs="?", help="a file, or a folder of diffusers")
    parser.add_argument("--out", type=Path, required=True, help="the file to write (.npz; .py)")
    parser.add_argument("--config", default="", help="a configuration of ours that fits")
    parser.add_argument("--official_config", default="", help="the official one (.py, .json)")
    parser.add_argument("--params", choices=("average", "raw"), default="average")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float32")
    parser.add_argument("--image_size", type=int, default=0, help="where the file does not say")
    parser.add_argument("--process", default="", help="the same: ve, vp, subvp, ddpm, smld")
    parser.add_argument("--expected", default="", help="recorded inputs and outputs (.npz)")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="of the largest value")
    parser.add_argument("--force", action="store_true", help="write though outputs differ")
    args = vars(parser.parse_args(argv))
    source, out = args.pop("source"), args.pop("out")
    with one_line_errors():
        wanted = Wanted(**args)
        if source is None:
            require(wanted.official_config, "source", source, "a file, or --official_config alone")
            require(out.suffix == ".py", "out", str(out), "a name that ends in .py")
            write_config(wanted.official_config, out)
            print(f"{out}: of {wanted.official_config}")
            return
        require(out.suffix == ".npz", "out", str(out), "a name that ends in .npz")
        for line in import_checkpoint(source, out, wanted):
            print(line)
        print(f"{out}, {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
