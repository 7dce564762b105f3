"""Prepare CIFAR-10 from its published archive as a TFDS data set in array_record files.

    python -m tools.prepare_cifar10 --archive cifar-10-python.tar.gz --output ~/data

`--archive` is cifar-10-python.tar.gz or cifar-10-binary.tar.gz (Krizhevsky 2009). The result,
~/data/cifar10/1.0.0, is what `data.tfds` reads; TensorFlow is not needed for either step.

Formats. Python: five pickles `data_batch_1..5` and one `test_batch`, each a dictionary with
b"data", uint8 (n, 3072), and b"labels", n integers. Binary: the same names with `.bin`, records of
one label byte and 3072 pixel bytes. Pixels are three planes (red, green, blue) of 32 rows.
"""

import argparse
import codecs
import io
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from options.choices import did_you_mean_path
from options.errors import InvalidValue, StorageError, Words
from options.program import one_line_errors
from options.project import extra

with one_line_errors(), extra("tfds"):
    import tensorflow_datasets as tfds

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
PIXELS = 3 * 32 * 32
Arrays = tuple[UInt8[np.ndarray, "n 32 32 3"], Int[np.ndarray, "n"]]


class _ArrayUnpickler(pickle.Unpickler):
    """Reads pickled numpy arrays and refuses to import anything else."""

    ALLOWED = {
        # The published files name numpy's modules as they were in 2009.
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): codecs.encode,  # how Python 3 writes bytes in the old protocol
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise InvalidValue("archive", Words(f"a batch of {module}.{name}"), "numpy arrays")
        return self.ALLOWED[module, name]


def parse_batch(name: str, content: bytes) -> Arrays:
    """The images and labels of one batch file, whose name says which format it is."""
    if name.endswith(".bin"):
        table = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
        labels, pixels = table[:, 0].astype(np.int64), table[:, 1:]
    else:
        batch = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
        labels, pixels = np.asarray(batch[b"labels"], np.int64), batch[b"data"]
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def read_archive(path: Path) -> dict[str, Arrays]:
    """{"train": ..., "test": ...} from either of the two published archives."""
    if not path.is_file():
        raise StorageError("archive", but=f"there is no file {path}{did_you_mean_path(path)}")
    parts: dict[str, list[Arrays]] = {"train": [], "test": []}
    try:
        with tarfile.open(path) as tar:
            for member in sorted(tar.getmembers(), key=lambda member: member.name):
                name = PurePosixPath(member.name).name
                file = tar.extractfile(member)
                if file is None or not name.startswith(("data_batch_", "test_batch")):
                    continue
                split = "test" if name.startswith("test") else "train"
                parts[split].append(parse_batch(name, file.read()))
    except (tarfile.TarError, EOFError, OSError, KeyError, pickle.UnpicklingError) as error:
        but = f"{path} is not a whole CIFAR-10 archive: {error}"
        raise StorageError("archive", but=but) from error
    for split, batches in parts.items():
        if not batches:
            raise InvalidValue("archive", but=f"{path} holds no {split} batch")
    return {
        split: (np.concatenate([b[0] for b in batches]), np.concatenate([b[1] for b in batches]))
        for split, batches in parts.items()
    }


class Cifar10(tfds.core.GeneratorBasedBuilder):
    """Image (32, 32, 3) and label, under the names and order that TFDS's own `cifar10` has."""

    VERSION = tfds.core.Version("1.0.0")
    name = "cifar10"

    def __init__(self, arrays: dict[str, Arrays], **kwargs: Any) -> None:
        self._arrays = arrays
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(32, 32, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=CLASSES),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="CIFAR-10 (Krizhevsky 2009), from its published archive.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        return {split: self._generate_examples(*arrays) for split, arrays in self._arrays.items()}

    def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Iterator:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            # An array would be encoded by TensorFlow; a file object is stored as it is.
            png = io.BytesIO()
            Image.fromarray(image).save(png, "PNG")
            png.seek(0)
            yield i, {"image": png, "label": int(label)}


def prepare(archive: Path, output: Path) -> Path:
    """Write the data set below `output`; returns its folder, `output`/cifar10/1.0.0."""
    builder = Cifar10(read_archive(archive), data_dir=output, file_format="array_record")
    folder = Path(builder.data_path)
    if folder.exists():
        but = f"{folder} exists; remove it to prepare the data set again"
        raise InvalidValue("output", but=but)
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    builder.download_and_prepare(download_config=config)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archive", type=Path, required=True, help="cifar-10-python.tar.gz")
    parser.add_argument("--output", type=Path, required=True, help="where data sets are kept")
    args = parser.parse_args()
    with one_line_errors():
        print(prepare(args.archive, args.output.expanduser()))


if __name__ == "__main__":
    main()
