"""Draws from the posterior of a factorisation machine, column by column.

With all other columns fixed the score of an event is linear in one column's rows: a bias, and the
product of its vector with the sum of all others'. For a categorical column the rows are independent
given the rest, each a small Bayesian linear regression of width D + 1, drawn for all rows at once.
A set's rows are not: they are drawn together, by conjugate gradients on a perturbed system. Priors
of each column, and the noise, are drawn anew in each sweep (Rendle, 2013, "Scaling factorization
machines to relational data"; Salakhutdinov and Mnih, 2008).

Dimension letters: N events, R rows of a column, D factors, W = D + 1 numbers of a row (the bias
first), L events of the longest row of a block, K levels.
"""

from __future__ import annotations

from tabcf.training.gibbs.priors import Priors
from tabcf.training.gibbs.sweeps import Draw, GibbsEngine, draw_posterior, solve_als

__all__ = ["Draw", "GibbsEngine", "Priors", "draw_posterior", "solve_als"]
