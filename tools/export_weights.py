"""A run's averaged parameters as one file, which every command takes in place of the workdir.

    python -m tools.export_weights --workdir runs/mine --out mine.npz
    python main.py --weights mine.npz --mode sample

The file remembers the complete configuration and the step. Matrices and kernels are float16, half
the size of what was trained; --dtype float32 keeps all bits.
"""

import argparse
import json
from pathlib import Path

from options.choices import require
from options.program import one_line_errors


def export(workdir: str | Path, out: str | Path, step: int | None = None, dtype="float16") -> int:
    """Writes the file, whole or not at all, and returns the step; None is the newest.

    StorageError where there is no run or no such checkpoint.
    """
    from experiment import kinds
    from storage import checkpoint, weights

    config = kinds.load(workdir)
    params, found = checkpoint.load_ema(Path(workdir) / "checkpoints", step)
    meta = {"config": json.loads(config.to_json()), "step": found}
    weights.export_weights(out, params, dtype, meta)
    return found


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", required=True, help="of a run")
    parser.add_argument("--out", type=Path, required=True, help="the file to write (.npz)")
    parser.add_argument("--step", type=int, help="default: the newest checkpoint")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16")
    args = parser.parse_args(argv)
    with one_line_errors():
        require(args.out.suffix == ".npz", "out", str(args.out), "a name that ends in .npz")
        step = export(args.workdir, args.out, args.step, args.dtype)
    print(f"step {step}: {args.out}, {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
