"""The definitions of all metrics: name, label, unit, the better direction and the meaning.

The evaluation computes them; the report and the documents print this table.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

Better = Literal["higher", "lower", "one", "zero", "neutral"]


class Definition(NamedTuple):
    """One metric.

    In `better`, "one" and "zero" are target values, and "neutral" metrics have no better direction.
    """

    name: str
    label: str
    unit: str
    better: Better
    group: str
    meaning: str


_VALID = "among the valid questions of a fact, averaged over facts that have enough"

# What is possible for a metric of a unit; anything for others.
WITHIN = {
    "share": (0.0, 1.0),
    "of facts": (0.0, 1.0),
    "score": (0.0, 1.0),
    "questions": (1.0, math.inf),
    "nats²": (0.0, math.inf),
    "words": (0.0, math.inf),
    "r": (-1.0, 1.0),
    "rank r": (-1.0, 1.0),
    "1 - cosine": (0.0, 2.0),
}
LOG_PROBABILITIES = ("log_contradiction", "log_entailment", "log_p_question", "log_p_answer")


def within(name: str) -> tuple[float, float]:
    """The smallest and the largest value that the metric of this name can have."""
    if name in LOG_PROBABILITIES:
        return -math.inf, 0.0
    unit = next((definition.unit for definition in DEFINITIONS if definition.name == name), "")
    return WITHIN.get(unit, (-math.inf, math.inf))


DEFINITIONS: tuple[Definition, ...] = (
    Definition(
        "strict_success",
        "Strict success",
        "share",
        "higher",
        "Headline",
        "The question is well-formed, on the subject and names neither answer, and the answer "
        "asserts the original answer and does not name the edited one. No language model has a say "
        "in it.",
    ),
    Definition(
        "valid_contradiction",
        "Valid contradictions",
        "share",
        "higher",
        "Headline",
        "Questions that pass every check below and whose answer the judge says contradicts the "
        "edited fact.",
    ),
    Definition(
        "well_formed",
        "Well-formed",
        "share",
        "higher",
        "Parts of validity",
        "The text reads as one complete question: an opening, one question mark, no loops, no "
        "fragments.",
    ),
    Definition(
        "on_subject",
        "On subject",
        "share",
        "higher",
        "Parts of validity",
        "The question names the subject of its fact, with every number in it.",
    ),
    Definition(
        "no_leak",
        "No leak",
        "share",
        "higher",
        "Parts of validity",
        "The question names neither the original nor the edited answer, nor a proper name in them.",
    ),
    Definition(
        "on_topic",
        "Answer on topic",
        "share",
        "higher",
        "Parts of validity",
        "The answer shares a word with the question or the subject, or is a short direct answer.",
    ),
    Definition(
        "not_degenerate",
        "Answer says something",
        "share",
        "higher",
        "Parts of validity",
        "The answer is not empty, evasive, looping, endless, gibberish or an echo of the question.",
    ),
    Definition(
        "contradiction",
        "Judge says contradiction",
        "share",
        "higher",
        "Parts of validity",
        "The judge gives more than one half to the answer contradicting the edited fact.",
    ),
    Definition(
        "log_reward",
        "Log-reward",
        "nats",
        "higher",
        "Reward",
        "Mean log R, the quantity in proportion to whose exponential questions should be drawn.",
    ),
    Definition(
        "log_contradiction",
        "Log-contradiction",
        "nats",
        "higher",
        "Reward",
        "Mean log-probability that the answer contradicts the edited fact, by the judge.",
    ),
    Definition(
        "log_p_question",
        "Question log-likelihood",
        "nats",
        "higher",
        "Reward",
        "Mean log-likelihood of the question under the frozen base model, the stop included.",
    ),
    Definition(
        "log_p_answer",
        "Answer log-likelihood",
        "nats",
        "higher",
        "Reward",
        "Mean log-likelihood the oracle gives to its own answer.",
    ),
    Definition(
        "log_entailment",
        "Log-entailment",
        "nats",
        "higher",
        "Reward",
        "Mean log-probability, by the judge, that the answer says the original fact (0 for facts "
        "without one).",
    ),
    Definition(
        "distinct_questions",
        "Distinct questions",
        "share",
        "higher",
        "Diversity",
        "Different questions over all questions drawn for a fact, averaged over facts.",
    ),
    Definition(
        "distinct_valid",
        "Distinct and valid",
        "share",
        "higher",
        "Diversity",
        "Different valid contradictions over all questions drawn for a fact, averaged over facts: "
        "neither repeats nor rubbish raise it.",
    ),
    Definition(
        "distinct_1",
        "Distinct-1",
        "share",
        "higher",
        "Diversity",
        f"Different words over all words, {_VALID}.",
    ),
    Definition(
        "distinct_2",
        "Distinct-2",
        "share",
        "higher",
        "Diversity",
        f"Different word pairs over all pairs, {_VALID}.",
    ),
    Definition(
        "distinct_3",
        "Distinct-3",
        "share",
        "higher",
        "Diversity",
        f"Different word triples over all triples, {_VALID}.",
    ),
    Definition(
        "self_bleu",
        "Self-BLEU",
        "score",
        "lower",
        "Diversity",
        f"Overlap of each question with the others (Zhu et al. 2018), {_VALID}; 1 when all are the "
        "same.",
    ),
    Definition(
        "embedding_distance",
        "Semantic distance",
        "1 - cosine",
        "higher",
        "Diversity",
        f"Mean distance between two questions by a sentence encoder, {_VALID}.",
    ),
    Definition(
        "vendi",
        "Vendi score",
        "questions",
        "higher",
        "Diversity",
        f"Effective number of different meanings (Friedman & Dieng 2023), {_VALID}; it grows with "
        "how many are valid.",
    ),
    Definition(
        "var_log_ratio",
        "Var(log R - log P_F)",
        "nats²",
        "zero",
        "Balance",
        "Variance over the questions of a fact, averaged over facts; 0 when sampling is exactly in "
        "proportion to the reward.",
    ),
    Definition(
        "var_log_ratio_median",
        "Median of that variance",
        "nats²",
        "zero",
        "Balance",
        "The same over the facts' median. A few facts rule the mean: those of the two rows below.",
    ),
    Definition(
        "var_due_to_answers",
        "Variance due to answers",
        "nats²",
        "neutral",
        "Balance",
        "The part of the mean variance that lies between a fact's sound questions which the oracle "
        "answers right and those which it answers wrong. On a new fact no sampler can know it "
        "before it asks.",
    ),
    Definition(
        "mixed_facts",
        "Facts with both answers",
        "of facts",
        "neutral",
        "Balance",
        "Share of the facts that have such a part: among their sound questions some are answered "
        "right and some wrong.",
    ),
    Definition(
        "slope",
        "Slope of log P_F on log R",
        "ratio",
        "one",
        "Balance",
        "Least squares over all questions, each centered on the mean of its fact; 1 at the "
        "optimum, where log P_F = log R - log Z(f).",
    ),
    Definition(
        "pearson",
        "Correlation (Pearson)",
        "r",
        "one",
        "Balance",
        "Of log P_F and log R, each centered on the mean of its fact, pooled; 1 at the optimum.",
    ),
    Definition(
        "spearman",
        "Correlation (Spearman)",
        "rank r",
        "one",
        "Balance",
        "The same with ranks: how well the sampler orders questions as the reward does.",
    ),
    Definition(
        "question_words",
        "Question length",
        "words",
        "neutral",
        "Balance",
        "Mean number of words in a question.",
    ),
)


def markdown_table() -> str:
    """Return the definitions as the Markdown table of the documents."""
    targets = {"higher": "higher", "lower": "lower", "one": "1", "zero": "0", "neutral": ""}
    lines = ["| Metric | Key | Unit | Best | Meaning |", "|---|---|---|---|---|"]
    for d in DEFINITIONS:
        best = targets[d.better]
        lines.append(f"| {d.label} | `{d.name}` | {d.unit} | {best} | {d.meaning} |")
    return "\n".join(lines) + "\n"
