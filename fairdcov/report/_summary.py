"""The report in a few sentences, read off its own figures."""

import numbers

from fairdcov.report._texts import MEASURE_NAMES, TASK_NAMES

__all__ = ["bounds", "net_effect", "number", "p_value", "percent", "ratio", "summarise"]


def number(value, digits=3):
    """A number as one reads it: three digits, thousands separated, a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if value == 0:
        return "0"
    size = abs(value)
    if isinstance(value, int) or size >= 10**digits or (size >= 10 and float(value).is_integer()):
        return f"{value:,.0f}"
    if size < 1e-4:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.{max(0, digits - 1 - _magnitude(abs(rounded)))}f}"


def _magnitude(size):
    return int(f"{size:.6e}".split("e")[1])


def ratio(value):
    """Actual to expected, to the third place; a dash for none."""
    return "–" if value is None else f"{value:,.3f}"


def percent(value, digits=1):
    """A share in percent; a dash for none."""
    if value is None:
        return "–"
    # Adding 0 turns a rounded -0 into 0.
    return f"{round(100 * value, digits) + 0.0:,.{digits}f} %"


def p_value(value, n_permutations=None):
    """A p-value, marked where it is the least that the permutations could give."""
    if value is None:
        return "–"
    least = n_permutations and value <= 1.0 / (1 + n_permutations) * (1 + 1e-9)
    return f"{'≤ ' if least else ''}{value:.3g}"


def summarise(data):
    """Sentences on the whole report.

    Parameters
    ----------
    data : dict
        A report without its summary.

    Returns
    -------
    list of str
    """
    rows, balance = data["data"], data["balance"]
    full = data["groups"][-1]
    title = " × ".join(full["attributes"])
    found = [
        f"{rows['rows']:,} rows with an exposure of {number(rows['exposure'], 4)}; "
        f"{TASK_NAMES[balance['task']]} predicted at {number(balance['predicted'])} on average."
    ]
    if rows["observed"]:
        found.append(
            f"Actual to expected {ratio(balance['actual_to_expected'])} "
            f"({ratio(balance['lower'])} to {ratio(balance['upper'])}); {rows['deviance']} "
            f"{number(balance['deviance'], 4)}."
        )
    if data["change"] is not None:
        found += _of_cost(data["change"], balance)
        found.append(_of_change(data["change"]["by_attribute"][0], data["cost"]["moved"]))
    found += _of_cross_subsidies(data["cost"])
    if data["frontier"] is not None:
        found.append(f"Beside the best that parity allows: {data['frontier']['text']}.")
    found += _of_tolerance(data["equivalence"])
    found += _of_groups(full, title)
    found += _of_tests(
        data["dependence"], {part["name"] for part in rows["attributes"] if part["kind"] == "probabilities"}
    )
    found += _of_conditional(data["conditional"])
    found += _of_proxies(data["proxies"])
    found += _of_proxy_discrimination(data["proxy_discrimination"])
    found += _of_choice(data["alternatives"])
    small = full["too_small"]
    if small:
        found.append(
            f"{len(small)} of {full['n_groups']} groups of {title} have fewer than "
            f"{data['settings']['min_group_size']} rows ({percent(full['share_too_small'])} of the exposure): too "
            "small to judge, listed in the report."
        )
    return found


def bounds(tolerance):
    """The gaps that are within a tolerance, which is symmetric on the scale of ratios."""
    return f"{percent(-tolerance / (1 + tolerance), 2)} to {percent(tolerance, 2)}"


def _of_tolerance(equivalence):
    if equivalence is None:
        return []
    found = []
    for test in equivalence["tests"]:
        what = "mean predictions"
        if test["legitimate_features"]:
            what += f" given {', '.join(test['legitimate_features'])}"
        parts = [f"{' × '.join(part['attributes'])} {part['outcome']}" for part in test["attributes"]]
        found.append(
            f"Gaps of {what} between groups, allowed from {bounds(equivalence['tolerance'])}: {test['outcome']}"
            + (f" ({'; '.join(parts)})." if parts else ".")
        )
    return found or ["No attribute has two groups: there are no gaps to judge."]


def _of_groups(full, title):
    groups = [group for group in full["groups"] if not group["too_small"]]
    if full["n_compared"] < 2:
        return [f"Groups of {title}: nothing to compare."]
    lowest = min(groups, key=lambda group: group["predicted"])
    highest = max(groups, key=lambda group: group["predicted"])
    divergence = full["measures"]["js_divergence"]
    chance = ""
    if divergence["null_mean"] is not None:
        chance = f", against {number(divergence['null_mean'])} by chance"
    return [
        f"Between the {full['n_compared']} groups of {title} the mean prediction runs from "
        f"{number(lowest['predicted'])} ({lowest['label']}) to {number(highest['predicted'])} ({highest['label']}); "
        f"Jensen–Shannon divergence {number(divergence['value'])} bits{chance}."
    ]


def _of_tests(entries, imputed):
    joint = entries[-1]
    if joint["test"] is None:
        return []
    test = joint["test"]
    # The statistic of attributes known as probabilities is above 0 by chance.
    effect = net_effect(test) if imputed & set(joint["attributes"]) else test["effect_size"]
    return [
        f"Independence of {' × '.join(joint['attributes'])} ({MEASURE_NAMES[joint['measure']]}): p {_p_sign(test)}, "
        f"effect size {number(effect)} on a scale from 0 to 1."
    ]


def _of_conditional(conditional):
    if conditional is None:
        return []
    joint = conditional["results"][-1]
    if joint["normalized"] is None:
        return []
    text = (
        f"Given {', '.join(conditional['given'])} ({conditional['n_strata']} strata): scale-free distance covariance "
        f"{number(joint['normalized'])} with {' × '.join(joint['attributes'])}, {number(joint['by_chance'])} by chance"
        f"; without these factors {number(joint['without'])}, {number(joint['without_by_chance'])} by chance"
    )
    test = joint["test"]
    if test is not None:
        text += f"; independence within strata p {_p_sign(test)}, effect size {number(net_effect(test))}"
    return [f"{text}."]


def net_effect(test):
    """Effect size of a test less what it is by chance; None without a test."""
    if test["effect_size"] is None or not test["statistic"]:
        return test["effect_size"]
    return max(0.0, test["effect_size"] * (1.0 - (test["null_mean"] or 0.0) / test["statistic"]))


def _of_proxy_discrimination(found):
    if found is None:
        return []
    predictions = found["prices"][0]
    text = (
        f"Proxy discrimination of the predictions {number(predictions['proxy_discrimination'])} on a scale from 0 to 1"
    )
    if found["features"]:
        first = found["features"][0]
        text += f", {percent(first['share'], 0)} of it by {first['feature']}"
    return [f"{text}."]


def _p_sign(test):
    text = p_value(test["p_value"], test["n_permutations"])
    return text if text.startswith("≤") else f"= {text}"


def _of_proxies(proxies):
    if proxies is None or not proxies["features"]:
        return []
    first = proxies["features"][0]
    candidates = dict(first["distance_correlation"])
    if first["jointly"] is not None:
        candidates["all attributes jointly"] = first["jointly"]
    candidates = {name: value for name, value in candidates.items() if value is not None}
    if not candidates:
        return []
    name = max(candidates, key=candidates.get)
    return [
        f"Strongest proxy among {len(proxies['features'])} features: {first['feature']}, squared distance correlation "
        f"{number(candidates[name])} with {name}."
    ]


def _of_cost(change, balance):
    """What the predictions explain beside what the baseline explains, where something was observed."""
    before, after = change["before"].get("deviance_explained"), change["after"].get("deviance_explained")
    if before is None or after is None:
        return []
    kept = f", {percent(after / before, 0)} of it" if before > 0 else ""
    text = (
        f"Of the {balance['deviance_name']} the baseline explains {percent(before, 2)}, the predictions "
        f"{percent(after, 2)}{kept}"
    )
    before, after = change["before"]["gini"], change["after"]["gini"]
    return [f"{text}; Gini index {number(before)} before, {number(after)} now." if before is not None else f"{text}."]


def _of_cross_subsidies(cost):
    """Premium over experience of the groups where it is least and most; of all attributes crossed."""
    if not cost or not cost["cross_subsidies"]:
        return []
    *_, full = cost["cross_subsidies"]
    groups = [
        group for group in full["groups"] if not group["too_small"] and group["predicted_to_observed"] is not None
    ]
    if len(groups) < 2:
        return []
    ends = [function(groups, key=lambda group: group["predicted_to_observed"]) for function in (min, max)]
    parts = []
    for group in ends:
        interval = ""
        if group["lower"] is not None and group["upper"] is not None:
            interval = f"; {percent(group['lower'], 0)} to {percent(group['upper'], 0)}"
        parts.append(f"{percent(group['predicted_to_observed'], 0)} ({group['label']}{interval})")
    before = ""
    if all(group["before"] is not None for group in ends):
        before = f"; under the baseline {' and '.join(percent(group['before'], 0) for group in ends)}"
    return [f"Predicted over observed by group of {' × '.join(full['attributes'])}: from {' to '.join(parts)}{before}."]


def _of_choice(alternatives):
    """What the chosen one of the alternatives keeps, where they say so as a calibration does."""
    for alternative in alternatives:
        if not isinstance(alternative, dict) or not alternative.get("chosen"):
            continue
        kept = alternative.get("kept")
        if isinstance(kept, numbers.Real):
            return [
                f"The chosen strength, {number(alternative.get('strength'))}, keeps {percent(kept, 0)} of what the "
                "model without penalty explains, by cross-validation."
            ]
    return []


def _of_change(whole, moved):
    text = ""
    if moved["between_policies"] is not None:
        text = f" {percent(moved['between_policies'])} of the premium moves between policies."
    return (
        f"Against the baseline the total changes by {percent(whole['change'])}; {percent(whole['share_up'])} of the "
        f"exposure pays more and {percent(whole['share_down'])} less.{text}"
    )
