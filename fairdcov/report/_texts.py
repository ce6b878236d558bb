"""Sentences that every report carries: what it does not show, and the rules that people work under."""

from fairdcov.metrics import GROUP_MEASURES

__all__ = ["LIMITS", "MEASURE_NAMES", "RULES", "TASK_NAMES"]

LIMITS = [
    {
        "topic": "Demographic parity is not the absence of proxy discrimination",
        "text": (
            "The measures compare predictions between groups. A tariff may differ between groups without any use of "
            "the protected attributes, directly or through proxies, because the groups differ in risk; and it may "
            "treat a proxy as if it were the attribute while the groups' averages agree. Lindholm, Richman, Tsanakas "
            "and Wüthrich show that neither implies the other. Read these figures beside the experience of the groups."
        ),
    },
    {
        "topic": "Not every regulator's standard",
        "text": (
            "Independence of predictions and protected attributes is one notion of fairness among several that "
            "exclude each other in general, such as equal actual-to-expected ratios in all groups. Which one applies "
            "is not a statistical question."
        ),
    },
    {
        "topic": "Significant is not large, and not significant is not absent",
        "text": (
            "With many policies every difference is significant: read the effect size. With few, a test may miss a "
            "difference that matters. p-values are not adjusted for the number of tests in this report."
        ),
    },
    {
        "topic": "Within tolerance",
        "text": (
            "Whether gaps are within a tolerance is a statement about mean prices of a group and all others, in books "
            "like this one, at the level stated, if rows are independent. Which tolerance is right no figure says, and "
            "means that agree do not make distributions agree."
        ),
    },
    {
        "topic": "Attributes as recorded",
        "text": (
            "Everything rests on the protected attributes that were given. If they were imputed or inferred from "
            "names or addresses, their errors are in every figure, usually towards smaller differences. Of attributes "
            "that are given as probabilities, figures are those of the level drawn from them: they are right for the "
            "true level where predictions tell no more about it than the probabilities do."
        ),
    },
    {
        "topic": "Groups too small to judge",
        "text": (
            "Groups with fewer policies than the minimum are listed with their figures and left out of the measures "
            "that compare groups. That nothing is shown for them does not mean that nothing is there."
        ),
    },
    {
        "topic": "Given legitimate factors",
        "text": (
            "Figures given legitimate factors are as good as the claim that these are. A factor that is itself an "
            "effect of unequal treatment carries it on, and with enough factors hardly anything is left to find. "
            "Within a bin of a number it still varies. A partial distance correlation of 0 does not mean conditional "
            "independence."
        ),
    },
    {
        "topic": "Intervals",
        "text": (
            "Intervals of actual to expected take the predictions as given and policies as independent. Exact Poisson "
            "intervals are too short for overdispersed claims."
        ),
    },
]

RULES = [
    {
        "place": "European Union",
        "rule": "Council Directive 2004/113/EC and Court of Justice, C-236/09 (Test-Achats)",
        "about": "sex in premiums and benefits",
    },
    {
        "place": "European Union",
        "rule": "AI Act, Regulation (EU) 2024/1689, Annex III, point 5(c)",
        "about": "risk assessment and pricing in life and health insurance",
    },
    {
        "place": "United Kingdom",
        "rule": "Equality Act 2010, section 19; FCA Consumer Duty",
        "about": "indirect discrimination; outcomes for groups of customers",
    },
    {
        "place": "Colorado",
        "rule": "SB21-169 and Regulation 10-1-1",
        "about": "external consumer data, algorithms and predictive models",
    },
    {
        "place": "New York",
        "rule": "NYDFS Insurance Circular Letter No. 7 (2024)",
        "about": "artificial intelligence and external consumer data in underwriting and pricing",
    },
    {
        "place": "United States",
        "rule": "NAIC Model Bulletin on the use of artificial intelligence systems by insurers (2023)",
        "about": "governance of models",
    },
]

TASK_NAMES = {
    "frequency": "claim frequency",
    "pure_premium": "pure premium",
    "severity": "severity",
    "regression": "value",
    "classification": "probability",
}

MEASURE_NAMES = {name: measure.title for name, measure in GROUP_MEASURES.items()} | {
    "dcov": "dCov",
    "jdcov": "JdCov, net",
    "ccdcov": "CCdCov",
    "ccdcov_normalized": "CCdCov, scale-free",
}
