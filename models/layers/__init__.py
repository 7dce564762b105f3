"""Layers shared by the networks, one concept a file.

Activations are NHWC: (batch, height, width, channels).
"""
