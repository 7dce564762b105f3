"""A run's averaged parameters, or exported weights, as one file or as a folder of diffusers.

    python -m tools.export_weights --workdir runs/mine --out mine.npz
    python main.py --weights mine.npz --mode sample
    python -m tools.export_weights --weights mine.npz --out mine.safetensors
    python -m tools.export_weights --weights mine.npz --out mine    # a folder of diffusers

What is written, the name says: .npz is what every command takes in place of a workdir, .safetensors
the same for other programs, and a name without an ending a pipeline of diffusers with its
UNet2DModel, where the network is one, or of an autoencoder its AutoencoderKL. The .npz of an
autoencoder is what `data.space=latents` reads: it has mean and deviation of the latents too. Files
remember the complete configuration and the step; the
last two come back by tools.import_checkpoint with the same bits. In .npz, matrices and kernels are
float16, half the size of what was trained, unless --dtype float32 keeps all bits.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from options.choices import require
from options.program import one_line_errors
from options.project import find


def export(
    source: str | Path, out: str | Path, step: int | None = None, dtype: str | None = None
) -> int:
    """Writes the file or the folder, whole or not at all, and returns the step.

    source: a workdir, or exported weights. step: of a workdir; None is the newest checkpoint.
    dtype: of matrices and kernels; None: float16 in .npz, else float32.

    StorageError where there is no run or no such checkpoint.
    """
    from experiment import kinds
    from storage import checkpoint, weights

    ending = Path(out).suffix
    expected = "a name that ends in .npz or .safetensors, or without an ending for a folder"
    require(ending in FORMATS, "out", str(out), expected)
    config, source = kinds.load(source), find(source)
    if source.is_dir():
        params, found = checkpoint.load_ema(source / "checkpoints", step)
    else:
        template = kinds.experiment(config).template
        params, found = weights.load_weights(source, template), weights.read_step(source)
    FORMATS[ending](Path(out), config, params, found, dtype)
    return found


def _npz(out: Path, config: Any, params: Any, step: int, dtype: str | None) -> None:
    from experiment import kinds
    from storage import weights

    dtype = dtype or "float16"
    params = weights.rounded(params, dtype)
    about = kinds.experiment(config).record(params)
    meta = {"config": json.loads(config.to_json()), "step": step, **about}
    weights.export_weights(out, params, dtype, meta)


def _safetensors(out: Path, config: Any, params: Any, step: int, dtype: str | None) -> None:
    from storage.files import atomic_write
    from storage.weights import flatten
    from tools.published import own

    arrays: Mapping[str, np.ndarray] = flatten(params)
    stored = {k: v.astype(dtype) if v.ndim > 1 and dtype else v for k, v in arrays.items()}
    content = own.packed(stored, own.record_of(json.loads(config.to_json()), step))
    with atomic_write(out) as file:
        file.write(content)


def _diffusers(out: Path, config: Any, params: Any, step: int, dtype: str | None) -> None:
    from experiment import kinds
    from tools.published import to_diffusers

    require(dtype in (None, "float32"), "dtype", dtype, "float32 in a folder of diffusers")
    to_diffusers.write(out, kinds.experiment(config), params, step)


FORMATS = {".npz": _npz, ".safetensors": _safetensors, "": _diffusers}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--workdir", help="of a run")
    source.add_argument("--weights", help="exported weights (.npz)")
    parser.add_argument("--out", type=Path, required=True, help="what to write")
    parser.add_argument("--step", type=int, help="of a run; default: the newest checkpoint")
    parser.add_argument("--dtype", choices=("float16", "float32"), help="of matrices and kernels")
    args = parser.parse_args(argv)
    with one_line_errors():
        step = export(args.workdir or args.weights, args.out, args.step, args.dtype)
    files = [args.out, *args.out.rglob("*")] if args.out.is_dir() else [args.out]
    size = sum(file.stat().st_size for file in files if file.is_file())
    print(f"step {step}: {args.out}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
