"""How much of each of several ways to grow trees goes into the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, softmax

from models.fraud.calibrator import evidence

EVEN = 10.0
"""What it takes to move shares from equal ones, in log-likelihood of the latest trades: all of one of four costs
10 · log 4, about 14. Equal shares are a good guess, for what the ways disagree in is mostly chance; the latest trades
have to say much against one before it is left out."""

LEAST_SHARE = 0.05
"""A way with less would cost trees in every answer and change none."""


def shares(scores: Sequence[np.ndarray], fraud: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The shares (ways,) of raw scores, each (n,), whose weighted mean foretells the trades best: greatest
    log-likelihood less :data:`EVEN` times the Kullback-Leibler divergence from equal shares. They add up to 1; the
    small ones are 0.

    fraud (n,) 0/1 of trades that no way has seen; weight (n,). A mean of log-odds is a logarithmic opinion pool (Genest
    and Zidek 1986); its log-likelihood is concave in the shares.
    """
    each = np.stack(scores, axis=1)
    counts = evidence(weight)

    def loss(exponents: np.ndarray) -> tuple[float, np.ndarray]:
        share = softmax(exponents)
        score = each @ share
        told = np.log(np.maximum(share, np.finfo(float).tiny) * len(share))
        slope = each.T @ (counts * (expit(score) - fraud)) + EVEN * (told + 1)
        value = counts @ (np.logaddexp(0.0, score) - fraud * score) + EVEN * (share @ told)
        return float(value), share * (slope - share @ slope)

    found = softmax(minimize(loss, x0=np.zeros(len(scores)), jac=True, method="L-BFGS-B").x)
    kept = np.where(found < LEAST_SHARE, 0.0, found)
    return kept / kept.sum()
