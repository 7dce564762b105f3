"""`--mode doctor`: what is wrong with a configuration, its data, its run or this machine.

`CHECKS` are the classes that look for one fault each; a new one is a class in a file here and a
line below, or one's own as "module:Class".
"""

from experiment.doctor.classes import Imbalance, MissingClass, SmallClass
from experiment.doctor.copies import Duplicates, NearDuplicates, Overlap
from experiment.doctor.files import (
    Damaged,
    Enlarged,
    OtherProportions,
    SixteenBit,
    Transparent,
)
from experiment.doctor.finding import Check
from experiment.doctor.images import Blank, Flips, GreyAsColour, NothingHeldOut, ValueRange
from experiment.doctor.length import Checkpoints, LearningRate, SlowAverage, Warmup
from experiment.doctor.machine import Duration, Memory
from experiment.doctor.prior import Centring, PriorWidth, SigmaData, SmallestNoise, StateScale
from experiment.doctor.run import Overfitted, TrainedOtherwise
from experiment.doctor.sampler import (
    CorrectorOnFlow,
    NoiseLeft,
    SignalToNoise,
    Steps,
    UnusedVariance,
)
from experiment.doctor.training import (
    Bfloat16OnCPU,
    ConditionDropout,
    Dequantization,
    LargeAttention,
    NoAttention,
    Overfitting,
    SmallCoupling,
)

CHECKS: dict[str, type[Check]] = {
    # Of the configuration.
    "warmup": Warmup,
    "ema": SlowAverage,
    "checkpoints": Checkpoints,
    "learning_rate": LearningRate,
    "centring": Centring,
    "smallest_noise": SmallestNoise,
    "num_steps": Steps,
    "corrector_on_flow": CorrectorOnFlow,
    "snr": SignalToNoise,
    "learned_variance": UnusedVariance,
    "noise_left": NoiseLeft,
    "condition_dropout": ConditionDropout,
    "coupling": SmallCoupling,
    "dequantization": Dequantization,
    "large_attention": LargeAttention,
    "no_attention": NoAttention,
    "bfloat16_on_cpu": Bfloat16OnCPU,
    # Of the data.
    "sigma_max": PriorWidth,
    "sigma_data": SigmaData,
    "state_scale": StateScale,
    "overfitting": Overfitting,
    "imbalance": Imbalance,
    "class_missing": MissingClass,
    "small_class": SmallClass,
    "blank_images": Blank,
    "grey_as_colour": GreyAsColour,
    "value_range": ValueRange,
    "flips": Flips,
    "nothing_held_out": NothingHeldOut,
    "damaged_files": Damaged,
    "transparent": Transparent,
    "sixteen_bit": SixteenBit,
    "proportions": OtherProportions,
    "enlarged": Enlarged,
    "duplicates": Duplicates,
    "near_duplicates": NearDuplicates,
    "overlap": Overlap,
    # Of a run, and of the machine.
    "trained_otherwise": TrainedOtherwise,
    "overfitted": Overfitted,
    "memory": Memory,
    "duration": Duration,
}
