"""Whether a network is used under the configuration that it was trained under."""

from pathlib import Path

from ml_collections import ConfigDict

from experiment import kinds
from options.errors import UserError
from storage import workdir

# What a network was trained under, less what changes neither its parameters nor what it says.
TRAINED_UNDER = (
    "task", "process", "parameterization", "model", "conditions", "data.space", "data.image_size",
    "data.num_channels", "data.holdout",
)  # fmt: skip
# What changes no number, or is known by a fingerprint that is compared.
WAYS_TO_COMPUTE = ("model.remat", "model.scan_blocks", "data.space.weights")


def differing(config: ConfigDict, place: Path) -> dict[str, str]:
    """The fields of a configuration that weights or a workdir remember otherwise, each with a
    sentence. Nothing for weights that remember no configuration."""
    try:
        remembered = kinds.load(place)
    except UserError:
        return {}
    differ = workdir.differences(remembered.to_dict(), config.to_dict())
    # Of a section where another class is chosen all differs: its name says it.
    other = [k.removesuffix(".name") for k in differ if k.endswith(".name")]
    return {
        k: said
        for k, said in differ.items()
        if workdir.is_within(k, TRAINED_UNDER)
        and not (workdir.is_within(k, WAYS_TO_COMPUTE) or k.endswith(".dropout"))
        and (k.endswith(".name") or not workdir.is_within(k, other))
    }
