"""What samples are worth: features, FID, KID, Inception Score, legibility, nearest neighbours.

Nothing here knows of processes, solvers or configs: images go in as uint8, figures come out.
"""
