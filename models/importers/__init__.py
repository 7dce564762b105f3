"""From the parameter trees of other implementations to ours, and back: one layout a file.

Each knows names, shapes and orders of axes; files are read by `tools`.
"""
