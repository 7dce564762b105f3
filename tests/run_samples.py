"""Draws samples of an exact model as an evaluation does: `run_samples.py FOLDER COUNT BATCH I OF`.

Host I of OF, on the devices that there are; the rows are in FOLDER.
"""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

from data import UNIT
from generation.sampler import Generator
from metrics import resumable
from metrics.resumable import Resumable, Share, fill
from oracles import Gaussian
from sde_lib import VPSDE
from solvers import DDIM
from solvers.grids import uniform_grid
from solvers.sampler import Sampler


def main() -> None:
    folder, count, batch, index, of = pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:])
    resumable.WRITE_SECONDS = 0.0
    process, shape = VPSDE(), (4, 4, 1)
    predict = Gaussian(jnp.full(shape, 0.5), jnp.full(shape, 0.2))
    sampler = Sampler(process, DDIM(eta=1.0), uniform_grid(process, 5, t_end=1e-3), shape, UNIT)
    generator = Generator(sampler, batch_size=batch)

    def draw(numbers: np.ndarray) -> dict:
        labels, first = generator.labels(len(numbers)), int(numbers[0])
        made = generator.draw(predict, jax.random.key(3), labels, first_index=first)
        print("drawn", flush=True)
        return {"image": made.data, "x": np.full(len(numbers), jax.local_device_count())}

    store = Resumable(folder, "samples", {})
    fill(store, count, batch, draw, "samples", progress=False, share=Share(index, of))


if __name__ == "__main__":
    main()
