"""Premise and hypothesis pairs about facts, with the label that follows from how they were made."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contraflow.reward.judge.scores import LABELS
from contraflow.reward.judge.training import surface
from contraflow.reward.judge.training.names import content_words
from contraflow.reward.judge.training.relations import fill, mend_articles
from contraflow.reward.judge.training.sentences import Fact, Sentences

Target = tuple[float, float, float]


@dataclass(frozen=True)
class Pair:
    """One training pair; `target` is a distribution over LABELS, `category` says how it was made."""

    premise: str
    hypothesis: str
    target: Target
    category: str


def soft(label: str) -> Target:
    """All mass on one label."""
    entailment, neutral, contradiction = (float(name == label) for name in LABELS)
    return entailment, neutral, contradiction


class PairMaker:
    """Draws pairs from relations and names; the rng of each call decides everything."""

    def __init__(self, texts: Sentences, off_topic: Sequence[str]) -> None:
        self._texts = texts
        self._off_topic = off_topic
        self._kinds: list[tuple[float, str, Callable[[Fact, random.Random], Pair | None]]] = [
            (27, "contradiction.other_object", self._other_object),
            (3, "contradiction.denial", self._denial),
            (3, "contradiction.contrast", self._contrast),
            (3, "contradiction.more_text", self._contradiction_more_text),
            (20, "entailment.paraphrase", self._paraphrase),
            (2, "entailment.identical", self._identical),
            (3, "entailment.part", self._part),
            (2, "entailment.contrast", self._agreeing_contrast),
            (1.5, "entailment.denies_rival", self._denies_rival),
            (1.5, "soft.detail", self._detail),
            (5, "neutral.other_subject", self._other_subject),
            (6, "neutral.same_object", self._other_subject_same_object),
            (5, "neutral.similar_subject", self._similar_subject),
            (7, "neutral.other_relation", self._other_relation),
            (6, "neutral.trivia", self._trivial),
            (4, "neutral.other_relation_same_object", self._other_relation_same_object),
            (6, "neutral.about_object", self._about_object),
            (2, "neutral.off_topic", self._unrelated),
            (6, "neutral.degenerate", self._degenerate),
        ]

    def draw(self, rng: random.Random) -> Pair:
        """One pair; kinds that do not fit a relation (no denial, no second relation) are redrawn."""
        weights = [weight for weight, _, _ in self._kinds]
        while True:
            _, name, make = rng.choices(self._kinds, weights)[0]
            pair = make(self._texts.fact(rng), rng)
            if pair is not None and (
                pair.premise != pair.hypothesis or name == "entailment.identical"
            ):
                label = name.split(".")[0]
                target = pair.target if label == "soft" else soft(label)
                premise, hypothesis = (
                    self._finished(text, rng) for text in (pair.premise, pair.hypothesis)
                )
                return Pair(premise, hypothesis, target, name)

    def _finished(self, text: str, rng: random.Random) -> str:
        """Details come with open slots."""
        return mend_articles(self._texts.names.expand(text, rng)) if "{" in text else text

    # contradictions

    def _other_object(self, fact: Fact, rng: random.Random) -> Pair:
        rival = fact.rival
        if fact.relation.object == "person" and rng.random() < 0.08:
            rival = f"{rival}, {self._texts.names.draw('someone', rng)}"
        said = self._texts.say(fact, rng, object_=rival)
        return _pair(self._texts.premise(fact, rng), surface.answer_style(said, rng, details=True))

    def _contradiction_more_text(self, fact: Fact, rng: random.Random) -> Pair:
        """The answer goes on after the contradicting statement, or breaks off in the middle."""
        said = self._texts.say(fact, rng, object_=fact.rival)
        more = (
            self._texts.about(fact.rival, fact.relation.object, rng)
            or self._texts.second(fact, rng)
            or "It is well known."
        )
        more = surface.broken_off(more, rng) if rng.random() < 0.4 else more
        return _pair(self._texts.premise(fact, rng), f"{said} {more}")

    def _denial(self, fact: Fact, rng: random.Random) -> Pair | None:
        if not fact.relation.denials:
            return None
        return _pair(
            self._texts.premise(fact, rng),
            fill(rng.choice(fact.relation.denials), fact.subject, fact.object),
        )

    def _contrast(self, fact: Fact, rng: random.Random) -> Pair:
        return _pair(
            self._texts.premise(fact, rng), self._contrasting(fact, fact.rival, fact.object, rng)
        )

    def _contrasting(self, fact: Fact, right: str, wrong: str, rng: random.Random) -> str:
        said = self._texts.say(fact, rng, object_=right, plain=True).rstrip(".")
        return rng.choice(
            [f"{said}, not {wrong}.", f"{said} and not {wrong}.", f"{said} rather than {wrong}."]
        )

    # entailments

    def _paraphrase(self, fact: Fact, rng: random.Random) -> Pair:
        return _pair(
            self._texts.premise(fact, rng),
            surface.answer_style(self._texts.say(fact, rng), rng, details=False),
        )

    def _identical(self, fact: Fact, rng: random.Random) -> Pair:
        text = self._texts.say(fact, rng, plain=True)
        return _pair(text, text)

    def _part(self, fact: Fact, rng: random.Random) -> Pair:
        """The premise says more than the answer repeats."""
        said = self._texts.say(fact, rng, plain=True)
        second = self._texts.second(fact, rng)
        if second is not None and rng.random() < 0.5:
            return _pair(f"{said} {second}", self._texts.say(fact, rng))
        return _pair(surface.with_detail(said, rng), self._texts.say(fact, rng))

    def _agreeing_contrast(self, fact: Fact, rng: random.Random) -> Pair:
        return _pair(
            self._texts.premise(fact, rng), self._contrasting(fact, fact.object, fact.rival, rng)
        )

    def _denies_rival(self, fact: Fact, rng: random.Random) -> Pair | None:
        if not fact.relation.denials:
            return None
        return _pair(
            self._texts.premise(fact, rng),
            fill(rng.choice(fact.relation.denials), fact.subject, fact.rival),
        )

    def _detail(self, fact: Fact, rng: random.Random) -> Pair:
        """Agreement with a detail that the premise lacks: never a contradiction, else people
        differ.
        """
        said = surface.with_detail(self._texts.say(fact, rng), rng)
        return Pair(self._texts.premise(fact, rng), said, (0.6, 0.4, 0.0), "")

    # neutrals

    def _other_subject(self, fact: Fact, rng: random.Random) -> Pair | None:
        other = self._texts.stranger(fact, rng, similar=False)
        return self._about_other(fact, other, fact.rival, rng)

    def _other_subject_same_object(self, fact: Fact, rng: random.Random) -> Pair | None:
        if fact.relation.one_to_one:
            return None
        return self._about_other(
            fact, self._texts.stranger(fact, rng, similar=rng.random() < 0.6), fact.object, rng
        )

    def _similar_subject(self, fact: Fact, rng: random.Random) -> Pair | None:
        return self._about_other(
            fact, self._texts.stranger(fact, rng, similar=True), fact.rival, rng
        )

    def _about_other(
        self, fact: Fact, subject: str, object_: str, rng: random.Random
    ) -> Pair | None:
        if content_words(subject) <= content_words(fact.subject) or content_words(
            fact.subject
        ) <= content_words(subject):
            return None
        other = Fact(fact.relation, subject, object_, fact.rival)
        form_fact = self._texts.say(other, rng, plain=rng.random() < 0.7, pronoun=False)
        return _pair(
            self._texts.premise(fact, rng), surface.answer_style(form_fact, rng, details=True)
        )

    def _other_relation(self, fact: Fact, rng: random.Random) -> Pair | None:
        second = self._texts.second(fact, rng)
        if second is None:
            return None
        return _pair(
            self._texts.say(fact, rng, plain=True), surface.answer_style(second, rng, details=True)
        )

    def _trivial(self, fact: Fact, rng: random.Random) -> Pair | None:
        """Loose remarks about the subject, the object, or a namesake."""
        near = self._texts.stranger(fact, rng, similar=True)
        names = [(fact.subject, fact.relation.subject)] * 5 + [
            (fact.object, fact.relation.object)
        ] * 2
        name, kind = rng.choice(
            [*names, (fact.rival, fact.relation.object), (near, fact.relation.subject)]
        )
        said = self._texts.remark(name, kind, rng)
        return (
            _pair(self._texts.premise(fact, rng), surface.answer_style(said, rng, details=False))
            if said
            else None
        )

    def _other_relation_same_object(self, fact: Fact, rng: random.Random) -> Pair | None:
        """The same two names, bound by something else."""
        fitting = [
            other
            for other in self._texts.synthetic
            if (other.subject, other.object) == (fact.relation.subject, fact.relation.object)
            and other.family != fact.relation.family
        ]
        if not fitting:
            return None
        relation = rng.choice(fitting)
        object_ = fact.object if rng.random() < 0.6 else fact.rival
        return _pair(
            self._texts.say(fact, rng, plain=True),
            fill(rng.choice(relation.forms), fact.subject, object_),
        )

    def _about_object(self, fact: Fact, rng: random.Random) -> Pair | None:
        """What language models drift to: sentences about the answer and not about the subject."""
        name = fact.object if rng.random() < 0.6 else fact.rival
        said = self._texts.about(name, fact.relation.object, rng)
        return (
            _pair(self._texts.premise(fact, rng), surface.answer_style(said, rng, details=True))
            if said
            else None
        )

    def _unrelated(self, fact: Fact, rng: random.Random) -> Pair:
        other = self._texts.fact(rng)
        same = (
            content_words(other.subject) & content_words(fact.subject)
            or other.relation.family == fact.relation.family
        )
        said = (
            rng.choice(self._off_topic)
            if same or rng.random() < 0.4
            else self._texts.say(other, rng)
        )
        return _pair(self._texts.premise(fact, rng), said)

    def _degenerate(self, fact: Fact, rng: random.Random) -> Pair:
        form = rng.choice(fact.relation.forms)
        rivals = (
            [self._texts.names.draw(fact.relation.object, rng) for _ in range(5)]
            if not fact.relation.triples
            else []
        )
        said = surface.degenerate(
            form, fact.subject, rng.choice([fact.object, fact.rival]), rivals, rng
        )
        return _pair(self._texts.premise(fact, rng), said)


def _pair(premise: str, hypothesis: str) -> Pair:
    return Pair(premise, hypothesis, (0.0, 0.0, 0.0), "")
