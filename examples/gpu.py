"""
A penalised fit on a graphics card
===================================

A Poisson GLM whose rows stay on a card: features, claims, exposure and two protected attributes are tensors there, and
so are the coefficients and the predictions. Where there is no card the same lines run on the processor.

Run it with ``pip install 'fairdcov[neural]'``. It takes a few seconds; ``python examples/gpu.py 10000000`` has more
rows.
"""

# %%
# scikit-learn leaves tensors where they are if it is told to, and SciPy has to know before it is imported.
import os
import sys
import time

os.environ["SCIPY_ARRAY_API"] = "1"

import sklearn
import torch

from fairdcov import DCovPoissonRegressor

sklearn.set_config(array_api_dispatch=True)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
n = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 100_000

# %%
# A made-up book, drawn on the device. What drives claims goes along with gender and region.
generator = torch.Generator(device=device).manual_seed(0)
X = torch.randn((n, 20), generator=generator, device=device)
gender = torch.randint(0, 2, (n,), generator=generator, device=device)
region = torch.randint(0, 10, (n,), generator=generator, device=device)
X[:, 0] += gender
X[:, 1] += 0.2 * region
exposure = 0.1 + 0.9 * torch.rand(n, generator=generator, device=device)
rate = torch.exp(0.3 * X[:, 0] + 0.2 * X[:, 1] - 3.0)
frequency = torch.poisson(rate * exposure, generator=generator) / exposure

# %%
# The fit: nothing of the length of the book leaves the device.
data = {"sample_weight": exposure, "sensitive_features": torch.stack([gender, region], 1)}
for strength in (0.0, 10.0):
    start = time.perf_counter()
    model = DCovPoissonRegressor(strength=strength, alpha=1e-4).fit(X, frequency, **data)
    seconds = time.perf_counter() - start
    predicted = model.predict(X)
    means = [float((predicted * exposure)[gender == g].sum() / exposure[gender == g].sum()) for g in (0, 1)]
    print(
        f"strength {strength:4.1f}: {seconds:.2f} s on {model.coef_.device}, loss {model.loss_value_:.5f}, "
        f"penalty {model.penalty_value_:.6f}, mean frequency by gender {means[0]:.4f} and {means[1]:.4f}"
    )

# %%
# For tables of relativities and the like the coefficients go to the host.
model.coef_ = model.coef_.cpu().numpy()
