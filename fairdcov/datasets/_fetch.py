"""Public data sets: downloaded once and checked, or read from a folder."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import fetch_file, get_data_home
from sklearn.utils import Bunch

from fairdcov._optional import import_optional
from fairdcov.exceptions import IntegrityError

__all__ = ["fetch_compas", "fetch_pg15training"]


@dataclass(frozen=True)
class RemoteFile:
    """A file at a fixed address with the checksums of the versions that are accepted."""

    filename: str
    url: str
    sha256: tuple

    @property
    def published_sha256(self):
        """Checksum of the file at the address."""
        return self.sha256[0]


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


def _sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _check(path, remote, *, keep_aside):
    """Raise unless the file is an accepted version; one of ours that is not is kept under another name."""
    found = _sha256(path)
    if found in remote.sha256:
        return path
    place = str(path)
    if keep_aside:
        place = f"{path}.rejected"
        os.replace(path, place)
    raise IntegrityError(
        f"{path.name} has the SHA-256 {found}, expected {remote.published_sha256}: the file is damaged or another "
        f"version and was not loaded; it is kept as {place}. Get it again from {remote.url}"
    )


def locate(remote, data_home=None, download_if_missing=True):
    """Path of a checked copy of a file.

    The folder named by the environment variable ``FAIRDCOV_DATA`` is looked at first and never written to, then the
    cache (``data_home``, by default ``fairdcov`` in scikit-learn's data folder), which a download fills.
    """
    offline = os.environ.get("FAIRDCOV_DATA")
    if data_home is None and offline:
        path = Path(offline) / remote.filename
        if path.exists():
            return _check(path, remote, keep_aside=False)
    folder = Path(data_home) if data_home is not None else Path(get_data_home()) / "fairdcov"
    path = folder / remote.filename
    if path.exists():
        return _check(path, remote, keep_aside=data_home is None)
    hint = (
        f"put {remote.filename} into {folder}, or into a folder of your own and name that by data_home= or the "
        f"environment variable FAIRDCOV_DATA; its address is {remote.url}"
    )
    if not download_if_missing:
        raise FileNotFoundError(f"{remote.filename} is not there and download_if_missing=False: {hint}")
    folder.mkdir(parents=True, exist_ok=True)
    temporary = f".{remote.filename}.{os.getpid()}.part"
    try:
        # The checksum is checked here rather than by fetch_file, which would only warn and download again.
        fetched = Path(fetch_file(remote.url, folder=folder, local_filename=temporary, n_retries=2, delay=1))
        os.replace(fetched, path)
    except OSError as error:
        raise OSError(f"{remote.filename} could not be downloaded ({error}): {hint}") from error
    finally:
        (folder / temporary).unlink(missing_ok=True)
    return _check(path, remote, keep_aside=True)


def fetch_pg15training(*, data_home=None, download_if_missing=True, drop_first=21, return_X_y=False):
    """Load pg15training: 100,000 French motor third-party liability policies of 2009 and 2010.

    Parameters
    ----------
    data_home : str or Path, optional
        Folder with the file, or to download it to. By default the folder in ``FAIRDCOV_DATA`` if it holds the file,
        else ``fairdcov`` in scikit-learn's data folder.
    download_if_missing : bool, default=True
        Download the file (1.9 MB) if it is not there.
    drop_first : int, default=21
        Leading rows to leave out. The first 21 are policies with claims in front of the sorted portfolio; the published
        recipe drops them, which leaves 100,000.
    return_X_y : bool, default=False
        Return ``(data, target)`` alone.

    Returns
    -------
    sklearn.utils.Bunch
        - ``data`` : DataFrame (n, 9): Age, Bonus, Poldur, Value, Density, Type, Occupation, Group1, Category
        - ``sensitive_features`` : DataFrame (n, 2): ``region`` (Group2, 10 levels) and ``gender``
        - ``claims`` : (n,) material claims (Numtppd)
        - ``exposure`` : (n,) years (Exppdays / 365)
        - ``target`` : (n,) claims / exposure
        - ``frame`` : DataFrame of the file
        - ``DESCR``, ``feature_names``

    Raises
    ------
    IntegrityError
        When a file has another checksum than the published one; it is not loaded.
    OSError
        Without network and file; the message says where to put it.
    ImportError
        Without the package rdata (extra ``data``).

    Notes
    -----
    From the R package CASdatasets 1.2-1 (C. Dutang, A. Charpentier; doi 10.57745/P0KHAG), licence GPL (>= 2) like the
    package; prepared for a pricing game of the French Institute of Actuaries in 2015. Regions are anonymous letters.

    Examples
    --------
    >>> from fairdcov.datasets import fetch_pg15training
    >>> book = fetch_pg15training()  # doctest: +SKIP
    >>> book.data.shape  # doctest: +SKIP
    (100000, 9)
    """
    rdata = import_optional("rdata", "fetch_pg15training")
    path = locate(PG15TRAINING, data_home, download_if_missing)
    frame = rdata.read_rda(path)["pg15training"].iloc[drop_first:].reset_index(drop=True)
    frame.columns = [str(name) for name in frame.columns]
    for name in frame:
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            levels = sorted(str(level) for level in frame[name].cat.categories)
            frame[name] = pd.Categorical(frame[name].astype(str), categories=levels)
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
    *, data_home=None, download_if_missing=True, propublica_filter=True, group_rare_races=True, return_X_y=False
):
    """Load ProPublica's COMPAS data: two-year recidivism of defendants in Broward County, Florida.

    Parameters
    ----------
    data_home : str or Path, optional
        Folder with the file, or to download it to. By default the folder in ``FAIRDCOV_DATA`` if it holds the file,
        else ``fairdcov`` in scikit-learn's data folder.
    download_if_missing : bool, default=True
        Download the file (2.5 MB) if it is not there.
    propublica_filter : bool, default=True
        Keep the 6,172 rows that ProPublica analysed: a charge within 30 days of the screening, known recidivism, no
        ordinary traffic offences, and a score.
    group_rare_races : bool, default=True
        Count Asian and Native American defendants (42 rows) as ``"Other"``, which leaves four levels.
    return_X_y : bool, default=False
        Return ``(data, target)`` alone.

    Returns
    -------
    sklearn.utils.Bunch
        - ``data`` : DataFrame (n, 5): priors_count, juv_fel_count, juv_misd_count, juv_other_count, c_charge_degree
        - ``sensitive_features`` : DataFrame (n, 3): ``sex``, ``race``, ``age`` (years)
        - ``target`` : (n,) 1 for a new offence within two years
        - ``frame`` : DataFrame of the file
        - ``DESCR``, ``feature_names``

    Raises
    ------
    IntegrityError
        When a file has another checksum than the published one; it is not loaded.
    OSError
        Without network and file; the message says where to put it.

    Notes
    -----
    Source: github.com/propublica/compas-analysis, no licence stated. A version of the file without names and dates of
    birth is accepted as well. Use it with care: the target is *re-arrest*, which depends on policing as well as on
    offending; the sample is one county's; the two-year window of some rows is wrong (Barenstein 2019); and a
    fairness exercise on these data says nothing about whether risk scores should be used in court (Bao et al. 2021,
    "It's COMPASlicated").

    Examples
    --------
    >>> from fairdcov.datasets import fetch_compas
    >>> compas = fetch_compas()  # doctest: +SKIP
    >>> compas.sensitive_features["race"].cat.categories.tolist()  # doctest: +SKIP
    ['African-American', 'Caucasian', 'Hispanic', 'Other']
    """
    frame = pd.read_csv(locate(COMPAS, data_home, download_if_missing))
    if propublica_filter:
        kept = (
            frame["days_b_screening_arrest"].between(-30, 30)
            & (frame["is_recid"] != -1)
            & (frame["c_charge_degree"] != "O")
            & frame["score_text"].notna()
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
