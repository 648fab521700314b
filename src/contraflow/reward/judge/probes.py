"""Known pairs that every judge must classify correctly before a run relies on its scores."""

from collections.abc import Callable, Sequence

from contraflow.errors import UserError
from contraflow.reward.judge.scores import LABELS, NliScores

# Easy for any NLI model, whatever it was trained on.
PROBES = (
    ("A man is asleep on the sofa.", "A man is awake and running.", "contradiction"),
    ("The capital of Italy is Rome.", "The capital of Italy is not Rome.", "contradiction"),
    ("A woman is playing the guitar.", "A woman is playing the guitar.", "entailment"),
    ("Two dogs are running in a field.", "Two dogs are running.", "entailment"),
    ("A man is walking down the street.", "The man is a doctor from Canada.", "neutral"),
    ("A child is eating an apple.", "The child's name is Peter.", "neutral"),
)


def self_test(score: Callable[[Sequence[str], Sequence[str]], NliScores], name: str) -> None:
    """Raise `UserError` for a judge that misses a contradiction or an entailment probe.

    A checkpoint whose label order is wrong fails here.
    """
    premises, hypotheses, labels = zip(*PROBES, strict=True)
    best = score(premises, hypotheses).log_probs.argmax(-1).tolist()
    for premise, hypothesis, label, index in zip(premises, hypotheses, labels, best, strict=True):
        if label != "neutral" and LABELS[index] != label:
            raise UserError(
                f"judge {name} fails its self-test: '{premise}' / '{hypothesis}' should be "
                f"{label}, it says {LABELS[index]}; check judge.label_order or choose another NLI "
                "checkpoint"
            )
