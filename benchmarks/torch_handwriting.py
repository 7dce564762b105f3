"""The published sampler of handwriting (Luhman & Luhman 2020) as eager PyTorch.

Their network as their TensorFlow code has it, and its loop: 60 steps of eq. 12 in Python, one line
at a time, text and style encoded anew in every step, without padding. Nothing of this project but
the protocol of `worker` is imported: run it by a Python that has PyTorch.
"""

import argparse
import math
import time

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, silu

from benchmarks.worker import serve

STEPS, TOKENS, PARAMETERS = 60, 73, 10_028_451
LEVEL = 32  # features of the noise level


class FeedForward(nn.Sequential):
    """swish, dense, swish, dense."""

    def __init__(self, width: int, hidden: int, out: int):
        super().__init__(nn.SiLU(), nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, out))


class Affine(nn.Module):
    """x a + b, both linear in the features of the noise level."""

    def __init__(self, width: int):
        super().__init__()
        self.scale, self.shift = nn.Linear(LEVEL, width), nn.Linear(LEVEL, width)
        nn.init.ones_(self.scale.bias)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return x * self.scale(level) + self.shift(level)


class Norm(nn.Module):
    """A norm of each position without parameters, then `Affine`."""

    def __init__(self, width: int):
        super().__init__()
        self.affine = Affine(width)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return self.affine(normalised(x), level)


def normalised(x: Tensor) -> Tensor:
    return layer_norm(x, x.shape[-1:], eps=1e-6)


class Convolution(nn.Conv1d):
    """Of width 3 over (b, length, channels)."""

    def __init__(self, width: int, out: int):
        super().__init__(width, out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class ConvolutionBlock(nn.Module):
    def __init__(self, width: int, out: int):
        super().__init__()
        self.skip = Convolution(width, out)
        self.first, self.second = Convolution(width, out // 2), Convolution(out // 2, out)
        self.dense = nn.Linear(out, out)
        self.affines = nn.ModuleList([Affine(out // 2), Affine(out), Affine(out)])

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        y = self.affines[0](self.first(silu(x)), level)
        y = self.affines[1](self.second(silu(y)), level)
        return self.affines[2](self.dense(silu(y)), level) + self.skip(x)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, of: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (
            nn.Linear(w, width) for w in (width, of, of, width)
        )

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, q), (self.key, k), (self.value, v))
        )
        logits = q @ k.transpose(-1, -2) / math.sqrt(k.shape[-1])
        logits = logits if mask is None else logits - 1e12 * mask
        return self.out((torch.softmax(logits, -1) @ v).transpose(1, 2).flatten(2))


def positions(count: int, width: int, factor: float = 1.0) -> Tensor:
    """Sines in the even features, cosines in the odd ones."""
    i = torch.arange(width)
    angles = factor * torch.arange(count)[:, None] / 10000 ** (2 * (i // 2) / width)
    return torch.where(i % 2 == 0, torch.sin(angles), torch.cos(angles))


class AttentionBlock(nn.Module):
    def __init__(self, width: int, heads: int, of_text: int, factor: float = 1.0):
        super().__init__()
        self.text = nn.Linear(of_text, width)
        self.cross, self.own = Attention(width, heads, width), Attention(width, heads, width)
        self.feed = FeedForward(width, 2 * width, width)
        self.norms = nn.ModuleList([Norm(width) for _ in range(4)])
        self.register_buffer("text_places", positions(2000, width), persistent=False)
        self.register_buffer("places", positions(2000, width, factor), persistent=False)

    def forward(self, x: Tensor, text: Tensor, level: Tensor, mask: Tensor) -> Tensor:
        text = self.norms[0](self.text(silu(text)), level)
        at = self.places[: x.shape[1]]
        y = self.cross(x + at, text + self.text_places[: text.shape[1]], text, mask)
        y = self.norms[1](y, level) + x
        z = self.norms[2](y + self.own(y + at, y + at, y), level)
        return self.norms[3](self.feed(z) + z, level)


class TextInStyle(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.embed = nn.Embedding(TOKENS, width)
        self.style = FeedForward(256, 2 * width, width)
        self.attend, self.feed = Attention(width, 8, width), FeedForward(width, 2 * width, width)
        self.norms = nn.ModuleList([Norm(width) for _ in range(4)])

    def forward(self, text: Tensor, style: Tensor, level: Tensor) -> Tensor:
        style = self.norms[0](self.style(style.reshape(len(style), -1, 256)), level)
        x = self.norms[1](self.embed(text), level)
        x = self.norms[2](x + self.attend(x, style, style), level)
        return self.norms[3](self.feed(x), level)


class Writer(nn.Module):
    """Movements x (b, length, 2), tokens of a text, alpha (b, 1, 1) and style (b, 14, 1280) to the
    noise and the probability that the pen is up."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = 128, 192, 256, 384
        self.level, self.encoder = FeedForward(1, 2048, LEVEL), TextInStyle(d)
        self.start = nn.Linear(2, a)
        self.down = nn.ModuleList([ConvolutionBlock(*w) for w in ((a, a), (a, b), (b, c))])
        self.attend = nn.ModuleList([AttentionBlock(b, 3, d, 4), AttentionBlock(c, 4, d, 2)])
        self.middle = nn.Linear(c, d)
        self.deep = nn.ModuleList([AttentionBlock(d, 6, d) for _ in range(2)])
        self.skips = nn.ModuleList([Convolution(*w) for w in ((c, d), (b, c), (a, b))])
        self.up = nn.ModuleList([ConvolutionBlock(*w) for w in ((d, c), (c, b), (b, a))])
        self.noise, self.pen = nn.Linear(a, 2), nn.Linear(a, 1)

    def forward(
        self, x: Tensor, text: Tensor, alpha: Tensor, style: Tensor
    ) -> tuple[Tensor, Tensor]:
        level, mask = self.level(alpha), (text == 0).float()[:, None, None]
        text = self.encoder(text, style, level)
        h1 = self.down[0](self.start(x), level)
        h2 = self.attend[0](self.down[1](halved(h1), level), text, level, mask)
        h3 = self.attend[1](self.down[2](halved(h2), level), text, level, mask)
        h = self.middle(halved(h3))
        for block in self.deep:
            h = block(h, text, level, mask)
        for skip, kept, block in zip(self.skips, (h3, h2, h1), self.up, strict=True):
            h = block(h.repeat_interleave(2, 1) + skip(kept), level)
        return self.noise(h), torch.sigmoid(self.pen(h))


def halved(x: Tensor) -> Tensor:
    """Means over pairs of positions."""
    return x.unflatten(1, (-1, 2)).mean(2)


@torch.inference_mode()
def sample(network: Writer, text: Tensor, style: Tensor, points: int, steps: int = STEPS) -> Tensor:
    """The published loop, eq. 12: rows (dx, dy, probability that the pen is up)."""
    beta = 0.02 + torch.exp(torch.linspace(math.log(1e-5), math.log(0.4), STEPS))[:steps]
    alpha_bar = torch.cumprod(1 - beta, 0)
    x = torch.randn(len(text), points, 2)
    for i in reversed(range(steps)):
        noise, pen = network(x, text, alpha_bar[i].sqrt().expand(len(x), 1, 1), style)
        x = (x - (1 - alpha_bar[i]).sqrt() * noise) / (1 - beta[i]).sqrt()
        level = (1 - alpha_bar[i - 1]).sqrt() if i > 1 else 0.0
        x = x + level * torch.randn_like(x)
    return torch.cat([x, pen], -1)


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--points", type=int, default=384, help="of a line, a multiple of 8")
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    started = time.perf_counter()
    torch.manual_seed(0)
    network = Writer().eval()
    count = sum(p.numel() for p in network.parameters())
    assert count == PARAMETERS, count
    # 16 points a character, and two tokens that end the text, as the published tokenizer has it.
    text = torch.randint(3, TOKENS, (1, args.points // 16 + 2))
    style = torch.randn(1, 14, 1280)

    def line() -> None:
        made = sample(network, text, style, args.points, args.steps)
        assert made.shape == (1, args.points, 3) and bool(made.isfinite().all())

    line()
    facts = {"parameters": count, "first_run_s": time.perf_counter() - started}
    serve(line, facts | {"torch": torch.__version__, "threads": args.threads})


if __name__ == "__main__":
    run()
