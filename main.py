r"""Train, evaluate, sample and control score-based models.

python main.py --config configs/digits/vp_small.py --workdir runs/a --mode train
python main.py --config configs/folder_small.py --config.data.source.path=DIR --workdir runs/b \
    --mode train                                             (your own images)
python main.py --workdir runs/a --mode eval                  (the run remembers its config)
python main.py --config configs/digits/classifier.py --workdir runs/c --mode train  (to guide with)
python main.py --workdir runs/a --mode sample --config.sampling.num_samples=16
python main.py --mode sample                                 (the model that the project ships)
python main.py --mode sample --config.sampling.solver=ddim --config.sampling.solver.eta=0.5
python main.py --mode control --config.control.task=inpaint --config.control.task.mask=half
python main.py --mode control --config.control.task=restore --config.control.task.operator=blur
python main.py --mode control --config.control.task=edit --config.control.task.t=0.4
python main.py --mode control --config.control.task=guide --config.guidance.strategy=free
python main.py --workdir runs/a --mode control --config.control.task=colorize     (colour models)
python main.py --workdir runs/up --mode control --config.control.task=upscale       (upsamplers)
python main.py --workdir runs/a --mode sample --text "red heart" --text ""    (captioned models)
python main.py --workdir runs/hand --mode write --text "Dear reader" --out line.svg
python main.py --config configs/digits/vp_small.py --mode doctor --measure --price 2.5

Any field of a config: --config.training.batch_size=64. What is chosen by name brings fields of its
own: --config.process=vp --config.process.beta_max=15. Several hosts: the same command on each,
with --coordinator HOST:PORT --num_processes N --process_id 0 ... N-1; on a TPU pod or under SLURM
--coordinator auto.
"""

import difflib
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

try:
    from absl import app, flags, logging
    from ml_collections import config_flags
except ModuleNotFoundError as missing:
    why = f"{missing.name} is not installed for {sys.executable}"
    sys.exit(f"error: {why}: `make install`, and then .venv/bin/python, as README.md says")

from options.program import fail, one_line_errors
from options.progress import busy
from options.project import ROOT, find, nearest, version_of
from storage.files import cache_folder

MODES = {
    "train": "trains the model of --config in --workdir; given again, the command goes on",
    "eval": "loss, bits/dim, FID and more of --workdir or --weights; of a classifier, accuracy",
    "sample": "draws samples: the arrays, and of images a grid",
    "control": "completes, restores, colours, edits, guides or enlarges images",
    "write": "writes --text in the hand of --style into --out, a page of pen strokes or of ink",
    "doctor": "what is wrong with --config, its data, or a run; with --measure, the machine",
    "fields": "prints every field of a config: what it is set to, what it means, its choices",
}
# What a configuration is read from, the first flag that is there: what it names, and a hint.
PLACES = {
    "config": ("file", ""),
    "weights": ("file", ""),
    "workdir": ("folder", "; a new run needs --config"),
}
OF_CONFIG = {"doctor"}  # modes that look at a configuration where no weights are named
CAPTIONS = {"sample": "sampling.texts", "control": "control.texts"}  # what --text sets, by mode
HELP = {"help", "helpshort", "h", "?"}
PRETRAINED = ROOT / "pretrained" / "digits.npz"
# Choices that --help names: a field, and the table that it is chosen from.
NAMED = {
    "control.task": ("generation/control_tasks.py", "TASKS"),
    "guidance.strategy": ("controllable/strategies.py", "STRATEGIES"),
    "sampling.solver": ("solvers/__init__.py", "SOLVERS"),
}
KINDS_OF_VALUE: dict[type, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    tuple: "values between commas, as in (32,32)",
}
CPU_FLAGS = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"
CPU_FLAGS_UNTIL = (0, 13)  # the first jaxlib in which they are untested: an unknown one is fatal

flags.DEFINE_string("workdir", "", "Folder of the run: checkpoints, logs, pictures, reports.")
flags.DEFINE_enum("mode", "train", list(MODES), "What to do.")
flags.DEFINE_bool("force", False, "Go on under another config than a workdir or weights remember.")
flags.DEFINE_string("weights", "", "Exported weights (.npz) to evaluate or sample, for a workdir.")
flags.DEFINE_multi_string(
    "text", [], "What is to be written, a line; of samples a caption. Give it again for more."
)
flags.DEFINE_string(
    "style", "", "The hand: a writer by name, a photograph of a line, or a mixture."
)
flags.DEFINE_string(
    "out",
    "",
    "File to write into: .svg, -animated.svg, .png, .gif, .inkml, .json; of images, .png.",
)
flags.DEFINE_string("checks", "all", "Of the doctor: names, or module:Class, between commas.")
flags.DEFINE_bool("measure", False, "The doctor also compiles the training step and times some.")
flags.DEFINE_float("price", 0.0, "Of an hour of this machine, for the cost of the run.", 0.0)
flags.DEFINE_integer("examples", 2000, "Of each split that the doctor looks at; 0 for all.", 0)
flags.DEFINE_string("coordinator", "", "host:port of process 0, or auto.")
flags.DEFINE_integer("num_processes", 0, "Number of processes of the run.")
flags.DEFINE_integer("process_id", 0, "Number of this process.")
flags.DEFINE_integer("heartbeat_seconds", 100, "After so long a process that died ends the run.", 1)


def main(argv: list[str]) -> None:
    """Dispatches to the mode."""
    options = flags.FLAGS
    if len(argv) > 1:
        fail(f"got {argv[1]!r}, expected flags, as in --mode sample")
    if not options.workdir and options.mode == "train":
        fail("--workdir: a run needs a folder, as in --workdir runs/mine")
    root, detailed = logging.get_absl_logger().root, logging.get_absl_handler()
    if options["verbosity"].present:
        root.handlers = [detailed]  # with time, thread and file of every line
    else:
        logging.set_verbosity(logging.WARNING)
        root.removeHandler(detailed)
    # Imported here: --help need not wait for JAX.
    with busy("starting", in_files=False):
        from experiment import modes

    config = options.config
    field = CAPTIONS.get(options.mode, "")
    if options.text and field:
        config = modes.with_texts(config, field, options.text)
    alone = options.workdir or options.mode in OF_CONFIG
    weights = options.weights or ("" if alone else PRETRAINED)
    command = modes.Command(
        config=config,
        workdir=Path(options.workdir or "runs/weights"),
        weights=find(weights) if weights else None,
        force=options.force,
        cluster=modes.Cluster(
            options.coordinator,
            options.num_processes,
            options.process_id,
            options.heartbeat_seconds,
        ),
        order=modes.Order("\n".join(options.text), options.style, options.out),
        request=modes.Request(options.checks, options.measure, options.price, options.examples),
    )
    sys.exit(modes.run(options.mode, command))


def prepare_jax() -> None:
    """A program that was compiled once is read from disk afterwards, by whatever run."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1")
    own = "xla_cpu_experimental_ynn" in os.environ.get("XLA_FLAGS", "")
    if not own and version_of("jaxlib") < CPU_FLAGS_UNTIL:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {CPU_FLAGS}".strip()


def parse(argv: list[str]) -> list[str]:
    """Parses the flags and loads the config; returns what is left over of the command line."""
    given = _given(argv) if len(argv) > 1 else dict.fromkeys(HELP, "")
    if HELP & set(given):
        _define_help_of_config()
        print(help_text())
        sys.exit(0)
    overrides = _overrides(given)
    _parse_others(argv)
    where = _place(given)
    # What needs JAX comes after all that does not.
    prepare_jax()
    with busy("starting", in_files=False):
        from experiment import kinds
        from options.fields import flat

    config = kinds.read(where, overrides)
    known = flat(config)
    argv = [_named(arg, overrides, known) for arg in _without_config(argv)]
    for name in overrides:
        if name not in known and f"{name}.name" not in known:
            fail(f"--config.{name}: the config has no such field{_nearest(name, known)}")
    config_flags.DEFINE_config_dict("config", config, sys_argv=argv)
    try:
        return flags.FLAGS(argv)
    except (flags.Error, TypeError, ValueError) as error:
        fail(_of_type(str(error), known) or " ".join(str(error).removeprefix("flag ").split()))


def _place(given: Mapping[str, str]) -> str:
    """What the configuration is read from; fails where that is not there."""
    flag = next((flag for flag in PLACES if given.get(flag)), "")
    where = given.get(flag, str(PRETRAINED))
    if not find(where).exists():
        what, hint = PLACES[flag]
        fail(f"--{flag}: there is no {what} {where}{nearest(where)}{hint}")
    return where


def help_text() -> str:
    """Commands, modes, choices and flags, without an import of what takes long."""
    parts = [f"{mode:9}{about}" for mode, about in MODES.items()]
    modes = textwrap.indent("\n".join(parts), "  ")
    fields = [f"--config.{field}: {', '.join(_names(*table))}" for field, table in NAMED.items()]
    chosen = textwrap.indent("\n".join(fields), "  ")
    more = (
        "All fields, of any config: python main.py --mode fields, with --config, --weights or "
        "--workdir;\nwhat another choice brings: the same with, say, --config.sampling.solver=ddim."
    )
    about = flags.FLAGS.main_module_help()
    return f"{__doc__}\nmodes:\n{modes}\n\nchoices:\n{chosen}\n\n{more}\n\nflags:\n{about}"


def _names(file: str, table: str) -> list[str]:
    """The keys of a table as the text of a module has them."""
    text = (ROOT / file).read_text()
    (body,) = re.findall(rf"^{table}\b.*?= {{$(.*?)^}}", text, re.MULTILINE | re.DOTALL)
    return re.findall(r'^    "(\w+)":', body, re.MULTILINE)


def _define_help_of_config() -> None:
    flags.DEFINE_string("config", "", "Configuration file; default: what the workdir remembers.")


def _parse_others(argv: list[str]) -> None:
    """Fails for a slip in a flag that is no field of the config."""
    others, skip = [], False
    for arg in argv:
        name = arg.lstrip("-").partition("=")[0]
        of_config = arg.startswith("-") and name.removeprefix("no").split(".")[0] == "config"
        if not of_config and not skip:
            others.append(arg)
        skip = of_config and "=" not in arg and not name.startswith("no") and not skip
    try:
        flags.FLAGS(others)
    except flags.Error as error:
        fail(" ".join(str(error).removeprefix("flag ").split()))
    flags.FLAGS.unparse_flags()


def _given(argv: list[str]) -> dict[str, str]:
    """The flags of a command line, unparsed; "" for one without a value."""
    found: dict[str, str] = {}
    for arg, after in zip(argv[1:], [*argv[2:], ""], strict=True):
        if arg.startswith("-"):
            name, equals, value = arg.lstrip("-").partition("=")
            found[name] = value if equals else "" if after.startswith("-") else after
    return found


def _overrides(given: dict[str, str]) -> dict[str, str]:
    """The overridden fields of the config, by dotted name."""
    names = {name: name.removeprefix("no") for name in given}
    return {
        names[name].removeprefix("config."): value
        for name, value in given.items()
        if names[name].startswith("config.")
    }


def _without_config(argv: list[str]) -> list[str]:
    """The command line without --config and its value, which has been read."""
    kept: list[str] = []
    skip = False
    for arg in argv:
        if arg.lstrip("-") == "config" and arg.startswith("-"):
            skip = True
        elif not skip and not arg.startswith(("--config=", "-config=")):
            kept.append(arg)
        else:
            skip = False
    return kept


def _named(arg: str, overrides: dict[str, str], known: Iterable[str]) -> str:
    """--config.process=vp as --config.process.name=vp."""
    flag, equals, value = arg.partition("=")
    name = flag.lstrip("-").removeprefix("config.")
    if flag.startswith("-") and name in overrides and f"{name}.name" in known:
        return f"{flag}.name{equals}{value}"
    return arg


def _of_type(error: str, known: Mapping[str, Any]) -> str:
    """What is wrong with the value of a field of the config, where absl says so; "" elsewhere."""
    found = re.match(r"flag --config\.([\w.]+)=(.*?): ", error, re.DOTALL)
    kind = type(known.get(found[1])) if found else None
    if found is None or kind not in KINDS_OF_VALUE:
        return ""
    return f"--config.{found[1]}: got {found[2]!r}, expected {KINDS_OF_VALUE[kind]}"


def _nearest(name: str, names: Iterable[str]) -> str:
    names = list(names)
    last = name.rpartition(".")[2]
    near = [known for known in names if known.endswith(f".{name}")]
    near = near or difflib.get_close_matches(name, names, n=1)
    near = near or [known for known in names if known.rpartition(".")[2] == last][:3]
    return f"; did you mean {' or '.join(near)}?" if near else ""


if __name__ == "__main__":
    with one_line_errors():
        app.run(main, flags_parser=parse)
