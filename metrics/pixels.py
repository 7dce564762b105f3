"""Figures of the pixels of images, without a network."""

import math

import numpy as np


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of arrays in units of [0, 1]."""
    return -10 * math.log10(max(float(np.mean((a - b) ** 2)), 1e-12))


def colourfulness(x: np.ndarray) -> float:
    """Mean distance of a pixel's colours from their grey, (..., 3) in [0, 1]."""
    return float(np.sqrt(np.mean((x - x.mean(-1, keepdims=True)) ** 2)))
