"""How far a large strength goes: the divergence of boosted models on training and on new rows, against its null level.

    FAIRDCOV_DATA=folder python benchmarks/how_far.py [--books pg15training steep] [--seeds 0 1 2 3 4] [--processes 8]

Rates, weighted by exposure, region x gender, 75 % of the rows to fit, without the protected attributes among the
features and with them. *Trees alone* is the same fit at the largest strength that trees are grown at, where their
leaves are not moved; *watched* is one that has the new rows as its ``eval_set``. All books but pg15training are drawn
here: *steep*, little is explained, nearly all of it by proxies, skewed exposures, rare groups; *gentle*, a tariff of
which proxies are a part; *small*, 6,000 rows to fit; *blind*, nothing tells the groups. Their new rows are drawn six
times, and measures are means of six. *Silent* are fits whose divergence on new rows is above its 95 % level and that
have not warned; *foreseen* is what a fit expects of new rows, over its 95 % level.
"""

import argparse
import time
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd
from candidates import frame_features
from comparison import Rows, load_policies, print_table
from sklearn.base import clone
from sklearn.metrics import mean_poisson_deviance
from sklearn.model_selection import train_test_split

from fairdcov import DCovLGBMRegressor, DCovXGBRegressor
from fairdcov.exceptions import StrengthWarning
from fairdcov.metrics import js_divergence, null_distribution

MODELS = {
    "LightGBM": DCovLGBMRegressor(
        objective="poisson", n_estimators=200, learning_rate=0.05, num_leaves=16, min_child_samples=50
    ),
    "XGBoost": DCovXGBRegressor(objective="poisson", learning_rate=0.1, max_depth=4),
}
# So many that the 95 % level is one: the largest but five or so of a hundred.
N_PERMUTATIONS = 99
# New rows of drawn books: so many times, each with so many permutations.
N_DRAWN, N_FEW = 6, 19


def steep_book(n_rows=100_000, seed=0):
    """Rows of a drawn book, whose proxies all but give away ten groups."""
    rng = np.random.default_rng(seed)
    region = rng.choice(5, n_rows, p=[0.4, 0.3, 0.2, 0.08, 0.02])
    male = rng.random(n_rows) < 0.6
    exposure = np.where(rng.random(n_rows) < 0.35, 1.0, rng.beta(0.7, 1.2, n_rows)).clip(0.005, 1)
    features = pd.DataFrame(
        {
            "density": np.exp(rng.normal(0, 0.5, n_rows) + 0.8 * region),
            "power": np.round(rng.gamma(5, 0.9, n_rows) + 2 * male).clip(1, 15),
            "age": rng.normal(44 + 4 * male * (region > 1), 14).clip(18, 90),
            "bonus": np.round(50 + rng.exponential(14, n_rows) * (rng.random(n_rows) < 0.5) + 6 * male),
            "vehicle_age": rng.gamma(2, 4, n_rows).round().clip(0, 30),
            "area": pd.Categorical(np.where(rng.random(n_rows) < 0.75, region, rng.integers(0, 5, n_rows)).astype(str)),
            "fuel": pd.Categorical(np.where(rng.random(n_rows) < 0.3 + 0.3 * male, "diesel", "petrol")),
        }
    )
    young = ((features["age"] - 45) / 25) ** 2 * (features["age"] < 45)
    raw = -2.5 + 0.15 * region + 0.25 * male + 0.1 * male * (region == 4) + 0.3 * young
    raw += 0.004 * (features["bonus"] - 50) - 0.008 * features["vehicle_age"]
    people = pd.DataFrame({"region": np.array(list("ABCDE"))[region], "gender": np.where(male, "m", "f")})
    return Rows(features, people, rng.poisson(np.exp(raw.to_numpy()) * exposure).astype(float), exposure)


def blind_book(n_rows=20_000, seed=0):
    """Rows of a drawn book whose features say nothing of the groups, of which one claims more than the others."""
    rng = np.random.default_rng(seed)
    region, exposure = rng.choice(4, n_rows, p=[0.4, 0.3, 0.2, 0.1]), rng.uniform(0.1, 1.0, n_rows)
    X = pd.DataFrame(rng.normal(size=(n_rows, 6)), columns=[f"x{k}" for k in range(6)])
    raw = -2 + 0.3 * X["x0"] + 0.2 * X["x1"] * X["x2"] + 0.4 * (region == 3)
    people = pd.DataFrame({"region": np.array(list("ABCD"))[region], "gender": rng.choice(["f", "m"], n_rows)})
    return Rows(X, people, rng.poisson(np.exp(raw.to_numpy()) * exposure).astype(float), exposure)


def gentle_book(n_rows=60_000, seed=0):
    """Rows of a drawn book that is explained in the main by what does not tell the groups."""
    rng = np.random.default_rng(seed)
    region, male = rng.choice(3, n_rows, p=[0.5, 0.3, 0.2]), rng.random(n_rows) < 0.5
    exposure = rng.uniform(0.2, 1.0, n_rows)
    X = pd.DataFrame(
        {
            "age": rng.normal(45, 14, n_rows).clip(18, 90),
            "power": rng.gamma(5, 0.9, n_rows) + male,
            "density": rng.normal(0, 1, n_rows) + 0.4 * region,
            "bonus": 50 + rng.exponential(14, n_rows),
            "use": pd.Categorical(rng.choice(list("abcd"), n_rows)),
        }
    )
    raw = -2 + 0.9 * ((X["age"] - 45) / 25) ** 2 * (X["age"] < 45) + 0.02 * (X["bonus"] - 50) + 0.05 * X["power"]
    raw += 0.1 * X["density"] + 0.15 * region + 0.2 * male
    people = pd.DataFrame({"region": np.array(list("ABC"))[region], "gender": np.where(male, "m", "f")})
    return Rows(X, people, rng.poisson(np.exp(raw.to_numpy()) * exposure).astype(float), exposure)


def small_book(n_rows=8_000, seed=0):
    """Rows of a drawn book, few, with two strong proxies."""
    rng = np.random.default_rng(seed)
    region, male = rng.choice(4, n_rows, p=[0.4, 0.3, 0.2, 0.1]), rng.random(n_rows) < 0.6
    exposure = rng.uniform(0.1, 1.0, n_rows)
    X = pd.DataFrame(rng.normal(size=(n_rows, 6)), columns=[f"x{k}" for k in range(6)])
    X["density"], X["power"] = rng.normal(0, 0.7, n_rows) + region, rng.poisson(3 + 2 * male)
    raw = -1 + 0.3 * X["x0"] + 0.3 * X["x1"] * X["x2"] + 0.25 * region + 0.3 * male
    people = pd.DataFrame({"region": np.array(list("ABCD"))[region], "gender": np.where(male, "m", "f")})
    return Rows(X, people, rng.poisson(np.exp(raw.to_numpy()) * exposure).astype(float), exposure)


DRAWN = {"steep": steep_book, "gentle": gentle_book, "small": small_book, "blind": blind_book}


def parts(name, seed, n_rows):
    """Rows to fit and a list of new ones."""
    # One portfolio of 100,000, which seeds divide; of the smaller ones another for each seed.
    size = {} if n_rows is None else {"n_rows": n_rows}
    if name == "pg15training":
        book = load_policies(n_rows)
    else:
        book = DRAWN[name](**size, seed=0 if name == "steep" else seed)
    train, new = train_test_split(np.arange(len(book)), test_size=0.25, random_state=seed)
    if name == "pg15training":
        return book.part(train), [book.part(new)]
    drawn = [DRAWN[name](len(new), seed=1000 * (seed + 1) + number) for number in range(N_DRAWN - 1)]
    return book.part(train), [book.part(new), *drawn]


def measure(model, features, rows, n_permutations=N_PERMUTATIONS):
    """Divergence, its null mean and 95 % level, and the deviance with the constant's."""
    prediction = model.predict(features)
    null = null_distribution(
        js_divergence,
        None,
        prediction,
        sensitive_features=rows.protected,
        sample_weight=rows.exposure,
        n_permutations=n_permutations,
        random_state=0,
    )
    constant = np.full(len(rows), rows.claims.sum() / rows.exposure.sum())
    deviance, highest = (
        mean_poisson_deviance(rows.target, rate, sample_weight=rows.exposure) for rate in (prediction, constant)
    )
    return np.array([null.observed, null.mean, null.quantile(0.95), deviance, highest])


def fitted(model, features, rows, **evaluation):
    """The fitted model, seconds, and the strength warnings of the fit."""
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", StrengthWarning)
        data = {"sample_weight": rows.exposure, "sensitive_features": rows.protected}
        model.fit(features, rows.target, **data, **evaluation)
    said = [str(warning.message) for warning in caught if warning.category is StrengthWarning]
    return model, time.perf_counter() - start, said


def largest_of_trees(model, features, rows):
    """Ten times what an unpenalised model explains of its own predictions, over its penalty."""
    prediction = model.predict(features)
    constant = np.full(len(rows), np.average(prediction, weights=rows.exposure))
    return 5 * mean_poisson_deviance(prediction, constant, sample_weight=rows.exposure) / model.penalty_value_


def one_fit(name, label, aware, seed, form, n_rows, strength):
    """Measures on training and on new rows, and what the fit said."""
    train, new = parts(name, seed, n_rows)
    features = frame_features(train, aware)
    learner = clone(MODELS[label]).set_params(n_jobs=1, random_state=seed)
    given = {}
    if form == "trees alone":
        start = clone(learner).set_params(strength=1e-9, n_penalised_rounds=1, validation_fraction=None)
        strength = 0.95 * largest_of_trees(fitted(start, features, train)[0], features, train)
    elif form == "watched":
        given = {
            "eval_set": (frame_features(new[0], aware), new[0].target),
            "eval_sample_weight": new[0].exposure,
            "eval_sensitive_features": new[0].protected,
        }
    model, seconds, said = fitted(learner.set_params(strength=strength), features, train, **given)
    n_permutations = N_PERMUTATIONS if len(new) == 1 else N_FEW
    of_new_rows = [measure(model, frame_features(rows, aware), rows, n_permutations) for rows in new]
    spoken = any("new ones" in text or "eval_set" in text for text in said)
    foreseen = model.unseen_divergence_ / model.unseen_divergence_level_
    above = np.mean([found[0] > found[2] for found in of_new_rows])
    remarks = [model.effective_strength_, bool(said), spoken, seconds, foreseen, above]
    return np.concatenate([measure(model, features, train), np.mean(of_new_rows, axis=0), remarks])


def line(title, found):
    """A row of the table: means over the seeds, ranges in brackets."""
    train, new, remarks = np.split(found, [5, 10], axis=1)
    ratios, new_ratios = train[:, 0] / train[:, 1], new[:, 0] / new[:, 1]
    above, said = new[:, 0] > new[:, 2], remarks[:, 1] > 0
    return [
        title,
        f"{ratios.mean():.2f} ({ratios.min():.2f}-{ratios.max():.2f})",
        f"{train[:, 3].mean():.4f} / {train[:, 4].mean():.4f}",
        f"{new_ratios.mean():.2f} ({new_ratios.min():.2f}-{new_ratios.max():.2f})",
        f"{(new[:, 2] / new[:, 1]).mean():.2f}",
        f"{int((~above).sum())}/{len(new)}",
        f"{int((above & said).sum())}, {int((~above & said).sum())}",
        f"{int((above & ~said).sum())}",
        f"{new[:, 3].mean():.4f} / {new[:, 4].mean():.4f}",
        f"{remarks[:, 0].mean():.3g}",
        f"{int(remarks[:, 2].sum())}",
        f"{np.median(remarks[:, 3]):.1f}",
        f"{np.nanmean(remarks[:, 4]):.2f} ({np.nanmin(remarks[:, 4]):.2f}-{np.nanmax(remarks[:, 4]):.2f})",
        f"{remarks[:, 5].mean():.2f}",
    ]


def main():
    """Run and print a table for each book."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--books", nargs="+", choices=["pg15training", *DRAWN], default=["pg15training", "steep"])
    parser.add_argument("--learners", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--forms", nargs="+", default=["trees alone", "leaves moved", "watched"])
    parser.add_argument("--unaware", action="store_true", help="without S among the features only")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--strength", type=float, default=1000.0)
    parser.add_argument("--rows", type=int, help="of the book, instead of its own number")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    for name in options.books:
        cases = [
            (label, aware, form)
            for label in options.learners
            for aware in ((False,) if options.unaware else (False, True))
            for form in options.forms
        ]
        with ProcessPoolExecutor(options.processes) as pool:
            runs = {
                case: [
                    pool.submit(one_fit, name, case[0], case[1], seed, case[2], options.rows, options.strength)
                    for seed in options.seeds
                ]
                for case in cases
            }
            table = []
            for (label, aware, form), futures in runs.items():
                found = np.array([future.result() for future in futures])
                table.append(line(f"{label}, {'with' if aware else 'without'} S, {form}", found))
                print(" | ".join(table[-1]), flush=True)
        print(f"\n{name}, strength {options.strength:g}, {len(options.seeds)} seeds\n")
        header = ["", "JSD / null mean, train", "deviance / constant", "new rows: ratio", "95 % level / mean", "within"]
        header += [
            "warned: above, within",
            "silent",
            "deviance / constant",
            "effective strength",
            "warned of new rows",
            "s",
            "foreseen / level",
            "share of new rows above",
        ]
        print_table(header, table)


if __name__ == "__main__":
    main()
