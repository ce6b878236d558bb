"""Public data sets: downloaded once and checked, or read from a folder."""

from __future__ import annotations

import hashlib
import os
import uuid
import warnings
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import fetch_file
from sklearn.utils import Bunch

from fairdcov._checks import check_whole_number, import_optional
from fairdcov.exceptions import IntegrityError

__all__ = ["fetch_compas", "fetch_pg15training"]


@dataclass(frozen=True)
class RemoteFile:
    """A file at a fixed address with the checksums of the versions that are accepted."""

    filename: str
    url: str
    sha256: tuple


PG15TRAINING = RemoteFile(
    "pg15training.rda",
    "https://raw.githubusercontent.com/dutangc/CASdatasets/dbac69aca3dc8dc872a744e20b94c60c06cbd440/data/"
    "pg15training.rda",
    ("a762362adb188e593de8ce2b811460659cc67de43751b22ac84d749db53f2550",),
)
COMPAS = RemoteFile(
    "compas-scores-two-years.csv",
    "https://raw.githubusercontent.com/propublica/compas-analysis/bafff5da3f2e45eca6c2d5055faad269defd135a/"
    "compas-scores-two-years.csv",
    (
        "c451db85908b2f7fef1d83203bedf6b71ecda0d5af468d82ae62178f91d0cc7d",
        # The same file without names, dates of birth and other columns that are not used here.
        "57ffa6c4c81cc8c360c065467b129ee20746dbfced522b6d0a62e12030056099",
    ),
)


# What is read of the COMPAS file. The published one also holds names, dates of birth and case numbers of real people:
# they are left behind, and both accepted versions of the file give the same frame.
COMPAS_COLUMNS = [
    "id",
    "compas_screening_date",
    "sex",
    "age",
    "age_cat",
    "race",
    "juv_fel_count",
    "decile_score",
    "juv_misd_count",
    "juv_other_count",
    "priors_count",
    "days_b_screening_arrest",
    "c_charge_degree",
    "is_recid",
    "violent_recid",
    "is_violent_recid",
    "score_text",
    "two_year_recid",
]


def _sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _refusal(remote, found, place, remedy):
    return IntegrityError(
        f"{remote.filename} has the SHA-256 {found}, expected {' or '.join(remote.sha256)}: the file is damaged or "
        f"another version and was not loaded; it is kept as {place}. {remedy}; the original is at {remote.url}"
    )


def _check(path, remote, *, keep_aside):
    """Return ``path`` of an accepted version, or raise; a wrong file of our own cache is kept under another name."""
    found = _sha256(path)
    if found in remote.sha256:
        return path
    if keep_aside:
        rejected = Path(f"{path}.rejected")
        try:
            os.replace(path, rejected)
        except OSError:
            pass  # a cache that may be read only: refused where it is
        else:
            raise _refusal(remote, found, rejected, "Call again to download it")
    raise _refusal(remote, found, path, "Put the original in its place")


def _cache_folder(data_home):
    if data_home is None:
        # scikit-learn's get_data_home makes the folder, which is too early here and fails in a read-only home.
        return Path(os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")).expanduser() / "fairdcov"
    if not isinstance(data_home, str | os.PathLike):
        raise TypeError(f"data_home must be None or the path of a folder; found {data_home!r}")
    return Path(data_home).expanduser()


def _download(remote, folder):
    """Download to a temporary name; the final name only ever holds a checked file."""
    path, rejected = folder / remote.filename, folder / f"{remote.filename}.rejected"
    temporary = folder / f".{remote.filename}.{uuid.uuid4().hex}.part"
    try:
        with warnings.catch_warnings():
            # Either the retry succeeds or the error says what happened; under `-W error` it must not stop the retry.
            warnings.filterwarnings("ignore", message="Retry downloading", category=UserWarning)
            # The checksum is checked here, not by fetch_file, which would delete the file that is to be kept aside.
            fetch_file(remote.url, folder=folder, local_filename=temporary.name, n_retries=2, delay=1)
        found = _sha256(temporary)
        os.replace(temporary, path if found in remote.sha256 else rejected)
    finally:
        temporary.unlink(missing_ok=True)
    if found not in remote.sha256:
        raise _refusal(remote, found, rejected, "Call again to download it")
    return path


def locate(remote, data_home=None, download_if_missing=True):
    """Path of a checked copy of a file.

    The folder named by the environment variable ``FAIRDCOV_DATA`` is looked at first and never written to, then the
    cache (``data_home``, by default ``fairdcov`` in scikit-learn's data folder), which a download fills.
    """
    # A folder named in the call goes before one named in the environment.
    offline = os.environ.get("FAIRDCOV_DATA") if data_home is None else None
    looked = ""
    if offline:
        path = Path(offline).expanduser() / remote.filename
        if path.exists():
            return _check(path, remote, keep_aside=False)
        looked = f" (it is not in FAIRDCOV_DATA={offline} either)"
    folder = _cache_folder(data_home)
    path = folder / remote.filename
    hint = (
        f"put {remote.filename} into {folder}, or into a folder of your own and name that by data_home= or the "
        f"environment variable FAIRDCOV_DATA; its address is {remote.url}"
    )
    try:
        if path.exists():
            return _check(path, remote, keep_aside=data_home is None)
        if download_if_missing:
            folder.mkdir(parents=True, exist_ok=True)
            return _download(remote, folder)
    except IntegrityError:
        raise
    except (OSError, HTTPException) as error:
        raise OSError(f"{remote.filename} could not be downloaded or read ({error}){looked}: {hint}") from error
    raise FileNotFoundError(f"{remote.filename} is not in {folder}{looked} and download_if_missing=False: {hint}")


def _as_plain_categories(values):
    """Categories as sorted text, without the order of appearance that the file happens to have."""
    levels = sorted(str(level) for level in values.cat.categories)
    return pd.Categorical(values.astype(str), categories=levels)


def fetch_pg15training(
    *,
    data_home: str | Path | None = None,
    download_if_missing: bool = True,
    drop_first: int = 21,
    return_X_y: bool = False,
) -> Bunch:
    """Load pg15training: 100,000 French motor third-party liability policies of 2009 and 2010.

    Parameters
    ----------
    data_home : str or Path, optional
        Folder with the file, or to download it to. By default the folder in ``FAIRDCOV_DATA`` if it holds the file,
        else ``fairdcov`` in scikit-learn's data folder.
    download_if_missing : bool, default=True
        Download the file (1.9 MB) if it is not there.
    drop_first : int, default=21
        Leading rows to leave out. The first 21 repeat policies that follow later in the file, with the same claims
        but other amounts; without them, as in the published recipe, every policy number occurs once.
    return_X_y : bool, default=False
        Return ``(data, target)`` alone.

    Returns
    -------
    sklearn.utils.Bunch
        - ``data`` : DataFrame (n, 9): Age, Bonus, Poldur, Value, Density, Type, Occupation, Group1, Category
        - ``sensitive_features`` : DataFrame (n, 2): ``region`` (Group2, 10 levels) and ``gender``
        - ``claims`` : (n,) number of third-party property damage claims (Numtppd)
        - ``exposure`` : (n,) years (Exppdays / 365), from 0.25 to 1; the weight of a fit to ``target``
        - ``target`` : (n,) claims / exposure
        - ``frame`` : DataFrame of the file, 20 columns
        - ``DESCR``, ``feature_names``

    Raises
    ------
    ValueError
        When ``drop_first`` is not a whole number below the number of rows.
    IntegrityError
        When a file has another checksum than the published one; it is not loaded. A download, or a file in the default
        cache, is kept as ``pg15training.rda.rejected``; one in a folder of yours stays as it is.
    OSError
        Without network and file, or with a folder that cannot be used; the message says what to do.
    ImportError
        Without the package rdata (extra ``data``).

    Notes
    -----
    From the R package CASdatasets 1.2-1 (C. Dutang, A. Charpentier; doi 10.57745/P0KHAG), licence GPL (>= 2) like the
    package; prepared for a pricing game of the French Institute of Actuaries in 2015.

    Half of the policies are of 2009 and half of 2010. Regions are anonymous letters, and so are vehicle types and
    groups. The attributes do not always fit each other: of those whose occupation is "Housewife" most are men. What a
    model finds here may not hold for French drivers. ``frame`` also holds bodily injury claims and the amounts.
    Group1 is a number from 1 to 20 without a documented order and comes as a category.

    Reading the file takes some seconds: it holds 100,021 row names that are parsed one by one.

    Examples
    --------
    >>> from fairdcov.datasets import fetch_pg15training
    >>> book = fetch_pg15training()  # doctest: +SKIP
    >>> book.data.shape  # doctest: +SKIP
    (100000, 9)
    """
    drop_first = check_whole_number(drop_first, "drop_first", 0)
    rdata = import_optional("rdata", "fetch_pg15training")
    path = locate(PG15TRAINING, data_home, download_if_missing)
    frame = rdata.read_rda(path)["pg15training"]
    if drop_first >= len(frame):
        raise ValueError(f"drop_first must be below the number of rows, {len(frame)}; found {drop_first}")
    frame = frame.iloc[drop_first:].reset_index(drop=True)
    frame.columns = [str(name) for name in frame.columns]
    for name in frame:
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            frame[name] = _as_plain_categories(frame[name])
        else:
            frame[name] = frame[name].to_numpy(dtype=np.float64)
    frame["Group1"] = pd.Categorical(frame["Group1"].astype(int))
    features = ["Age", "Bonus", "Poldur", "Value", "Density", "Type", "Occupation", "Group1", "Category"]
    claims = frame["Numtppd"].to_numpy()
    exposure = frame["Exppdays"].to_numpy() / 365.0
    target = claims / exposure
    if return_X_y:
        return frame[features], target
    return Bunch(
        data=frame[features],
        sensitive_features=frame[["Group2", "Gender"]].rename(columns={"Group2": "region", "Gender": "gender"}),
        claims=claims,
        exposure=exposure,
        target=target,
        frame=frame,
        feature_names=features,
        DESCR=fetch_pg15training.__doc__,
    )


def fetch_compas(
    *,
    data_home: str | Path | None = None,
    download_if_missing: bool = True,
    propublica_filter: bool = True,
    group_rare_races: bool = True,
    return_X_y: bool = False,
) -> Bunch:
    """Load ProPublica's COMPAS data: two-year recidivism of defendants in Broward County, Florida.

    Parameters
    ----------
    data_home : str or Path, optional
        Folder with the file, or to download it to. By default the folder in ``FAIRDCOV_DATA`` if it holds the file,
        else ``fairdcov`` in scikit-learn's data folder.
    download_if_missing : bool, default=True
        Download the file (2.5 MB) if it is not there.
    propublica_filter : bool, default=True
        Keep the 6,172 of 7,214 rows that ProPublica analysed: arrested within 30 days before or after the screening
        (``days_b_screening_arrest``), with a case that was found (``is_recid != -1``), not for an ordinary traffic
        offence (``c_charge_degree != "O"``), and with a score (``score_text``).
    group_rare_races : bool, default=True
        Count Asian and Native American defendants (42 of the filtered rows) as ``"Other"``, which leaves four levels,
        as in the published set-up; False keeps all six.
    return_X_y : bool, default=False
        Return ``(data, target)`` alone.

    Returns
    -------
    sklearn.utils.Bunch
        - ``data`` : DataFrame (n, 5): priors_count, juv_fel_count, juv_misd_count, juv_other_count, c_charge_degree
        - ``sensitive_features`` : DataFrame (n, 3): ``sex``, ``race``, ``age`` (years)
        - ``target`` : (n,) ``two_year_recid``, 1 for a new charge within two years, else 0
        - ``frame`` : DataFrame of the 18 columns that are read
        - ``DESCR``, ``feature_names``

    Raises
    ------
    IntegrityError
        When a file has neither of the two accepted checksums; it is not loaded. A download, or a file in the default
        cache, is kept as ``compas-scores-two-years.csv.rejected``; one in a folder of yours stays as it is.
    OSError
        Without network and file, or with a folder that cannot be used; the message says what to do.

    Notes
    -----
    Source: github.com/propublica/compas-analysis, no licence stated. Two versions of the file are accepted, by their
    SHA-256: the published one (c451db85…), and its subset of the 18 columns that are read here (57ffa6c4…). Names,
    dates of birth and case numbers in the published one are not read.

    The features are what is known of a defendant's record and charge. ``age_cat`` is left out as it is derived from the
    protected age, ``decile_score`` and ``score_text`` because they are another model's prediction, and the other
    recidivism columns because they tell the target. All are in ``frame``.

    Use it with care: the target is a new *charge*, which depends on policing as well as on offending, and not equally
    for all groups; race is as officials recorded it; the sample is one county's, of 2013 and 2014; the two-year window
    of some rows is wrong [1]_; and a fairness exercise on these data says nothing about whether risk scores should be
    used in court [2]_.

    References
    ----------
    .. [1] M. Barenstein (2019), "ProPublica's COMPAS data revisited", arXiv 1906.04711.
    .. [2] M. Bao and co-authors (2021), "It's COMPASlicated: the messy relationship between RAI datasets and
       algorithmic fairness benchmarks", NeurIPS Datasets and Benchmarks.

    Examples
    --------
    >>> from fairdcov.datasets import fetch_compas
    >>> compas = fetch_compas()  # doctest: +SKIP
    >>> compas.sensitive_features["race"].cat.categories.tolist()  # doctest: +SKIP
    ['African-American', 'Caucasian', 'Hispanic', 'Other']
    """
    frame = pd.read_csv(locate(COMPAS, data_home, download_if_missing), usecols=COMPAS_COLUMNS)[COMPAS_COLUMNS]
    if propublica_filter:
        kept = (
            frame["days_b_screening_arrest"].between(-30, 30)
            & (frame["is_recid"] != -1)
            & (frame["c_charge_degree"] != "O")
            & frame["score_text"].notna()  # "N/A" in the file
        )
        frame = frame[kept].reset_index(drop=True)
    race = frame["race"].astype(str)
    if group_rare_races:
        race = race.where(~race.isin(["Asian", "Native American"]), "Other")
    features = ["priors_count", "juv_fel_count", "juv_misd_count", "juv_other_count", "c_charge_degree"]
    data = frame[features].astype(dict.fromkeys(features[:4], np.float64))
    data["c_charge_degree"] = pd.Categorical(data["c_charge_degree"].astype(str))
    target = frame["two_year_recid"].to_numpy(dtype=np.int64)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        sensitive_features=pd.DataFrame(
            {
                "sex": pd.Categorical(frame["sex"].astype(str)),
                "race": pd.Categorical(race),
                "age": frame["age"].to_numpy(dtype=np.float64),
            }
        ),
        target=target,
        frame=frame,
        feature_names=features,
        DESCR=fetch_compas.__doc__,
    )
