"""Train, evaluate and sample score-based models.

python main.py --config configs/digits/vp_small.py --workdir runs/a --mode train
python main.py --workdir runs/a --mode eval                  (the run remembers its config)
python main.py --config configs/digits/classifier.py --workdir runs/c --mode train  (to guide with)
python main.py --workdir runs/a --mode sample --config.sampling.num_samples=16
python main.py --mode sample                                 (the model that the project ships)
python main.py --mode control --config.control.task=inpaint --config.control.mask=half
python main.py --mode control --config.control.task=restore --config.control.operator=blur
python main.py --mode control --config.control.task=edit --config.control.t=0.4
python main.py --mode control --config.control.task=guide --config.guidance.strategy=free
python main.py --workdir runs/a --mode control --config.control.task=colorize     (colour models)
python main.py --workdir runs/up --mode control --config.control.task=upscale       (upsamplers)

Any field of a config: --config.training.batch_size=64. Several hosts: the same command on each,
with --coordinator HOST:PORT --num_processes N --process_id 0 ... N-1; on a TPU pod or under SLURM
--coordinator auto.
"""

import difflib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags, logging
from ml_collections import config_flags

from storage.files import cache_folder

MODES = ("train", "eval", "sample", "control")
HELP = {"help", "helpshort", "h", "?"}
PRETRAINED = Path(__file__).parent / "pretrained" / "digits.npz"
CPU_FLAGS = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"

config_flags.DEFINE_config_file(
    "config", None, "Configuration file; default: what the workdir remembers.", lock_config=True
)
flags.DEFINE_string("workdir", "", "Folder of the run: checkpoints, logs, pictures, reports.")
flags.DEFINE_enum("mode", "train", MODES, "What to do.")
flags.DEFINE_bool("force", False, "Take over a workdir that was made by another config.")
flags.DEFINE_string("weights", "", "Exported weights (.npz) to evaluate or sample, for a workdir.")
flags.DEFINE_string("coordinator", "", "host:port of process 0, or auto.")
flags.DEFINE_integer("num_processes", 0, "Number of processes of the run.")
flags.DEFINE_integer("process_id", 0, "Number of this process.")


def main(argv: list[str]) -> None:
    """Dispatches to the mode; an error that a user can mend is one line and exit status 2."""
    options = flags.FLAGS
    if len(argv) > 1:
        fail(f"got {argv[1]!r}, expected flags, as in --mode sample")
    if not options.workdir and options.mode == "train":
        fail("--workdir: a run needs a folder")
    if not options["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    # Imported here: --help need not wait for JAX.
    from experiment import modes

    weights = options.weights or ("" if options.workdir else PRETRAINED)
    run = modes.Run(
        config=options.config,
        workdir=Path(options.workdir or "runs/pretrained"),
        weights=Path(weights) if weights else None,
        force=options.force,
        cluster=(options.coordinator, options.num_processes, options.process_id),
    )
    try:
        sys.exit(modes.MODES[options.mode](run))
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        fail(_said(error))


def _said(error: BaseException) -> str:
    """What an error says, without the number of the system's."""
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        return error.strerror
    return str(error)


def fail(message: str) -> NoReturn:
    """Ends with one line for a user and exit status 2."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def prepare_jax() -> None:
    """A program that was compiled once is read from disk afterwards, by whatever run."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1")
    if "xla_cpu_experimental_ynn" not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {CPU_FLAGS}".strip()


def parse(argv: list[str]) -> list[str]:
    """Parses the flags and loads the config; returns what is left over of the command line."""
    prepare_jax()
    given = _given(argv)
    if HELP & set(given):
        app.usage(shorthelp=True, writeto_stdout=True, exitcode=0)
    path = given.get("config") or _remembered(given)
    if "config" not in given:
        argv = [argv[0], f"--config={path}", *argv[1:]]
    if not Path(path.split(":")[0]).is_file():
        files = map(str, Path().glob("configs/**/*.py"))
        fail(f"--config: there is no file {path}{_nearest(path, files)}")
    try:
        rest = flags.FLAGS(argv)
        flags.FLAGS.config.items()  # what could not be read is an error only once it is used
    except flags.Error as error:
        fail(" ".join(str(error).removeprefix("flag ").split()))
    except (OSError, ValueError) as error:
        fail(_said(error.__cause__ or error))
    except (AttributeError, KeyError):
        config: Any = flags.FLAGS["config"].parser.parse(path)
        _require_fields(given, config.to_dict())
        raise
    return rest


def _given(argv: list[str]) -> dict[str, str]:
    """The flags of a command line, unparsed; "" for one without a value."""
    found: dict[str, str] = {}
    for arg, after in zip(argv[1:], [*argv[2:], ""], strict=True):
        if arg.startswith("-"):
            name, equals, value = arg.lstrip("-").partition("=")
            found[name] = value if equals else "" if after.startswith("-") else after
    return found


def _remembered(given: dict[str, str]) -> str:
    """The config that the weights or the workdir remember."""
    where = given.get("weights") or given.get("workdir") or PRETRAINED
    return f"{Path(__file__).parent / 'configs' / 'saved.py'}:{where}"


def _require_fields(given: dict[str, str], config: dict[str, Any]) -> None:
    """Fails with the first overridden field that the config lacks."""
    fields = list(_fields(config))
    for name in given:
        flag, _, field = name.partition(".")
        if flag in ("config", "noconfig") and field and field not in fields:
            fail(f"--{name}: the config has no such field{_nearest(field, fields)}")


def _nearest(name: str, names: Iterable[str]) -> str:
    names = list(names)
    near = [known for known in names if known.endswith(f".{name}")]
    near = near or difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _fields(tree: dict[str, Any]) -> Iterator[str]:
    """Dotted names of all fields and sections."""
    for name, value in tree.items():
        yield name
        if isinstance(value, dict):
            yield from (f"{name}.{field}" for field in _fields(value))


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
