"""How much of each of several ways to grow trees goes into the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, softmax

from models.fraud.calibrator import evidence

CHARGE = 15.0
"""What it takes to move shares from the guessed ones, in log-likelihood of the latest trades: all of a way that was
guessed to have half costs 15 · log 2, about 10. What the ways disagree in is mostly chance; the latest trades have to
say much against one before it is left out."""

LEAST_SHARE = 0.05
"""A way with less would cost trees in every answer and change none."""


def shares(
    scores: Sequence[np.ndarray], fraud: np.ndarray, weight: np.ndarray, *, guess: Sequence[float]
) -> np.ndarray:
    """The shares (ways,) of raw scores, each (n,), whose weighted mean foretells the trades best: greatest
    log-likelihood less :data:`CHARGE` times the Kullback-Leibler divergence from the guessed shares, which are in
    proportion to ``guess`` (ways,). They add up to 1; the small ones are 0.

    fraud (n,) 0/1 of trades that no way has seen; weight (n,). A mean of log-odds is a logarithmic opinion pool (Genest
    and Zidek 1986); its log-likelihood is concave in the shares.
    """
    each = np.stack(scores, axis=1)
    counts = evidence(weight)
    guessed = np.log(np.asarray(guess) / np.sum(guess))

    def loss(exponents: np.ndarray) -> tuple[float, np.ndarray]:
        share = softmax(exponents)
        score = each @ share
        told = np.log(np.maximum(share, np.finfo(float).tiny)) - guessed
        slope = each.T @ (counts * (expit(score) - fraud)) + CHARGE * (told + 1)
        value = counts @ (np.logaddexp(0.0, score) - fraud * score) + CHARGE * (share @ told)
        return float(value), share * (slope - share @ slope)

    found = softmax(minimize(loss, x0=guessed, jac=True, method="L-BFGS-B").x)
    kept = np.where(found < LEAST_SHARE, 0.0, found)
    return kept / kept.sum()
