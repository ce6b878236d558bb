"""Options of the commands. Nothing is imported here, so that ``fairdcov --help`` answers at once."""

import argparse

__all__ = ["AGE_BINS", "AGE_EDGES", "EXIT_CODES", "make_parser"]

# How drivers' ages are cut wherever an example does, as in the README and the guide.
AGE_EDGES = (0, 25, 40, 60, 120)
AGE_BINS = f"age={','.join(map(str, AGE_EDGES))}"

EXIT_CODES = """exit codes:
  0    done
  2    bad input or options; nothing was written
  3    no strength meets the rule; nothing was written
  4    audit --fail-if outside: some gap is outside the tolerance; the report was written
  5    audit --fail-if-unsure: there is not enough evidence; the report was written
  130  interrupted; nothing was written"""

_TABLES = """tables:
  CSV (.csv, .txt, .tsv) or Parquet (.parquet, .pq). Of a CSV file, separator, decimal mark and encoding are found out
  and printed; --separator, --decimal and --encoding say otherwise. Empty cells, NA, NaN, NULL and . are missing."""


def _add_command(commands, name, *, summary, description, examples, exit_codes=EXIT_CODES):
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"examples:\n{examples}\n\n{exit_codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _learner(name):
    """A learner; the choices that argparse prints do not say why another one is none."""
    if name.lower() in ("xgboost", "xgb"):
        raise argparse.ArgumentTypeError(
            "xgboost models are not written: predict loads no file that it has not checked, which there is for "
            "LightGBM's; take lightgbm, or DCovXGBRegressor in Python"
        )
    return name


def _add_table_options(command):
    group = command.add_argument_group("how the file is read")
    group.add_argument("--separator", metavar="CHARACTER", help="between the columns of a CSV file; 'tab' for tabs")
    group.add_argument("--decimal", choices=[".", ","], help="decimal mark of a CSV file")
    group.add_argument("--encoding", metavar="NAME", help="of a CSV file, such as utf-8, cp1252, latin-1 or utf-16")


def _add_attribute_options(command, *, control):
    command.add_argument(
        "--sensitive",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="protected attributes: text, categories, numbers; needed unless there are --probabilities",
    )
    command.add_argument(
        "--probabilities",
        nargs="+",
        default=[],
        metavar="NAME=COLUMN,COLUMN,...",
        help="protected attributes that are not observed, such as an imputed race: the columns with the probability of "
        "each level, which sum to 1 in each row, as in race=p_white,p_black,p_other",
    )
    command.add_argument(
        "--control",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help=control,
    )
    command.add_argument(
        "--control-bins",
        nargs="+",
        metavar="COLUMN=EDGES",
        help="how a number among the --control columns is cut, as with --bins",
    )
    command.add_argument(
        "--bins",
        nargs="+",
        metavar="COLUMN=EDGES",
        help=f"how a protected number is cut where groups are compared, as in {AGE_BINS}; a single number gives so "
        "many quantiles; into 5 by default when it has more than 20 values",
    )
    command.add_argument(
        "--categorical",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="digits or dates that are names, such as region codes",
    )


def _add_run_options(command, *, output):
    command.add_argument("--output", required=True, metavar=output[0], help=output[1])
    command.add_argument("--force", action="store_true", help="replace what an earlier run has written there")
    command.add_argument("--quiet", action="store_true", help="no progress bars")


def _add_demo(commands):
    demo = _add_command(
        commands,
        "demo",
        summary="fit penalised claim frequencies to an example; write scored policies, the chosen model and pictures",
        description="Calibrates the strength of each dependence penalty of a claim frequency model by "
        "cross-validation, fits the paths of strengths, compares them on policies held back, and writes the results "
        "to a folder.",
        examples="  fairdcov demo --output demo-output\n"
        "  fairdcov demo --data pg15training --output pg15-output    (downloads 1.9 MB, or set FAIRDCOV_DATA)",
    )
    demo.add_argument(
        "--data", choices=["motor", "pg15training"], default="motor", help="synthetic book (default) or a French one"
    )
    demo.add_argument("--output", default="fairdcov-demo", metavar="DIR", help="folder to write (%(default)s)")
    demo.add_argument("--force", action="store_true", help="replace the folder if it exists")
    demo.add_argument(
        "--policies",
        type=int,
        default=10_000,
        metavar="N",
        help="size of the synthetic book (%(default)s); larger ones tell groups from chance better and take minutes",
    )
    demo.add_argument(
        "--seed", type=int, default=0, help="seed of the book, the split and the permutations (%(default)s)"
    )
    demo.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_fit(commands):
    fit = _add_command(
        commands,
        "fit",
        summary="fit a model whose predictions do not depend on protected attributes, and audit it on rows held back",
        description="Fits a model to a book of policies, calibrates the strength of the dependence penalty by\n"
        "cross-validation, and audits the result on rows held back.\n\n"
        "--target is the total of each row, such as its number or cost of claims. With --exposure it is divided by\n"
        "the exposure, which becomes the weight: claims and years give a claim frequency, cost and claims a severity\n"
        "(with --family gamma), cost and years a pure premium (with --family tweedie). Predictions are per unit of\n"
        "exposure. --amount and --claims are for a pure premium that is the product of frequency and severity.\n\n"
        "DIR gets model.skops, settings.json, the scored book, calibration.csv, held_back.csv, cost.csv (what the\n"
        "penalty costs), pictures, relativities.csv (a rating table of a model with log link: exact for a GLM, close\n"
        "for trees), report.html and report.json. All columns are features but for those named by --target,\n"
        "--exposure, --offset, --sensitive, --probabilities and --exclude. The protected attributes are never\n"
        "features: predict does not need them.\n\n" + _TABLES,
        examples="  fairdcov fit book.csv --target claims --exposure exposure --sensitive gender region age \\\n"
        f"      --bins {AGE_BINS} --exclude cost --model glm --family poisson --output frequency\n"
        "  fairdcov fit book.parquet --target cost --exposure claims --sensitive gender --features power mileage \\\n"
        "      --family gamma --rule score_budget --score-budget 0.02 --output severity\n"
        "  fairdcov fit book.csv --target lapsed --sensitive gender age --family binomial --rule threshold \\\n"
        "      --max-divergence 0.02 --strengths 1 3 10 30 --output lapse",
    )
    fit.add_argument("book", metavar="BOOK", help="table with a row for each policy")
    fit.add_argument("--target", metavar="COLUMN", help="total of each row; divided by the exposure where there is one")
    fit.add_argument(
        "--amount",
        metavar="COLUMN",
        help="cost of the claims of each row, with --claims and in the place of --target: a frequency and a severity "
        "model, of --model, with one penalty on the pure premium",
    )
    fit.add_argument("--claims", metavar="COLUMN", help="number of claims of each row, with --amount")
    fit.add_argument(
        "--exposure", metavar="COLUMN", help="weight of each row; rows of 0 are left out when their target is 0 too"
    )
    fit.add_argument(
        "--offset",
        metavar="COLUMN",
        help="known part of the prediction on the link scale, such as the logarithm of a base rate where the family "
        "has a log link: the model learns what is to be added, and the penalty is of the whole. predict needs it too",
    )
    _add_attribute_options(
        fit,
        control="legitimate factors, within whose levels predictions are not to depend on the protected attributes; "
        "numbers of more than 20 values are cut into 5 quantiles. They stay features unless --exclude says otherwise",
    )
    which = fit.add_mutually_exclusive_group()
    which.add_argument("--features", nargs="+", metavar="COLUMN", help="rating factors; all other columns by default")
    which.add_argument("--exclude", nargs="+", default=[], metavar="COLUMN", help="columns that are no rating factors")
    fit.add_argument("--model", type=_learner, choices=["glm", "lightgbm"], default="glm", help="learner (%(default)s)")
    fit.add_argument(
        "--family",
        choices=["poisson", "negative_binomial", "gamma", "tweedie", "gaussian", "binomial"],
        default="poisson",
        help="distribution of the target (%(default)s); binomial takes 0 and 1, without --exposure",
    )
    fit.add_argument("--power", type=float, default=1.5, help="of the tweedie family, between 1 and 2 (%(default)s)")
    fit.add_argument(
        "--dispersion", type=float, default=1.0, help="of the negative_binomial family, above 0 (%(default)s)"
    )
    fit.add_argument(
        "--model-option",
        nargs="+",
        metavar="NAME=VALUE",
        help="parameters of the estimator, such as alpha=0.001 for glm and num_leaves=15 for lightgbm; with --amount "
        "of both models, or of one as in severity__num_leaves=7",
    )
    fit.add_argument(
        "--monotone",
        nargs="+",
        default=[],
        metavar="COLUMN=+|-",
        help="numbers that predictions of --model lightgbm may only rise (+) or only fall (-) with, all else equal, as "
        "in power=+ vehicle_age=-",
    )
    fit.add_argument(
        "--rebalance",
        action="store_true",
        help="multiply predictions by a factor (--family gaussian: add an amount), so that their total is the observed "
        "one on the rows fitted",
    )
    calibration = fit.add_argument_group("penalty and calibration")
    calibration.add_argument(
        "--penalty", choices=["ccdcov", "jdcov", "dcov"], default="ccdcov", help="measure of dependence (%(default)s)"
    )
    calibration.add_argument(
        "--rule",
        choices=["null_level", "threshold", "elbow", "score_budget"],
        default="null_level",
        help="which strength is taken: the smallest at which groups cannot be told from permuted ones (null_level, the "
        "default), the smallest with a divergence of at most --max-divergence (threshold), the bend of the curve "
        "(elbow), the lowest divergence within --score-budget of the unpenalised score (score_budget)",
    )
    calibration.add_argument(
        "--max-divergence", type=float, metavar="BITS", help="of Jensen and Shannon, for threshold"
    )
    calibration.add_argument(
        "--score-budget", type=float, default=0.01, metavar="SHARE", help="for score_budget (%(default)s)"
    )
    calibration.add_argument(
        "--if-unmet",
        choices=["raise", "warn"],
        default="raise",
        help="when no strength meets the rule: end with code 3, or say so and take the lowest divergence (%(default)s)",
    )
    calibration.add_argument(
        "--strengths", nargs="+", type=float, metavar="STRENGTH", help="increasing; looked for by default"
    )
    calibration.add_argument("--folds", type=int, default=3, metavar="N", help="of the cross-validation (%(default)s)")
    calibration.add_argument(
        "--test-size", type=float, default=0.2, metavar="SHARE", help="share of the rows held back (%(default)s)"
    )
    calibration.add_argument(
        "--seed", type=int, default=0, help="of split, folds, permutations and learner (%(default)s)"
    )
    calibration.add_argument("--n-jobs", type=int, metavar="N", help="folds at a time; -1 for all processors")
    _add_table_options(fit)
    fit.add_argument("--prediction-name", default="prediction", metavar="NAME", help="column to write (%(default)s)")
    _add_run_options(fit, output=("DIR", "folder to write"))


def _add_audit(commands):
    audit = _add_command(
        commands,
        "audit",
        summary="audit the predictions of any system: dependence on protected attributes, balance, groups, proxies",
        description="Reads predictions, of this or any other system, and writes report.html, report.json and\n"
        "report.md.\n\n"
        "--target is the total of each row, such as its number or cost of claims; with --exposure it is divided by\n"
        "the exposure, which becomes the weight. --prediction and --baseline are per unit of exposure unless\n"
        "--predictions-are total says that they are for the row as a whole, like the target.\n\n" + _TABLES,
        examples="  fairdcov audit scored.csv --prediction frequency --target claims --exposure years \\\n"
        f"      --sensitive gender region age --bins {AGE_BINS} --output audit\n"
        "  fairdcov audit emblem.txt --separator ';' --decimal , --prediction EXPECTED --predictions-are total \\\n"
        "      --target NCLAIMS --exposure EXPOSURE --sensitive SEX --features POWER MILEAGE --output audit\n"
        "  fairdcov audit scored.csv --prediction premium --sensitive gender region --tolerance 0.05 \\\n"
        "      --fail-if outside --output audit",
    )
    audit.add_argument("predictions", metavar="PREDICTIONS", help="table with a row for each policy")
    audit.add_argument("--prediction", required=True, metavar="COLUMN", help="what is audited")
    audit.add_argument("--target", metavar="COLUMN", help="total of each row; divided by --exposure if that is given")
    audit.add_argument("--exposure", metavar="COLUMN", help="weight of each row")
    audit.add_argument(
        "--predictions-are",
        choices=["rate", "total"],
        default="rate",
        help="per unit of exposure (rate, the default) or for the row as a whole (total)",
    )
    _add_attribute_options(
        audit,
        control="legitimate factors, within whose levels dependence is measured and tested, and given which gaps are "
        "judged; numbers of more than 20 values are cut into 5 quantiles",
    )
    audit.add_argument(
        "--given",
        choices=["target"],
        help="compare predictions at equal claims (separation): strata of the --target are a control feature, alone or "
        "beside those of --control",
    )
    audit.add_argument(
        "--features", nargs="+", default=[], metavar="COLUMN", help="rating factors, screened for proxies"
    )
    audit.add_argument(
        "--legitimate",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="rating factors given which the predictions may depend on the protected attributes",
    )
    audit.add_argument(
        "--tiers",
        nargs="+",
        type=float,
        metavar="PREMIUM",
        help="increasing predictions above which the shares of the groups are compared; by default the quantiles at "
        "50, 75 and 90 %%",
    )
    audit.add_argument(
        "--tolerance",
        type=float,
        metavar="SHARE",
        help="largest relative price gap between a group and the rest, such as 0.05: the report says which groups are "
        "within, which outside, and where there is not enough evidence; given the factors of --control, or of "
        "--legitimate, if there are some",
    )
    audit.add_argument(
        "--fail-if",
        choices=["outside"],
        help="end with code 4, after writing the report, when a gap is outside the --tolerance",
    )
    audit.add_argument(
        "--fail-if-unsure",
        action="store_true",
        help="end with code 5, after writing the report, when there is not enough evidence that all gaps are within",
    )
    audit.add_argument("--baseline", metavar="COLUMN", help="predictions to compare with, such as the current tariff")
    audit.add_argument(
        "--min-group-size",
        type=int,
        default=100,
        metavar="N",
        help="groups of fewer rows are listed and not compared (%(default)s)",
    )
    audit.add_argument(
        "--task",
        choices=["auto", "frequency", "severity", "pure_premium", "regression", "classification"],
        default="auto",
        help="what is predicted, which says how deviance is measured; by default as target and exposure look",
    )
    audit.add_argument("--seed", type=int, default=0, help="of permutations and bootstrap (%(default)s)")
    _add_table_options(audit)
    _add_run_options(audit, output=("DIR", "folder to write"))


def _add_predict(commands):
    predict = _add_command(
        commands,
        "predict",
        summary="score a book with a model of fairdcov fit; no protected attribute is needed",
        description="Writes the columns of BOOK and the prediction, per unit of exposure. Only types that a model of\n"
        "fairdcov consists of are loaded; others are listed and refused.\n\n" + _TABLES,
        examples="  fairdcov predict frequency new_business.csv --output scored.csv\n"
        "  fairdcov predict frequency portfolio.parquet --output scored.parquet --prediction-name frequency",
    )
    predict.add_argument("model", metavar="MODEL_DIR", help="folder written by fairdcov fit")
    predict.add_argument("book", metavar="BOOK", help="table with a row for each policy")
    predict.add_argument(
        "--offset",
        metavar="COLUMN",
        help="offset of a model that was fitted with one; by default the column of the name that it had there",
    )
    _add_table_options(predict)
    predict.add_argument(
        "--prediction-name", default="prediction", metavar="NAME", help="column to write (%(default)s)"
    )
    _add_run_options(predict, output=("FILE", "CSV or Parquet file to write, by the end of its name"))


def make_parser():
    """Parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="fairdcov",
        description="Fairness-regularised regression: predictions that do not depend on protected attributes jointly.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_demo(commands)
    _add_fit(commands)
    _add_audit(commands)
    _add_predict(commands)
    return parser
