"""Can the samples be read: the fraction put into the class asked for, beside its controls.

    legible = mean over samples of [ p(class asked for | sample) > 0.9 ]

A metric is worth what its classifier is worth, so the same metric is given for held-out
real digits (the ceiling), for noise, and for chimeras glued from held-out digits (the floor).
"""

import math

import numpy as np
from jaxtyping import Int, UInt8

from metrics import digits, rejects
from metrics.features import FeatureExtractor, extract
from options.errors import InvalidValue

THRESHOLD = 0.9
CLASSES = [*map(str, range(digits.NUM_DIGITS)), "reject"]  # of histograms and columns


def legibility(
    images: UInt8[np.ndarray, "n 28 28 1"],
    labels: Int[np.ndarray, "n"],
    held_out: UInt8[np.ndarray, "m 28 28 1"],
    held_out_labels: Int[np.ndarray, "m"],
    extractor: FeatureExtractor | None = None,
    seed: int = 0,
) -> dict:
    """The report on samples and on the controls.

    images, labels: samples and the class that each was asked to be; all -1 if none was asked for,
        when any digit with more than 0.9 is legible.
    held_out, held_out_labels: real digits that the judge was not trained on.
    seed: of the controls.

    Returns a JSON-able dict: `legible` with its standard error and number of samples, fraction
    rejected, histogram of the classes found (the last one is reject), accuracy and confusion
    (rows: asked, columns: found), and the same for each of `controls`.
    """
    judge = extractor or digits.extractor()
    none = np.full(len(held_out), -1)
    fakes = {
        name: judged(judge, rejects.control_set(name, held_out, held_out_labels, seed), none)
        for name in ("uniform", "gaussian", "chimera")
    }
    return {
        "extractor": judge.identity,
        "threshold": THRESHOLD,
        **judged(judge, images, labels),
        "controls": {"held_out": judged(judge, held_out, held_out_labels), **fakes},
    }


def judged(
    judge: FeatureExtractor, images: UInt8[np.ndarray, "n 28 28 1"], labels: Int[np.ndarray, "n"]
) -> dict:
    """The metrics of one set of images; labels as in `legibility`."""
    logits = extract(judge, images, batch_size=256, progress=False).logits
    if logits is None:
        raise InvalidValue("extractor", judge.name, "one that classifies digits")
    p = digits.probabilities(logits)
    found = np.argmax(p, axis=1)
    wanted = np.where(labels < 0, np.argmax(p[:, : digits.NUM_DIGITS], axis=1), labels)
    legible = p[np.arange(len(p)), wanted] > THRESHOLD
    report = {
        "samples": len(p),
        "legible": float(np.mean(legible)),
        "legible_standard_error": _binomial_error(legible),
        "rejected": float(np.mean(found == digits.REJECT)),
        "classes": CLASSES,
        "histogram": np.bincount(found, minlength=digits.NUM_DIGITS + 1).tolist(),
    }
    if np.all(labels >= 0):
        confusion = np.zeros((digits.NUM_DIGITS, digits.NUM_DIGITS + 1), int)
        np.add.at(confusion, (labels, found), 1)
        report["accuracy"] = float(np.mean(found == labels))
        report["confusion"] = confusion.tolist()
    return report


def _binomial_error(hits: np.ndarray) -> float:
    """Standard error of a fraction, which stays above zero at 0 and 1.

    Agresti and Coull 1998: two successes and two failures are added.
    """
    n = len(hits) + 4
    p = (np.sum(hits) + 2) / n
    return math.sqrt(p * (1 - p) / n)
