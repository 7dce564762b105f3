"""The baseline, one quantity a process: `diffusers`' UNet2DModel in its NCSN++ layout.

Its pyramids are the 256-pixel models' (images added on the way in and out) where ours is the
CIFAR-10 model's; widths, blocks, attention, FIR filters, embedding and dropout are the same.
Nothing of this project but the plain numbers of `networks` is imported: run it by a Python that has
PyTorch. The state is kept channels last if asked for. What is measured computes on the device of
`x_0`, in whatever precision it is called in.
"""

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import diffusers
import torch
from diffusers import UNet2DModel

from benchmarks.networks import NETWORKS, QUANTITIES, Network
from benchmarks.worker import serve

SIGMA_MIN, SIGMA_MAX, LEVELS, SNR = 0.01, 50.0, 1000, 0.16
DECAY = 0.999


def build(n: Network) -> UNet2DModel:
    """The network; it divides its output by sigma itself."""
    kinds = ["AttnSkip" if i == n.attention_level else "Skip" for i in range(len(n.ch_mult))]
    return UNet2DModel(
        sample_size=n.size,
        center_input_sample=True,
        time_embedding_type="fourier",
        block_out_channels=[n.nf * m for m in n.ch_mult],
        layers_per_block=n.num_res_blocks,
        down_block_types=[f"{kind}DownBlock2D" for kind in kinds],
        up_block_types=[f"{kind}UpBlock2D" for kind in reversed(kinds)],
        mid_block_scale_factor=math.sqrt(2),
        attention_head_dim=None,
        norm_num_groups=None,
        norm_eps=1e-6,
        dropout=n.dropout,
    )


def without_gradients(network: Any) -> Any:
    """The context in which a network is only evaluated.

    `inference_mode` is the faster one, but what `torch.compile` guards on, the constants of
    diffusers' blocks among it, does not bear it.
    """
    compiled = isinstance(network, torch._dynamo.OptimizedModule)
    return torch.no_grad() if compiled else torch.inference_mode()


class Training:
    """Loss, gradient, clipping, Adam and an average of the parameters, as our step does."""

    def __init__(self, network: Any, n: Network, x_0: torch.Tensor):
        self.network, self.x_0 = network.train(), x_0
        self.parameters = list(network.parameters())
        self.average = [p.detach().clone() for p in self.parameters]
        # On a GPU the fused one is the fastest that PyTorch has.
        self.optimizer = torch.optim.Adam(self.parameters, lr=2e-4, fused=x_0.is_cuda)

    def __call__(self) -> None:
        t = torch.rand(len(self.x_0), device=self.x_0.device)
        sigma = SIGMA_MIN * (SIGMA_MAX / SIGMA_MIN) ** t
        eps = torch.randn_like(self.x_0)
        score = self.network(self.x_0 + expand(sigma) * eps, sigma).sample
        square = (expand(sigma) * score + eps) ** 2
        loss = 0.5 * square.flatten(1).sum(1).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - DECAY)


class PredictorCorrector:
    """One step of Langevin dynamics, then one of reverse diffusion (Song et al. 2021, app. G)."""

    def __init__(self, network: Any, n: Network, x_0: torch.Tensor):
        self.network, self.x = network.eval(), SIGMA_MAX * torch.randn_like(x_0)
        self.sigma = torch.full((len(x_0),), 0.5 * SIGMA_MAX, device=x_0.device)
        self.sigma_next = self.sigma * (SIGMA_MIN / SIGMA_MAX) ** (1 / LEVELS)

    def __call__(self) -> None:
        with without_gradients(self.network):
            self.step()

    def step(self) -> None:
        x, noise = self.x, torch.randn_like(self.x)
        score = self.network(x, self.sigma).sample
        norms = [v.flatten(1).norm(dim=1) for v in (noise, score)]
        step = expand(2 * (SNR * norms[0] / norms[1]) ** 2)
        x = x + step * score + (2 * step).sqrt() * noise
        variance = expand(self.sigma**2 - self.sigma_next**2)
        score = self.network(x, self.sigma).sample
        x + variance * score + variance.sqrt() * torch.randn_like(x)


class Forward:
    def __init__(self, network: Any, n: Network, x_0: torch.Tensor):
        self.network, self.x = network.eval(), x_0
        self.sigma = torch.full((len(x_0),), 0.7, device=x_0.device)

    def __call__(self) -> None:
        with without_gradients(self.network):
            self.network(self.x, self.sigma)


class Flow:
    """Drift and divergence of the probability flow, the reference's way: in two passes.

    VE's velocity is -g^2 score / 2. One run is an evaluation of both.
    """

    T_MIN = 1e-5

    def __init__(self, network: Any, n: Network, x_0: torch.Tensor):
        self.network, self.x = network.eval(), x_0
        self.t = torch.full((len(x_0),), 0.5, device=x_0.device)
        self.probes = torch.randint(0, 2, x_0.shape, device=x_0.device).float() * 2 - 1

    def __call__(self) -> None:
        self.drift(self.x, self.t)
        self.divergence(self.x, self.t)

    def velocity(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        sigma = SIGMA_MIN * (SIGMA_MAX / SIGMA_MIN) ** t
        half = math.log(SIGMA_MAX / SIGMA_MIN) * sigma**2
        return -expand(half) * self.network(x, sigma).sample

    @torch.no_grad()
    def drift(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.velocity(x, t)

    def divergence(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        state = x.detach().requires_grad_(True)
        total = torch.sum(self.velocity(state, t) * self.probes)
        (gradient,) = torch.autograd.grad(total, state)
        return torch.sum(gradient * self.probes, dim=(1, 2, 3))


class Sampling:
    """The loop of diffusers' pipelines without their progress bar."""

    def __init__(
        self,
        network: Any,
        n: Network,
        x_0: torch.Tensor,
        scheduler: str = "DPMSolverMultistepScheduler",
        steps: int = 25,
    ):
        self.network, self.like, self.steps = network.eval(), x_0, steps
        # The network's Fourier features take log t, so that t = 0 must not be among the timesteps.
        self.scheduler = getattr(diffusers, scheduler)(steps_offset=1)

    def __call__(self) -> None:
        with without_gradients(self.network):
            x = torch.randn_like(self.like)
            self.scheduler.set_timesteps(self.steps, device=x.device)
            for t in self.scheduler.timesteps:
                x = self.scheduler.step(self.network(x, t).sample, t, x).prev_sample


def expand(v: torch.Tensor) -> torch.Tensor:
    return v[:, None, None, None]


PREPARE: dict[str, Callable[..., Callable[[], None]]] = {
    "forward": Forward,
    "train": Training,
    "pc": PredictorCorrector,
}


def subject(
    n: Network, batch: int, channels_last: bool = False, device: str = "cpu"
) -> tuple[UNet2DModel, torch.Tensor]:
    """A new network and a batch of data for it."""
    network = build(n).to(device)
    x_0 = torch.rand(batch, 3, n.size, n.size, device=device)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        x_0 = x_0.contiguous(memory_format=torch.channels_last)
    return network, x_0


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="reduced")
    parser.add_argument("--quantity", choices=QUANTITIES, default="train")
    parser.add_argument("--channels_last", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    args = parser.parse_args()
    started = time.perf_counter()
    torch.manual_seed(0)
    n = NETWORKS[args.network]
    network, x_0 = subject(n, n.batch, args.channels_last)
    count = sum(p.numel() for p in network.parameters())
    measured = PREPARE[args.quantity](torch.compile(network) if args.compile else network, n, x_0)
    measured()
    facts = {
        "parameters": count,
        "first_run_s": time.perf_counter() - started,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    serve(measured, facts)


if __name__ == "__main__":
    run()
