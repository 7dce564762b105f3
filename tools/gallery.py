"""The gallery of docs: every control with several solvers, its pictures and its metrics.

    python -m tools.gallery --extractor_weights lite0.npz
    python -m tools.gallery --extractor_weights lite0.npz --only inpaint,edit

writes docs/gallery.md and docs/images/gallery. What was made is kept in runs/gallery, and not made
again while weights and settings are the same, so that a run that is cut off goes on. lite0.npz, by
which colour images are compared, is made by tools/convert_efficientnet_lite0.py.
"""

import argparse
import json
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import main
from options.choices import did_you_mean_path
from options.errors import InvalidValue
from options.program import one_line_errors
from tools import gallery_scenes
from tools.command_line import hardware
from tools.gallery_scenes import ABOUT, IMAGES, SHOWN, Scene
from tools.markdown import table

# Metrics of controlled generation that are shown: a column's title, and how values are written.
METRICS: dict[str, tuple[str, Callable[[float], str]]] = {
    "psnr_hidden": ("PSNR of what was hidden, dB", "{:.1f}".format),
    "psnr": ("PSNR, dB", "{:.1f}".format),
    "psnr_of_cubic": ("of cubic interpolation", "{:.1f}".format),
    "psnr_to_image": ("PSNR to the image, dB", "{:.1f}".format),
    "consistency_rmse": ("error, made smaller again", "{:.3f}".format),
    "residual_std": ("residual", "{:.3f}".format),
    "noise_std": ("noise of the measurement", "{:.3f}".format),
    "feature_distance": ("feature distance", "{:.3f}".format),
    "feature_distance_of_images": ("of two images", "{:.3f}".format),
    "largest_error_known": ("largest error of what was known", "{:.0e}".format),
    "largest_error_grey": ("largest error of grey", "{:.0e}".format),
    "colourfulness": ("colourfulness", "{:.3f}".format),
    "colourfulness_of_images": ("of the images", "{:.3f}".format),
    "accuracy": ("of the class", "{:.0%}".format),
    "evaluations": ("evaluations", "{:.0f}".format),
    "seconds": ("seconds", "{:.0f}".format),
}


def draw_mask(path: Path, size: int = 32) -> None:
    """A scribble to be completed, black on white."""
    import numpy as np
    from PIL import Image, ImageDraw

    from storage.pictures import write_png

    picture = Image.new("L", (size, size), 255)
    line = [(4, 6), (14, 10), (26, 5), (24, 14), (8, 18), (10, 27), (22, 22), (28, 28)]
    ImageDraw.Draw(picture).line(line, fill=0, width=5, joint="curve")
    write_png(path, np.asarray(picture)[..., None])


def draw_painting(path: Path, size: int = 32) -> None:
    """A face of a few flat strokes."""
    import numpy as np
    from PIL import Image, ImageDraw

    from storage.pictures import write_png

    def at(*places: int) -> list[int]:
        """Places in 32 pixels at this size."""
        return [place * size // 32 for place in places]

    picture = Image.new("RGB", (size, size), "white")
    brush = ImageDraw.Draw(picture)
    brush.ellipse(at(3, 3, 28, 28), fill=(250, 205, 60))
    brush.rectangle(at(9, 10, 12, 14), fill=(90, 60, 20))
    brush.rectangle(at(19, 10, 22, 14), fill=(90, 60, 20))
    brush.polygon(at(8, 18, 23, 18, 19, 24, 12, 24), fill=(150, 40, 30))
    write_png(path, np.asarray(picture))


def checksum(path: str) -> str:
    """Of a file of weights."""
    import numpy as np

    from metrics.resumable import fingerprint

    return fingerprint([np.fromfile(path, np.uint8)])


def play(scene: Scene, solver: str, extractor_weights: str, folder: Path) -> dict[str, float]:
    """The metrics of a scene with a solver, and its picture as <folder>/<scene>_<solver>.png."""
    from experiment import kinds, modes
    from experiment.experiment import at as trained_at
    from storage import json_text, pictures

    settings = scene.settings(solver, extractor_weights)
    identity = {"settings": settings, "weights": checksum(scene.weights)}
    at = folder / f"{scene.name}_{solver}"
    record = at.with_suffix(".json")
    if record.is_file() and at.with_suffix(".png").is_file():
        kept = json.loads(record.read_text())
        if kept["identity"] == identity:
            return kept["figures"]
    config = kinds.load(scene.weights, settings)
    experiment = modes.image_experiment(modes.Command(config, folder, Path(scene.weights)))
    params = trained_at(scene.weights).params(experiment.template)
    made = modes.controlled(experiment, params)[2]
    pictures.write_png(at.with_suffix(".png"), pictures.drawn(made.panel.first(SHOWN)))
    json_text.write(record, {"identity": identity, "figures": made.metrics}, indent=1)
    return made.metrics


def markdown_table(found: Mapping[str, Mapping[str, float]]) -> str:
    """Metrics by solver, a row each."""
    names = [name for name in METRICS if any(name in metrics for metrics in found.values())]
    rows = [
        [
            gallery_scenes.SOLVERS[solver][0],
            *(METRICS[n][1](metrics[n]) if n in metrics else "" for n in names),
        ]
        for solver, metrics in found.items()
    ]
    return table(["solver", *(METRICS[name][0] for name in names)], rows)


def scene_section(scene: Scene, extractor_weights: str, folder: Path, docs: Path) -> str:
    """A scene's part of the page; its picture goes to docs."""
    found = {s: play(scene, s, extractor_weights, folder) for s in scene.solvers}
    first = scene.solvers[0]
    shutil.copyfile(folder / f"{scene.name}_{first}.png", docs / IMAGES / f"{scene.name}.png")
    return (
        f"{scene.text}\n\n![{scene.text}]({IMAGES}/{scene.name}.png)\n\n{markdown_table(found)}\n\n"
        f"{counted(scene)}\n\n```bash\n{scene.command(first, 'lite0.npz')}\n```\n"
    )


def counted(scene: Scene) -> str:
    """How many images the metrics are of."""
    images = "1 image" if scene.images == 1 else f"{scene.images} images"
    return f"{images}, {scene.results} results each."


def classifier_section(name: str, folder: Path, docs: Path) -> str:
    """Accuracy and confusion of a shipped classifier against the noise."""
    from experiment import kinds, modes

    path = Path(f"pretrained/{name}_classifier.npz")
    command = modes.Command(kinds.load(path), folder / f"classifier_{name}", path)
    ((made, _),) = modes.evaluated(command).values()
    for picture in ("accuracy", "confusion"):
        shutil.copyfile(made / f"{picture}.png", docs / IMAGES / f"classifier_{name}_{picture}.png")
    return (
        f"The classifier of noisy {name} (`configs/{name}/classifier.py`), by noise level:\n\n"
        f"![Accuracy against the noise]({IMAGES}/classifier_{name}_accuracy.png)\n\n"
        f"![Confusion at six levels]({IMAGES}/classifier_{name}_confusion.png)\n\n"
        f"```bash\npython main.py --weights={path} --mode eval\n```\n"
    )


def contest_section(name: str, options: list[str], folder: Path, docs: Path) -> str:
    """All strategies of guidance side by side on a data set."""
    from tools import guidance_contest

    out = folder / f"guidance_{name}"
    args = guidance_contest.parser().parse_args([*options, f"--out={out}"])
    guidance_contest.contest(args)
    for picture in ("samples", "calibration"):
        shutil.copyfile(out / f"{picture}.png", docs / IMAGES / f"guidance_{name}_{picture}.png")
    made = json.loads((out / "guidance.json").read_text())
    said = [part for part in options if not part.startswith("--extractor_weights")]
    said += ["--extractor_weights=lite0.npz"] if len(said) < len(options) else []
    return (
        f"All strategies on {name}, {made['samples']} samples each from the same noise, on "
        f"{made['hardware']}. A row of the picture is a row of the table.\n\n"
        f"![Samples of every strategy]({IMAGES}/guidance_{name}_samples.png)\n\n"
        f"{(out / 'guidance.md').read_text()}\n"
        f"What automatic guidance measured:\n\n"
        f"![Calibration]({IMAGES}/guidance_{name}_calibration.png)\n\n"
        f"```bash\npython -m tools.guidance_contest {shlex.join(said)}\n```\n"
    )


def cascade_section(folder: Path, docs: Path) -> str:
    """All three stages of the emoji's cascade."""
    from tools import cascade

    stages = [gallery_scenes.BASE, *gallery_scenes.UPSAMPLERS.values()]
    chain = ",".join(stages)
    out = folder / f"cascade-{'-'.join(map(checksum, stages))}"
    options = ["--each=4"]
    if not (out / "cascade.json").is_file():
        cascade.main([f"--weights={chain}", *options, f"--out={out}"])
    shutil.copyfile(out / "cascade.png", docs / IMAGES / "cascade.png")
    made = json.loads((out / "cascade.json").read_text())
    rows = [
        [
            f"{row['image_shape'][0]} px", f"{row['evaluations']:.0f}", f"{row['seconds']:.0f}",
            f"{row['consistency_rmse']:.3f}" if "consistency_rmse" in row else "",
        ]
        for row in made["stages"]
    ]  # fmt: skip
    metrics = table(["stage", "evaluations", "seconds", "error, made smaller again"], rows)
    return (
        f"A cascade, from 8 to 16 to 32 pixels; a row a class, four samples, each at all its "
        f"stages.\n\n![Three stages of each sample]({IMAGES}/cascade.png)\n\n{metrics}\n\n"
        f"{made['samples']} samples.\n\n"
        f"```bash\npython -m tools.cascade --weights {chain} \\\n    {' '.join(options)}\n```\n"
    )


def page(args: argparse.Namespace) -> str:
    """Makes everything that is asked for and is not there yet; the page as Markdown."""
    pictures = args.docs / IMAGES
    pictures.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    draw_mask(pictures / "mask.png")
    draw_painting(pictures / "painting.png")
    only = args.only.split(",") if args.only else list(ABOUT)
    unknown = [task for task in only if task not in ABOUT]
    if unknown:
        raise InvalidValue("only", unknown[0], f"some of {', '.join(ABOUT)}")
    wanted = {scene.weights for scene in gallery_scenes.scenes(pictures) if scene.task in only}
    wanted |= {gallery_scenes.EMOJI} if "guide" in only else set()
    wanted |= {gallery_scenes.BASE} if "upscale" in only else set()
    missing = sorted(path for path in wanted if not Path(path).is_file())
    if missing:
        raise InvalidValue("weights", but=f"there is no {missing[0]}, which {', '.join(only)} need")
    if wanted != {gallery_scenes.DIGITS} and not args.extractor_weights.is_file():
        where = args.extractor_weights
        but = f"there is no file {where}{did_you_mean_path(where)}"
        raise InvalidValue("extractor_weights", but=but)
    lite0 = str(args.extractor_weights)
    colour = [
        f"--weights={gallery_scenes.EMOJI}", "--classifier=pretrained/emoji_classifier.npz",
        "--extractor=efficientnet_lite0", f"--extractor_weights={lite0}", "--samples=180",
        "--batch_size=60",
    ]  # fmt: skip
    more: dict[str, list[Callable[[], str]]] = {
        "upscale": [lambda: cascade_section(args.out, args.docs)],
        "guide": [
            lambda: contest_section("digits", ["--samples=300"], args.out, args.docs),
            lambda: contest_section("emoji", colour, args.out, args.docs),
            lambda: classifier_section("digits", args.out, args.docs),
            lambda: classifier_section("emoji", args.out, args.docs),
        ],
    }
    command = "python -m tools.gallery --extractor_weights lite0.npz"
    command += f" --only {args.only}" if args.only else ""
    parts = [
        "# Gallery\n",
        "Each control of [running.md](running.md) with the models that come with the project. A "
        "row of a picture is an image, what was known of it, and several results; of guidance, "
        "which knows nothing of an image, the results alone. Metrics are means over all results. "
        "*Feature distance* is 2 - 2 cos of the features of result and image "
        "(`metrics/feature_distance.py`), by the digits' extractor or EfficientNet-Lite0, beside "
        "the mean over pairs of different images. Seconds are of all results of a row, "
        "compilation included and, once, what automatic guidance measures.\n",
        f"    {command}\n",
        f"makes this page. Measured on {hardware()}, which did other work beside it.\n",
    ]
    for task in only:
        title, about = ABOUT[task]
        parts.append(f"## {title}\n\n{about}\n")
        for scene in gallery_scenes.scenes(pictures):
            if scene.task == task:
                parts.append(scene_section(scene, lite0, args.out, args.docs))
        parts += [make() for make in more.get(task, [])]
    return "\n".join(parts)


def run() -> None:
    """The command line; what a user can mend is one line and exit status 2."""
    from storage.files import atomic_write

    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--extractor_weights", type=Path, required=True, help="EfficientNet-Lite0's")
    made.add_argument("--only", default="", help="tasks, with commas between; default: all")
    made.add_argument("--docs", type=Path, default=Path("docs"))
    made.add_argument("--out", type=Path, default=Path("runs/gallery"), help="what is kept")
    args = made.parse_args()
    main.prepare_jax()
    with one_line_errors():
        text = page(args)
    with atomic_write(args.docs / "gallery.md", "w") as file:
        file.write(text)
    print(f"written to {args.docs / 'gallery.md'}", file=sys.stderr)


if __name__ == "__main__":
    run()
