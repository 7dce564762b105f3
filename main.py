"""Train, evaluate and sample score-based models.

python main.py --config configs/digits/vp_small.py --workdir runs/a --mode train
python main.py --workdir runs/a --mode eval                  (the run remembers its config)
python main.py --workdir runs/a --mode sample --config.sampling.num_samples=16
python main.py --mode sample                                 (the model that the project ships)

Any field of a config: --config.training.batch_size=64. Several hosts: the same command on each,
with --coordinator HOST:PORT --num_processes N --process_id 0 ... N-1 (none of them on a TPU pod).
"""

import os
import sys
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

MODES = ("train", "eval", "sample")
PRETRAINED = Path(__file__).parent / "pretrained" / "digits.npz"
CPU_FLAGS = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"

config_flags.DEFINE_config_file(
    "config", None, "Configuration file; default: what the workdir remembers.", lock_config=True
)
flags.DEFINE_string("workdir", "", "Folder of the run: checkpoints, logs, pictures, reports.")
flags.DEFINE_enum("mode", "train", MODES, "What to do.")
flags.DEFINE_bool("force", False, "Take over a workdir that was made by another config.")
flags.DEFINE_string("weights", "", "Exported weights (.npz) to evaluate or sample, for a workdir.")
flags.DEFINE_string("coordinator", "", "host:port of process 0, for a run on several hosts.")
flags.DEFINE_integer("num_processes", 0, "Number of processes of the run.")
flags.DEFINE_integer("process_id", 0, "Number of this process.")


def main(argv: list[str]) -> None:
    """Dispatches to the mode; an error that a user can mend is one line and exit status 2."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    options = flags.FLAGS
    prepare_jax()
    # Imported here: --help need not wait for JAX.
    import modes

    if not options.workdir and options.mode == "train":
        raise app.UsageError("--workdir: a run needs a folder")
    weights = options.weights or ("" if options.workdir else PRETRAINED)
    run = modes.Run(
        config=options.config,
        workdir=Path(options.workdir or "runs/pretrained"),
        weights=Path(weights) if weights else None,
        force=options.force,
        cluster=(options.coordinator, options.num_processes, options.process_id),
    )
    try:
        status = modes.MODES[options.mode](run)
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    sys.exit(status)


def prepare_jax() -> None:
    """A program that was compiled once is read from disk afterwards, by whatever run."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "score-sde-jax"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1")
    if "xla_cpu_experimental_ynn" not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {CPU_FLAGS}".strip()


def _with_config(argv: list[str]) -> list[str]:
    """The command line with the remembered config in the place of an absent --config."""
    named = [arg.split("=")[0].lstrip("-") for arg in argv if arg.startswith("-")]
    if "config" in named or {"help", "helpfull", "helpshort", "h", "?"} & set(named):
        return argv
    value = dict(zip(argv, argv[1:] + [""], strict=True))
    value |= dict(arg.split("=", 1) for arg in argv if "=" in arg)
    where = value.get("--weights") or value.get("--workdir") or PRETRAINED
    return [argv[0], f"--config={Path(__file__).parent / 'configs/saved.py'}:{where}", *argv[1:]]


def _parse(argv: list[str]) -> list[str]:
    """Parses the flags; a slip in a config field is one line and exit status 2, as any other."""
    try:
        return app.parse_flags_with_usage(_with_config(argv))
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        told = " ".join(str(error).replace("\\n", " ").replace("'", "").split())
        print(f"error: --config: no field {told}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
