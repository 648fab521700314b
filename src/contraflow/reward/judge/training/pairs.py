"""Premise-hypothesis pairs about facts, labeled by the way they are constructed."""

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
    """One training pair; `target` is a distribution over LABELS, `category` the construction."""

    premise: str
    hypothesis: str
    target: Target
    category: str


def soft(label: str) -> Target:
    """The target with all probability on one label."""
    entailment, neutral, contradiction = (float(name == label) for name in LABELS)
    return entailment, neutral, contradiction


class PairMaker:
    """Draws pairs from relations and names; every random choice uses the rng of the call."""

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
        """One pair. A kind that the relation does not support is drawn again.

        Examples are a relation without a denial, or without a second relation of its subject.
        """
        weights = [weight for weight, _, _ in self._kinds]
        while True:
            _, name, make = rng.choices(self._kinds, weights)[0]
            pair = make(self._texts.fact(rng), rng)
            if pair is None:
                continue
            if pair.premise == pair.hypothesis and name != "entailment.identical":
                continue
            label = name.split(".")[0]
            target = pair.target if label == "soft" else soft(label)
            premise = self._finished(pair.premise, rng)
            hypothesis = self._finished(pair.hypothesis, rng)
            return Pair(premise, hypothesis, target, name)

    def _finished(self, text: str, rng: random.Random) -> str:
        """Fill the open slots of added details."""
        return mend_articles(self._texts.names.expand(text, rng)) if "{" in text else text

    # contradictions

    def _other_object(self, fact: Fact, rng: random.Random) -> Pair:
        rival = fact.rival
        if fact.relation.object == "person" and rng.random() < 0.08:
            rival = f"{rival}, {self._texts.names.draw('someone', rng)}"
        statement = self._texts.say(fact, rng, object_=rival)
        premise = self._texts.premise(fact, rng)
        return _pair(premise, surface.answer_style(statement, rng, details=True))

    def _contradiction_more_text(self, fact: Fact, rng: random.Random) -> Pair:
        """The answer continues after the contradicting statement; its end may be cut off."""
        statement = self._texts.say(fact, rng, object_=fact.rival)
        more = (
            self._texts.about(fact.rival, fact.relation.object, rng)
            or self._texts.second(fact, rng)
            or "It is well known."
        )
        more = surface.broken_off(more, rng) if rng.random() < 0.4 else more
        return _pair(self._texts.premise(fact, rng), f"{statement} {more}")

    def _denial(self, fact: Fact, rng: random.Random) -> Pair | None:
        if not fact.relation.denials:
            return None
        premise = self._texts.premise(fact, rng)
        denial = rng.choice(fact.relation.denials)
        return _pair(premise, fill(denial, fact.subject, fact.object))

    def _contrast(self, fact: Fact, rng: random.Random) -> Pair:
        premise = self._texts.premise(fact, rng)
        return _pair(premise, self._contrasting(fact, fact.rival, fact.object, rng))

    def _contrasting(self, fact: Fact, right: str, wrong: str, rng: random.Random) -> str:
        """A statement that affirms one object and denies another."""
        text = self._texts.say(fact, rng, object_=right, plain=True).rstrip(".")
        return rng.choice(
            [f"{text}, not {wrong}.", f"{text} and not {wrong}.", f"{text} rather than {wrong}."]
        )

    # entailments

    def _paraphrase(self, fact: Fact, rng: random.Random) -> Pair:
        premise = self._texts.premise(fact, rng)
        statement = self._texts.say(fact, rng)
        return _pair(premise, surface.answer_style(statement, rng, details=False))

    def _identical(self, fact: Fact, rng: random.Random) -> Pair:
        text = self._texts.say(fact, rng, plain=True)
        return _pair(text, text)

    def _part(self, fact: Fact, rng: random.Random) -> Pair:
        """The premise contains more than the answer states."""
        statement = self._texts.say(fact, rng, plain=True)
        second = self._texts.second(fact, rng)
        if second is not None and rng.random() < 0.5:
            return _pair(f"{statement} {second}", self._texts.say(fact, rng))
        return _pair(surface.with_detail(statement, rng), self._texts.say(fact, rng))

    def _agreeing_contrast(self, fact: Fact, rng: random.Random) -> Pair:
        premise = self._texts.premise(fact, rng)
        return _pair(premise, self._contrasting(fact, fact.object, fact.rival, rng))

    def _denies_rival(self, fact: Fact, rng: random.Random) -> Pair | None:
        if not fact.relation.denials:
            return None
        premise = self._texts.premise(fact, rng)
        denial = rng.choice(fact.relation.denials)
        return _pair(premise, fill(denial, fact.subject, fact.rival))

    def _detail(self, fact: Fact, rng: random.Random) -> Pair:
        """Agreement with a detail that the premise lacks.

        It is no contradiction; people disagree whether it is entailed or neutral.
        """
        detailed = surface.with_detail(self._texts.say(fact, rng), rng)
        return Pair(self._texts.premise(fact, rng), detailed, (0.6, 0.4, 0.0), "")

    # neutrals

    def _other_subject(self, fact: Fact, rng: random.Random) -> Pair | None:
        other = self._texts.stranger(fact, rng, similar=False)
        return self._about_other(fact, other, fact.rival, rng)

    def _other_subject_same_object(self, fact: Fact, rng: random.Random) -> Pair | None:
        if fact.relation.one_to_one:
            return None
        other = self._texts.stranger(fact, rng, similar=rng.random() < 0.6)
        return self._about_other(fact, other, fact.object, rng)

    def _similar_subject(self, fact: Fact, rng: random.Random) -> Pair | None:
        other = self._texts.stranger(fact, rng, similar=True)
        return self._about_other(fact, other, fact.rival, rng)

    def _about_other(
        self, fact: Fact, subject: str, object_: str, rng: random.Random
    ) -> Pair | None:
        """The relation stated of another subject; None if one name contains the other."""
        words = content_words(subject)
        own_words = content_words(fact.subject)
        if words <= own_words or own_words <= words:
            return None
        other = Fact(fact.relation, subject, object_, fact.rival)
        statement = self._texts.say(other, rng, plain=rng.random() < 0.7, pronoun=False)
        premise = self._texts.premise(fact, rng)
        return _pair(premise, surface.answer_style(statement, rng, details=True))

    def _other_relation(self, fact: Fact, rng: random.Random) -> Pair | None:
        second = self._texts.second(fact, rng)
        if second is None:
            return None
        premise = self._texts.say(fact, rng, plain=True)
        return _pair(premise, surface.answer_style(second, rng, details=True))

    def _trivial(self, fact: Fact, rng: random.Random) -> Pair | None:
        """An unrelated remark about the subject, the object, or a subject with a similar name."""
        similar = self._texts.stranger(fact, rng, similar=True)
        # The repetitions are weights.
        names = [(fact.subject, fact.relation.subject)] * 5
        names += [(fact.object, fact.relation.object)] * 2
        names += [(fact.rival, fact.relation.object), (similar, fact.relation.subject)]
        name, kind = rng.choice(names)
        remark = self._texts.remark(name, kind, rng)
        if not remark:
            return None
        premise = self._texts.premise(fact, rng)
        return _pair(premise, surface.answer_style(remark, rng, details=False))

    def _other_relation_same_object(self, fact: Fact, rng: random.Random) -> Pair | None:
        """The same two names in another relation."""
        own = fact.relation
        fitting = []
        for other in self._texts.synthetic:
            same_types = (other.subject, other.object) == (own.subject, own.object)
            if same_types and other.family != own.family:
                fitting.append(other)
        if not fitting:
            return None
        relation = rng.choice(fitting)
        object_ = fact.object if rng.random() < 0.6 else fact.rival
        premise = self._texts.say(fact, rng, plain=True)
        return _pair(premise, fill(rng.choice(relation.forms), fact.subject, object_))

    def _about_object(self, fact: Fact, rng: random.Random) -> Pair | None:
        """A sentence about the object instead of the subject, a common error of language models."""
        name = fact.object if rng.random() < 0.6 else fact.rival
        statement = self._texts.about(name, fact.relation.object, rng)
        if not statement:
            return None
        premise = self._texts.premise(fact, rng)
        return _pair(premise, surface.answer_style(statement, rng, details=True))

    def _unrelated(self, fact: Fact, rng: random.Random) -> Pair:
        """Another fact, or an off-topic sentence (always if the other fact is too close)."""
        other = self._texts.fact(rng)
        shares_words = content_words(other.subject) & content_words(fact.subject)
        is_close = shares_words or other.relation.family == fact.relation.family
        if is_close or rng.random() < 0.4:
            text = rng.choice(self._off_topic)
        else:
            text = self._texts.say(other, rng)
        return _pair(self._texts.premise(fact, rng), text)

    def _degenerate(self, fact: Fact, rng: random.Random) -> Pair:
        form = rng.choice(fact.relation.forms)
        names: list[str] = []
        if not fact.relation.triples:
            names = [self._texts.names.draw(fact.relation.object, rng) for _ in range(5)]
        object_ = rng.choice([fact.object, fact.rival])
        text = surface.degenerate(form, fact.subject, object_, names, rng)
        return _pair(self._texts.premise(fact, rng), text)


def _pair(premise: str, hypothesis: str) -> Pair:
    """A pair whose target and category `PairMaker.draw` fills in."""
    return Pair(premise, hypothesis, (0.0, 0.0, 0.0), "")
