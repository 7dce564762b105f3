"""A builder of one's own, as the page on published data sets has it: real TFDS, in array_record."""

import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

COUNTS = {"train": 60, "validation": 7}
NAMES = ("disc", "square", "stripe")


def drawn(split: str, i: int) -> np.ndarray:
    """Example i of a split: a bright shape on a dark ground, of its own size and colour."""
    random = np.random.default_rng([len(split), i])
    height, width = random.integers(20, 40, 2)
    y, x = np.mgrid[:height, :width] - np.array([height, width]).reshape(2, 1, 1) / 2
    radius = random.uniform(4, 9)
    inside = (np.hypot(x, y) < radius, np.maximum(abs(x), abs(y)) < radius, abs(y) < 3)[i % 3]
    return np.where(inside[..., None], random.integers(120, 256, 3), 20).astype(np.uint8)


class Shapes(tfds.core.GeneratorBasedBuilder):
    """Shapes with their class, name and place."""

    VERSION = tfds.core.Version("2.1.0")
    RELEASE_NOTES = {"2.1.0": "Two splits."}
    name = "shapes"

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=NAMES),
            "file_name": tfds.features.Text(),
            "place": tfds.features.Tensor(shape=(2,), dtype=np.float32),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Discs, squares and stripes.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in COUNTS}

    def _generate_examples(self, split):
        for i in range(COUNTS[split]):
            png = io.BytesIO()
            Image.fromarray(drawn(split, i)).save(png, "PNG")
            png.seek(0)  # an open file is stored as it is; an array would need TensorFlow
            place = np.array([i, -i], np.float32)
            yield f"{split}_{i}", {
                "image": png, "label": i % 3, "file_name": f"{i}.png", "place": place
            }  # fmt: skip
