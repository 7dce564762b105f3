"""The scenes of the gallery: what is asked of which model, and how each task is introduced."""

import dataclasses
import shlex
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DIGITS, EMOJI = "pretrained/digits.npz", "pretrained/emoji.npz"
BASE = "pretrained/emoji_base_8.npz"
UPSAMPLERS = {16: "pretrained/emoji_up_16.npz", 32: "pretrained/emoji_up_32.npz"}
IMAGES = "images/gallery"  # from the folder of docs

# By name: title, and fields of the section `sampling`. What adds noise stands first, and is shown:
# it does better wherever something is known.
SOLVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ancestral": (
        "ancestral",
        {
            "solver": "pc",
            "solver.predictor": "ancestral",
            "solver.corrector": "none",
            "num_steps": 50,
        },
    ),
    "dpm": ("DPM-Solver++ 2M", {"solver": "dpm", "num_steps": 25, "grid": "log_snr"}),
    "heun": ("Heun", {"solver": "heun", "num_steps": 18, "grid": "edm"}),
}
ONE = ("ancestral",)
SHOWN = 4  # images of which the rows are drawn; eight times the evaluations are spent on no more


@dataclasses.dataclass(frozen=True)
class Scene:
    """A task with its picture: `control` and `guidance` are fields of the sections of that name, by
    dotted names.

    solvers: of SOLVERS; the picture is of the first.
    """

    name: str
    text: str
    weights: str
    control: Mapping[str, Any]
    guidance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    solvers: tuple[str, ...] = tuple(SOLVERS)
    images: int = 8
    results: int = 4

    @property
    def task(self) -> str:
        return self.control["task"]

    def settings(self, solver: str, extractor_weights: str) -> dict[str, Any]:
        """The fields of a config that are set."""
        fields = {f"sampling.{k}": v for k, v in SOLVERS[solver][1].items()}
        fields |= {f"control.{k}": v for k, v in self.control.items()}
        fields |= {"control.images": self.images, "control.results": self.results}
        fields |= {f"guidance.{k}": v for k, v in self.guidance.items()}
        if self.weights != DIGITS:
            fields |= {"eval.extractor": "efficientnet_lite0", "eval.weights": extractor_weights}
        return fields

    def command(self, solver: str, extractor_weights: str) -> str:
        """What makes the same by hand."""
        parts = ["python main.py --mode control"]
        parts += [f"--weights={self.weights}"] if self.weights != DIGITS else []
        parts += [
            f"--config.{name}={shlex.quote(str(value))}"
            for name, value in self.settings(solver, extractor_weights).items()
        ]
        lines = textwrap.wrap(
            " ".join(parts), 95, subsequent_indent="    ", break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
        return " \\\n".join(lines)


def scenes(folder: Path) -> list[Scene]:
    """The gallery in its order, the scenes of a task together. folder: of the pictures drawn."""
    return [
        *_inpainted(str(folder / "mask.png")),
        *_measured(),
        *_edited(str(folder / "painting.png")),
        *_of_other_networks(),
    ]


def _inpainted(mask: str) -> list[Scene]:
    return [
        Scene(
            "inpaint_digits", "The middle of digits, each conditioned on its class.",
            DIGITS, {"task": "inpaint", "task.mask": "box"}, images=16,
        ),
        Scene(
            "inpaint_half", "The right half of emoji. What is unlike the image may be as good an "
            "answer: four of them stand side by side. The noise of the ancestral solver lets the "
            "halves come together; solvers of the flow, which add none, leave a seam.", EMOJI,
            {"task": "inpaint", "task.mask": "half"},
        ),
        Scene(
            "inpaint_half_repeats", "The right half of others, each step taken eight times "
            "(RePaint).", EMOJI,
            {"task": "inpaint", "task.mask": "half", "repeats": 8}, solvers=("ancestral", "dpm"),
            images=SHOWN,
        ),
        Scene(
            "inpaint_patches", "Half of the squares of 4 x 4 pixels, each step taken eight times.",
            EMOJI, {"task": "inpaint", "task.mask": "patches", "repeats": 8}, solvers=ONE,
            images=SHOWN,
        ),
        Scene(
            "inpaint_drawn", f"A mask drawn by hand, [mask.png]({IMAGES}/mask.png), each step "
            "taken eight times.", EMOJI,
            {"task": "inpaint", "task.mask": "drawn", "task.mask.path": mask, "repeats": 8},
            solvers=ONE, images=SHOWN,
        ),
    ]  # fmt: skip


def _measured() -> list[Scene]:
    return [
        Scene("colorize", "The mean of the three colours of emoji.", EMOJI, {"task": "colorize"}),
        Scene(
            "restore_downsampling", "Means over 4 x 4 pixels, with noise, by pseudo-inverse "
            "guidance.", EMOJI, {"task": "restore", "task.operator": "downsampling"},
        ),
        Scene(
            "restore_dps", "The same by diffusion posterior sampling, with a strength of 50.",
            EMOJI,
            {
                "task": "restore", "task.operator": "downsampling", "task.method": "dps",
                "task.method.strength": 50.0,
            },
            solvers=ONE,
        ),
        Scene(
            "restore_blur", "A Gaussian blur.", EMOJI,
            {"task": "restore", "task.operator": "blur"}, solvers=ONE,
        ),
        Scene(
            "restore_fourier", "A third of the rows of the Fourier transform, as in MRI.", EMOJI,
            {"task": "restore", "task.operator": "fourier"}, solvers=ONE,
        ),
        Scene(
            "restore_projection", "A quarter as many random projections as pixels, of digits.",
            DIGITS, {"task": "restore", "task.operator": "projection"}, solvers=ONE,
        ),
    ]  # fmt: skip


def _edited(painting: str) -> list[Scene]:
    return [
        Scene(
            "edit_3", "Emoji noised to t = 0.3.", EMOJI, {"task": "edit", "task.t": 0.3},
            solvers=ONE,
        ),
        Scene("edit_5", "Noised to t = 0.5.", EMOJI, {"task": "edit", "task.t": 0.5}),
        Scene(
            "edit_7", "Noised to t = 0.7.", EMOJI, {"task": "edit", "task.t": 0.7}, solvers=ONE,
        ),
        Scene(
            "edit_painting", f"A painting of a few strokes, [painting.png]({IMAGES}/painting.png), "
            "as a smiley.", EMOJI,
            {"task": "edit", "task.t": 0.6, "image": painting, "labels": "6"}, solvers=ONE,
            images=1, results=8,
        ),
    ]  # fmt: skip


def _of_other_networks() -> list[Scene]:
    automatic = {"strategy": "automatic", "classifier": "pretrained/digits_classifier.npz"}
    return [
        Scene(
            "upscale_16", "Emoji from 8 to 16 pixels.", UPSAMPLERS[16], {"task": "upscale"},
        ),
        Scene(
            "upscale_32", "From 16 to 32 pixels.", UPSAMPLERS[32], {"task": "upscale"},
            solvers=ONE,
        ),
        Scene(
            "guide_digits", "Digits, the unconditional network guided to a class by a classifier, "
            "with nothing tuned.", DIGITS, {"task": "guide"}, guidance=automatic,
            images=16,
        ),
    ]  # fmt: skip


ABOUT = {
    "inpaint": (
        "Inpainting",
        "What is known is put in at the noise level of every step, and at the end as it is "
        "(`controllable/replacement.py`).",
    ),
    "colorize": (
        "Colorization",
        "Only the grey is known; in a rotated basis of colours it is one channel, which is "
        "replaced, so that the result's grey is the image's.",
    ),
    "restore": (
        "Inverse problems",
        "The measurement, A x + noise of 0.05, enters by an approximate score of its likelihood "
        "(`controllable/inverse_problems.py`). The residual should be about as large as the noise.",
    ),
    "edit": ("SDEdit", "The image is noised to time t, and denoised from there."),
    "upscale": (
        "Super-resolution",
        "An upsampler is conditioned on the smaller image (`controllable/super_resolution.py`).",
    ),
    "guide": ("Guidance", "Towards a class, by a classifier of noisy images."),
}
