"""What main.py can do: train, evaluate, sample, control."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
from ml_collections import ConfigDict

from evaluation.places import Places
from experiment import kinds, listing, outputs
from experiment.doctor.examination import before_training, chosen, examine, refused
from experiment.doctor.finding import Severity
from experiment.doctor.subject import Request, Subject
from experiment.experiment import Experiment, Trained
from experiment.from_data import settled, with_fields
from experiment.handwriting import HandwritingExperiment
from experiment.image import ImageExperiment
from experiment.outputs import CONTROL, EVALUATIONS, EXAMINATIONS, SAMPLES
from experiment.trained_under import differing
from experiment.writing import Order, Writer
from generation import controls
from handwriting.alignment import write_picture
from metrics.report import Report
from options.choices import listed, numbered
from options.classes import folders_of
from options.errors import InvalidValue, OutOfMemory, UserError, within
from options.fields import flat
from options.interrupts import STATUS as INTERRUPTED
from options.memory import lowering
from options.progress import bar_updater, busy, progress_bar
from storage import json_text, pictures, workdir
from training import loop
from training.parallel import Cluster

# Fields that may differ from the config that a workdir was begun with.
CONTINUABLE = (
    "training.steps",
    "training.max_seconds",
    "training.n_jitted_steps",
    "training.log_every",
    "training.checkpoint_every",
    "training.draw_every",
    "training.evaluate_every",
    "training.evaluate_examples",
    "training.fid_every",
    "training.fid_samples",
    "training.read_every",
    "training.read_lines",
    "training.keep",
    "training.keep_every",
    "training.tracker",
    "data.keep_resized",
    "captions.encoder",
    "data.space.weights",
    "precision.sampling",
    "preview",
    "sampling",
    "control",
    "eval",
    "guidance",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Command:
    """A command line.

    Attributes:
      weights: exported parameters to use in place of the workdir's checkpoints, or None.
      order: what is to be written.
      request: what is to be examined.
    """

    config: ConfigDict
    workdir: Path
    weights: Path | None = None
    force: bool = False
    cluster: Cluster = Cluster()
    order: Order = Order("", "", "")
    request: Request = Request()

    @property
    def trained(self) -> Trained:
        """Where the parameters are."""
        return Trained(self.workdir, self.weights)

    def outputs(self, kind: outputs.Kind) -> outputs.Outputs:
        """Where it leaves what it makes."""
        return outputs.Outputs(kind, self.config, self.trained)


def run(mode: str, command: Command) -> int:
    """Runs a mode; the exit status. Where memory runs out, the field to lower is named."""
    function, batch, count = MODES[mode]
    if function not in UNSETTLED:
        command = dataclasses.replace(command, config=settled(command.config))
    config = flat(command.config)
    count = count if count in config else batch
    try:
        with lowering(batch, config.get(batch)):
            return function(command)
    except UserError:
        raise
    except MemoryError as error:
        but = "the memory ran out"
        raise OutOfMemory(count, config.get(count), "a smaller number", but) from error


def checked(command: Command, num_devices: int) -> Experiment:
    """The experiment of the command's configuration, if its parts go together, and its training
    with so many devices."""
    experiment = kinds.experiment(command.config)
    experiment.check_all(num_devices)
    return experiment


def with_texts(config: ConfigDict, field: str, texts: Sequence[str]) -> ConfigDict:
    """The configuration with these captions, of a kind that has the field."""
    return with_fields(config, {field: tuple(texts)}) if field in flat(config) else config


def require_as_trained(command: Command) -> None:
    """InvalidValue where the configuration is not what the network was trained under; with
    `force`, a warning. Weights that remember no configuration are taken as they are."""
    place = command.trained.place
    found = differing(command.config, place)
    if not found:
        return
    said = f"{place} was trained under another config: {workdir.first_few(found)}"
    if not command.force:
        field = next(iter(found))
        raise InvalidValue(field, but=f"{said}. --force goes on all the same")
    print(f"warning: {said}")


def checked_as_trained(command: Command) -> Experiment:
    """The experiment of a trained network, which is there, under what it was trained."""
    command.trained.require()
    require_as_trained(command)
    return checked(command, 1)  # how training divides a batch is of no matter


def joined(command: Command) -> None:
    """Waits until all processes of the run are there. Before using JAX."""
    with busy("waiting for the other processes"):
        command.cluster.join()


def run_train(command: Command) -> int:
    """Trains, or goes on training, in the workdir."""
    joined(command)
    experiment = checked(command, jax.device_count())
    claim = claim_of(command, experiment)
    loader, options, where = experiment.loader(), experiment.training, command.workdir
    measurements = experiment.measurements(where / "eval")
    result = loop.fit(experiment.task, loader, options, where, claim, measurements)
    more = "" if result.stopped is loop.Stop.FINISHED else ", and goes on by the same command"
    said = f"{result.stopped} at step {result.steps} after {result.seconds:.0f} s{more}"
    print(f"{said}: {where}")
    return INTERRUPTED if result.stopped is loop.Stop.INTERRUPTED else 0


def said_of_data(experiment: Experiment) -> Iterator[str]:
    """What a run is trained on, and how its classes are numbered, a line each."""
    train, options = experiment.train_source, experiment.options.data
    aside = ""
    if experiment.sets_aside:
        held_out = len(experiment.held_out)
        aside = f"; {held_out} more are held out (data.holdout={options.holdout:g})"
    shape = " x ".join(map(str, experiment.example_shape))
    yield f"data: {train.name}, {len(train):,} examples of {shape}{aside}"
    try:
        experiment.held_out  # noqa: B018  read here, so that a missing split is known
    except InvalidValue as error:
        yield f"warning: nothing is held out, and eval will be refused: {error}"
    if names := train.class_names:
        yield f"classes: {numbered(names)}"


def claim_of(command: Command, experiment: Experiment) -> workdir.Claim:
    """The run's claim to its workdir, by its configuration with the classes of its data."""
    about = [f"warning: {line}" for line in before_training(Subject(experiment))]
    about += said_of_data(experiment)
    said = experiment.said_by_data()
    config = json.loads(with_fields(command.config, said).to_json())

    def remembered(where: Path) -> dict[str, Any]:
        found = kinds.load(where).to_dict()
        if not found["data"]["class_names"]:  # as older versions left them
            found["data"]["class_names"] = said["data.class_names"]
        return found

    folders = folders_of(flat(config).values())
    return workdir.Claim(config, command.force, CONTINUABLE, remembered, about, folders)


def run_eval(command: Command) -> int:
    """Evaluates the chosen checkpoints; see `outputs` for where the reports are."""
    joined(command)
    for step, (folder, report) in evaluated(command).items():
        print(f"\nstep {step}: {folder / 'report.json'}\n{report}")
    return 0


def evaluated(command: Command) -> dict[int, tuple[Path, Report]]:
    """The reports on the chosen checkpoints with their folders, by step."""
    experiment = checked_as_trained(command)
    if not experiment.space.of_images:
        print("the data are no 8-bit images: loss and nats/dim, but neither bits/dim nor FID")
    elif not experiment.space.is_pixels:
        print("the states are latents: their nats/dim, no bits/dim, which only pixels have")
    workdir.require_writable(command.workdir / EVALUATIONS.folder)
    folders: dict[int, Path] = {}

    def places(params: Any, step: int) -> Places:
        found = command.outputs(EVALUATIONS).places(params, step)
        folders[step] = found.report
        return found

    reports = experiment.evaluate(command.trained, places)
    return {step: (folders[step], report) for step, report in reports.items()}


def run_sample(command: Command) -> int:
    """Draws samples: the arrays, and of images a picture and the path of some."""
    experiment = image_experiment(command)
    params, folder = parameters(experiment, command, SAMPLES)
    predict, options = guided(experiment, params), experiment.options.sampling
    labels = experiment.sample_labels()
    with progress_bar(desc="sample") as bar:
        key, update = jax.random.key(options.seed), bar_updater(bar)
        made = experiment.generator.draw(predict, key, labels, frames=10, progress=update)
    pictures.write_npz(folder / "samples.npz", **made.arrays(), **named_classes(experiment))
    if experiment.space.of_images:
        pictures.write_png(folder / "samples.png", made.picture)
        pictures.write_png(folder / "path.png", made.path_picture)
    else:
        print("the data are no 8-bit images, which alone have pictures: samples.npz has the arrays")
    of = f" of {listed(options.texts)}" if options.texts else of_classes(experiment, labels)
    print(f"{len(labels)} samples{of}, {made.nfe:.0f} evaluations each: {folder}")
    return 0


def run_write(command: Command) -> int:
    """Writes a text in the style of a hand, into a file."""
    order = command.order
    found = checked_as_trained(command)
    if not found.writes:
        raise InvalidValue(
            "task", command.config.task, "the config, workdir or weights of handwriting",
            but="it does not write",
        )  # fmt: skip
    experiment = cast(HandwritingExperiment, found)
    order.check(experiment.medium)
    params, _ = next(command.trained.chosen("latest", experiment.template))
    writer = Writer(experiment, params)
    options, seed = writer.experiment.options.write, command.config.sampling.seed
    texts = writer.lines(order.text)
    hand = writer.hands(order.style, seed)
    with progress_bar(desc="write") as bar:
        lines = writer.write(texts, hand, seed, bar_updater(bar))
    with_spans = experiment.medium.keeps_spans(order.out)
    writer.save(writer.page(lines, hand, with_spans=with_spans), order.out)
    if options.alignment:
        for number, line in enumerate(line for line in lines if line.text):
            picture = Path(order.out).with_suffix(f".alignment{number}.png")
            write_picture(picture, writer.alignment(line, hand), line.text)
    print(f"{len(lines)} lines in the hand {hand.name}: {order.out}")
    return 0


def run_control(command: Command) -> int:
    """Controlled generation: a picture, the arrays and the metrics."""
    experiment = image_experiment(command)
    if not experiment.space.of_images:
        space = command.config.data.space.name
        raise InvalidValue("data.space", space, "'pixels': control is of 8-bit images")
    with within("control.task"):
        experiment.controls.check(experiment.options.control.task)
    params, folder = parameters(experiment, command, CONTROL)
    images, labels, made = controlled(experiment, params)
    name = command.config.control.task.name
    pictures.write_png(folder / f"{name}.png", made.picture)
    arrays = {"images": images, "labels": labels, "results": made.results}
    pictures.write_npz(folder / f"{name}.npz", **arrays, **named_classes(experiment))
    about = {
        "control": command.config.control.to_dict(),
        "classes": [pictures.name_of(int(n), experiment.class_names) for n in labels],
        "solver": repr(experiment.sampler.solver),
        "guidance": command.config.guidance.to_dict(),
        "images": len(images),
        "figures": made.metrics,
    }
    json_text.write(folder / f"{name}.json", about)
    for metric, value in made.metrics.items():
        print(f"{metric:24} {value:.4g}")
    of, each = of_classes(experiment, labels), command.config.control.results
    print(f"{len(images)} images{of}, {each} results each: {folder}")
    return 0


def parameters(
    experiment: ImageExperiment, command: Command, kind: outputs.Kind
) -> tuple[Any, Path]:
    """The averaged parameters, and the folder of what the command makes with them."""
    params, step = next(command.trained.chosen("latest", experiment.template))
    return params, command.outputs(kind).folder(params, step)


def named_classes(experiment: ImageExperiment) -> dict[str, np.ndarray]:
    """The array that names the classes of "labels" in a file; nothing where they have no names."""
    names = experiment.class_names
    return {"class_names": np.array(names)} if names and experiment.num_classes else {}


def of_classes(experiment: ImageExperiment, labels: np.ndarray) -> str:
    """ " of cat, dog" for a line about samples; "" without classes."""
    known = experiment.class_names
    names = [pictures.name_of(int(label), known) for label in np.unique(labels) if label >= 0]
    return f" of {listed(names)}" if names else ""


def controlled(
    experiment: ImageExperiment, params: Any
) -> tuple[np.ndarray, np.ndarray, controls.Controlled]:
    """The images of the configuration's `control`, their classes, and what was made of them."""
    options = experiment.options.control
    images, labels = experiment.control_images()
    predict, key = guided(experiment, params), jax.random.key(options.seed)
    field, most = max(("images", len(images)), ("results", options.results), key=lambda of: of[1])
    texts = [options.texts[i % len(options.texts)] for i in range(len(images)) if options.texts]
    asked = controls.Asked(options.task, images, labels, options.results, options.seed, texts)
    with within("control"), lowering(field, most):
        setup = experiment.controls.setup(asked)
    with progress_bar(desc=experiment.config.control.task.name) as bar:
        made = experiment.controls.draw(predict, asked, setup, key, bar_updater(bar))
    return images, labels, made


def run_fields(command: Command) -> int:
    """Prints every field of the configuration, with its meaning and its choices."""
    settings, kinds_there = kinds.settings_of(command.config.task), ", ".join(kinds.KINDS)
    lines = [f"task = {command.config.task}", f"{listing.INDENT}one of {kinds_there}"]
    with contextlib.suppress(BrokenPipeError):  # of a reader that has seen enough
        print(*lines, *listing.listing(settings, command.config), sep="\n", flush=True)
    return 0


def run_doctor(command: Command) -> int:
    """Examines configuration, data, run and machine; 1 where anything cannot work."""
    place = command.trained.place
    named = command.weights is not None or (place / workdir.CONFIG).is_file()
    chosen(command.request.checks)  # refused before any long work
    try:
        experiment = kinds.experiment(command.config)
        found = examine(Subject(experiment, command.request, command.trained if named else None))
    except UserError as error:
        found = refused(error)
    folder = command.outputs(EXAMINATIONS).folder_of_config()
    found.write(folder / "report.json", {"config": command.config.to_dict()})
    print(found, f"report: {folder / 'report.json'}", sep="\n")
    return int(found.worst is Severity.ERROR)


def image_experiment(command: Command) -> ImageExperiment:
    """The checked experiment of a trained model that can be sampled."""
    experiment = checked_as_trained(command)
    if not experiment.draws_samples:
        raise InvalidValue(
            "task",
            command.config.task,
            "the config, workdir or weights of a generative model",
            but="it draws no samples",
        )
    return cast(ImageExperiment, experiment)


def guided(experiment: ImageExperiment, params: Any) -> Any:
    """The network with these parameters, guided where that is asked for."""
    predict = experiment.sampled(params)
    return experiment.guide(predict) if experiment.guide else predict


# What each mode runs, and the fields to lower where memory runs out: a device's, and the host's.
MODES: dict[str, tuple[Callable[[Command], int], str, str]] = {
    "train": (run_train, "training.microbatch", "training.batch_size"),
    "eval": (run_eval, "eval.batch_size", "eval.num_samples"),
    "sample": (run_sample, "sampling.batch_size", "sampling.num_samples"),
    "control": (run_control, "sampling.batch_size", "control.images"),
    "write": (run_write, "sampling.batch_size", "sampling.batch_size"),
    "doctor": (run_doctor, "training.microbatch", "training.batch_size"),
    "fields": (run_fields, "", ""),
}
UNSETTLED = (run_fields, run_doctor)  # of a configuration that may leave something to its data
