"""The networks that are measured, and what the original's PyTorch port was recorded to need.

Read by the JAX side and by the PyTorch side: it imports nothing.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Network:
    """An NCSN++ for square colour images with attention at one level, FIR filters and dropout.

    size: of the images. attention_level: how many times they are halved where there is attention.
    recorded: of the original's PyTorch port on another day, on a machine of this kind (median ms;
    memory: peak MB of training). recorded_diffusers: likewise of the baseline.
    aims: how many times faster than the port we want to be; for memory, how many times smaller.
    """

    nf: int
    num_res_blocks: int
    batch: int
    ch_mult: tuple[int, ...] = (1, 2, 2, 2)
    attention_level: int = 1
    dropout: float = 0.1
    size: int = 32
    recorded: dict[str, float] = field(default_factory=dict)
    recorded_diffusers: dict[str, float] = field(default_factory=dict)
    aims: dict[str, float] = field(default_factory=dict)


NETWORKS = {
    "reduced": Network(
        nf=32,
        num_res_blocks=1,
        batch=8,
        recorded={"forward": 55, "train": 270, "pc": 117, "memory": 630},
        recorded_diffusers={"forward": 54, "train": 250},
        aims={"train": 1.5, "pc": 1.5, "memory": 1.0},
    ),
    "full": Network(
        nf=128,
        num_res_blocks=4,
        batch=4,
        recorded={"forward": 308, "train": 1310, "pc": 615, "memory": 2090},
        recorded_diffusers={"forward": 312, "train": 1190},
        aims={"train": 1.15, "pc": 1.15, "memory": 1.0},
    ),
    # Compared with nothing: it exercises the programs in seconds.
    "toy": Network(
        nf=32, num_res_blocks=1, batch=2, ch_mult=(1,), attention_level=0, dropout=0.0, size=8
    ),
}
QUANTITIES = {
    "forward": "forward",
    "train": "training step",
    "pc": "PC step (2 evaluations)",
}
