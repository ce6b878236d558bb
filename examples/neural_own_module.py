"""
The penalty in a PyTorch training loop of one's own
====================================================

A claim frequency network with an embedding of the region, trained by hand. Three lines add the dependence penalty: make
the loss, bind it to the protected attributes, add it to the objective. Bound to the full sample it is exact, with its
gradient, at every step; the second part of this file does the same on mini-batches.

Run it with ``pip install 'fairdcov[neural]'``. It takes a few seconds.
"""

# %%
import numpy as np
import pandas as pd
import torch

from fairdcov import CCDCovPenalty
from fairdcov.datasets import make_motor_portfolio
from fairdcov.neural import DependenceLoss

book = make_motor_portfolio(8_000, random_state=0)
numbers = book.data.select_dtypes("number")
X = torch.tensor(((numbers - numbers.mean()) / numbers.std()).to_numpy(), dtype=torch.float32)
text = book.data.select_dtypes(exclude="number")
levels = torch.tensor(np.column_stack([pd.factorize(text[name])[0] for name in text]))
claims = torch.tensor(np.asarray(book.claims), dtype=torch.float32)
exposure = torch.tensor(np.asarray(book.exposure), dtype=torch.float32)


# %%
# Any module will do: what counts is that it returns predictions.


class Tariff(torch.nn.Module):
    """Expected claims per unit of exposure: embeddings of the levels and numbers, through two layers."""

    def __init__(self):
        super().__init__()
        sizes = (levels.max(dim=0).values + 1).tolist()
        self.embeddings = torch.nn.ModuleList(torch.nn.Embedding(size, 3) for size in sizes)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(X.shape[1] + 3 * len(sizes), 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)
        )

    def forward(self, numbers, levels):
        """Rates (n, 1)."""
        embedded = [embedding(column) for embedding, column in zip(self.embeddings, levels.T, strict=True)]
        return torch.exp(self.layers(torch.cat([numbers, *embedded], dim=1)))


def poisson_loss(rate, claims, exposure):
    """Mean Poisson loss, weighted by exposure."""
    return (exposure * rate - torch.xlogy(claims, rate)).sum() / exposure.sum()


def report(name, model, dependence):
    """Print what the model is worth."""
    with torch.no_grad():
        rate = model(X, levels)[:, 0]
        loss, value = poisson_loss(rate, claims, exposure).item(), dependence(rate).item()
        print(f"{name}: loss {loss:.4f}, dependence {value:.5f}, total {(rate * exposure).sum() / claims.sum():.3f}")
    return loss, value


# %%
# The full sample
# ---------------

fairness = DependenceLoss("ccdcov")  # 1
dependence = fairness.bind(book.sensitive_features, exposure)  # 2


def train(strength, steps=150):
    """Full-batch training by Adam."""
    torch.manual_seed(0)
    model = Tariff()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        rate = model(X, levels)[:, 0]
        objective = poisson_loss(rate, claims, exposure)
        objective = objective + strength * dependence(rate)  # 3
        objective.backward()
        optimiser.step()
    return model


unaware_loss, unaware = report("no penalty", train(0.0), dependence)
penalised_loss, penalised = report("full sample, strength 10", train(10.0), dependence)

# %%
# Mini-batches
# ------------
# The attributes are encoded once, so that each batch measures distances as the whole sample does. The unbiased
# U-statistic takes no weights; 512 rows are few, and the result is noisier than that of the full sample.

batch_fairness = DependenceLoss(CCDCovPenalty(statistic="u", normalize=False))
encoded = batch_fairness.encode(book.sensitive_features)

torch.manual_seed(0)
model = Tariff()
optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(10):
    for rows in torch.randperm(len(claims)).split(512):
        optimiser.zero_grad()
        rate = model(X[rows], levels[rows])[:, 0]
        objective = poisson_loss(rate, claims[rows], exposure[rows]) + 40.0 * batch_fairness(rate, encoded[rows])
        objective.backward()
        optimiser.step()

_, on_batches = report("mini-batches, raw strength 40", model, dependence)

# %%
# What was to be shown: the dependence falls, and the loss pays for it.

if not (penalised < 0.3 * unaware and on_batches < unaware and penalised_loss > unaware_loss):
    raise SystemExit("the penalty did not do what this example says it does")
