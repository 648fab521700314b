"""Premise and hypothesis pairs about facts, with the label that follows from how they were made."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from contraflow.judge_training import surface
from contraflow.judge_training.names import Names, content_words
from contraflow.judge_training.relations import Relation, fill
from contraflow.judging.scores import LABELS

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


@dataclass(frozen=True)
class Fact:
    """A counterfactual: relation, subject, the object of the premise, and a rival object."""

    relation: Relation
    subject: str
    object: str
    rival: str


class PairMaker:
    """Draws pairs from relations and names; the rng of each call decides everything."""

    def __init__(
        self,
        relations: Sequence[Relation],
        names: Names,
        trivia: Mapping[str, Sequence[str]],
        off_topic: Sequence[str],
    ) -> None:
        self._synthetic = [relation for relation in relations if not relation.triples]
        self._real = [relation for relation in relations if relation.triples]
        self._all = list(relations)
        self._names = names
        self._trivia = trivia
        self._off_topic = off_topic
        self._kinds: list[tuple[float, str, Callable[[Fact, random.Random], Pair | None]]] = [
            (27, "contradiction.other_object", self._other_object),
            (4, "contradiction.denial", self._denial),
            (3, "contradiction.contrast", self._contrast),
            (3, "contradiction.more_text", self._contradiction_more_text),
            (20, "entailment.paraphrase", self._paraphrase),
            (2, "entailment.identical", self._identical),
            (3, "entailment.part", self._part),
            (2, "entailment.contrast", self._agreeing_contrast),
            (1.5, "entailment.denies_rival", self._denies_rival),
            (1.5, "soft.detail", self._detail),
            (5, "neutral.other_subject", self._other_subject),
            (4, "neutral.same_object", self._other_subject_same_object),
            (5, "neutral.similar_subject", self._similar_subject),
            (7, "neutral.other_relation", self._other_relation),
            (5, "neutral.trivia", self._trivial),
            (3, "neutral.other_relation_same_object", self._other_relation_same_object),
            (4, "neutral.about_object", self._about_object),
            (2, "neutral.off_topic", self._unrelated),
            (6, "neutral.degenerate", self._degenerate),
        ]

    def draw(self, rng: random.Random) -> Pair:
        """One pair; kinds that do not fit a relation (no denial, no second relation) are redrawn."""
        weights = [weight for weight, _, _ in self._kinds]
        while True:
            _, name, make = rng.choices(self._kinds, weights)[0]
            pair = make(self._fact(rng), rng)
            if pair is not None and (pair.premise != pair.hypothesis or name == "entailment.identical"):
                label = name.split(".")[0]
                target = pair.target if label == "soft" else soft(label)
                return Pair(pair.premise, pair.hypothesis, target, name)

    # the parts of a pair

    def _fact(self, rng: random.Random) -> Fact:
        relation = rng.choice(self._real if rng.random() < 0.22 and self._real else self._synthetic)
        if relation.triples:
            return self._real_fact(relation, rng)
        subject = self._names.draw(relation.subject, rng)
        if relation.object == "state":
            first, rival = self._names.draw_opposites("state", rng)
            return Fact(relation, subject, first, rival)
        first = self._names.draw_other(relation.object, [subject], rng)
        return Fact(relation, subject, first, self._rival(relation, subject, first, rng))

    def _rival(self, relation: Relation, subject: str, taken: str, rng: random.Random) -> str:
        """Usually a name with other words; now and then a near one (1912 and 1913, two Annas)."""
        if relation.object == "year" and rng.random() < 0.5:
            return str(
                int(taken) + rng.choice([-30, -20, -12, -10, -5, -3, -2, -1, 1, 2, 3, 4, 7, 10, 15, 25])
            )
        if rng.random() < 0.2:
            other = self._names.draw_similar(relation.object, taken, rng)
            if not content_words(other) <= content_words(taken) and not content_words(taken) <= content_words(
                other
            ):
                return other
        for _ in range(50):
            other = self._names.draw_other(relation.object, [subject, taken], rng)
            if other.casefold() != taken.casefold():
                break
        return other

    def _real_fact(self, relation: Relation, rng: random.Random) -> Fact:
        subject, truth = rng.choice(relation.triples)
        for _ in range(50):
            other = rng.choice(relation.triples)[1]
            if not content_words(other) & (content_words(truth) | content_words(subject)):
                break
        first, rival = (other, truth) if rng.random() < 0.8 else (truth, other)
        return Fact(relation, subject, first, rival)

    def _say(self, fact: Fact, rng: random.Random, *, object_: str | None = None, plain: bool = False) -> str:
        """A sentence of the fact; unless `plain`, names may be shortened and numbers respelled."""
        relation, object_ = fact.relation, object_ if object_ is not None else fact.object
        form = rng.choice(relation.forms)
        if plain:
            return fill(form, fact.subject, object_)
        clash = content_words(fact.object) & content_words(fact.rival)
        object_ = surface.object_name(object_, relation.object, rng, may_shorten=not clash)
        subject = surface.subject_name(fact.subject, relation.subject, form, rng)
        return fill(form, subject, object_)

    def _premise(self, fact: Fact, rng: random.Random) -> str:
        """Mostly the bare statement; some premises carry a second fact about the subject."""
        text = self._say(fact, rng, plain=rng.random() < 0.85)
        second = self._second(fact, rng) if rng.random() < 0.06 else None
        if second is None:
            return text
        first, last = (text, second) if rng.random() < 0.5 else (second, text)
        return f"{first} {last}"

    def _second(self, fact: Fact, rng: random.Random) -> str | None:
        relation = self._another_relation(fact.relation, rng)
        if relation is None:
            return None
        object_ = self._names.draw_other(relation.object, [fact.subject, fact.object, fact.rival], rng)
        return fill(rng.choice(relation.forms), fact.subject, object_)

    def _another_relation(self, relation: Relation, rng: random.Random) -> Relation | None:
        """A relation of the same kind of subject that says nothing about this one."""
        fitting = [
            other
            for other in self._synthetic
            if other.subject == relation.subject and other.family != relation.family
        ]
        return rng.choice(fitting) if fitting else None

    # contradictions

    def _other_object(self, fact: Fact, rng: random.Random) -> Pair:
        said = self._say(fact, rng, object_=fact.rival)
        return _pair(self._premise(fact, rng), surface.answer_style(said, rng, details=True))

    def _contradiction_more_text(self, fact: Fact, rng: random.Random) -> Pair:
        """The answer goes on after the contradicting statement, or breaks off in the middle."""
        said = self._say(fact, rng, object_=fact.rival)
        more = (
            self._about(fact.rival, fact.relation.object, rng)
            or self._second(fact, rng)
            or "It is well known."
        )
        more = surface.broken_off(more, rng) if rng.random() < 0.4 else more
        return _pair(self._premise(fact, rng), f"{said} {more}")

    def _denial(self, fact: Fact, rng: random.Random) -> Pair | None:
        if not fact.relation.denials:
            return None
        return _pair(
            self._premise(fact, rng), fill(rng.choice(fact.relation.denials), fact.subject, fact.object)
        )

    def _contrast(self, fact: Fact, rng: random.Random) -> Pair:
        return _pair(self._premise(fact, rng), self._contrasting(fact, fact.rival, fact.object, rng))

    def _contrasting(self, fact: Fact, right: str, wrong: str, rng: random.Random) -> str:
        said = self._say(fact, rng, object_=right, plain=True).rstrip(".")
        return rng.choice(
            [f"{said}, not {wrong}.", f"{said} and not {wrong}.", f"{said} rather than {wrong}."]
        )

    # entailments

    def _paraphrase(self, fact: Fact, rng: random.Random) -> Pair:
        return _pair(self._premise(fact, rng), surface.answer_style(self._say(fact, rng), rng, details=False))

    def _identical(self, fact: Fact, rng: random.Random) -> Pair:
        text = self._say(fact, rng, plain=True)
        return _pair(text, text)

    def _part(self, fact: Fact, rng: random.Random) -> Pair:
        """The premise says more than the answer repeats."""
        said = self._say(fact, rng, plain=True)
        second = self._second(fact, rng)
        if second is not None and rng.random() < 0.5:
            return _pair(f"{said} {second}", self._say(fact, rng))
        return _pair(surface.with_detail(said, rng), self._say(fact, rng))

    def _agreeing_contrast(self, fact: Fact, rng: random.Random) -> Pair:
        return _pair(self._premise(fact, rng), self._contrasting(fact, fact.object, fact.rival, rng))

    def _denies_rival(self, fact: Fact, rng: random.Random) -> Pair | None:
        if not fact.relation.denials:
            return None
        return _pair(
            self._premise(fact, rng), fill(rng.choice(fact.relation.denials), fact.subject, fact.rival)
        )

    def _detail(self, fact: Fact, rng: random.Random) -> Pair:
        """Agreement with a detail that the premise lacks: never a contradiction, else people differ."""
        said = surface.with_detail(self._say(fact, rng), rng)
        return Pair(self._premise(fact, rng), said, (0.6, 0.4, 0.0), "")

    # neutrals

    def _other_subject(self, fact: Fact, rng: random.Random) -> Pair | None:
        other = self._stranger(fact, rng, similar=False)
        return self._about_other(fact, other, fact.rival, rng)

    def _other_subject_same_object(self, fact: Fact, rng: random.Random) -> Pair | None:
        if fact.relation.one_to_one:
            return None
        return self._about_other(
            fact, self._stranger(fact, rng, similar=rng.random() < 0.4), fact.object, rng
        )

    def _similar_subject(self, fact: Fact, rng: random.Random) -> Pair | None:
        return self._about_other(fact, self._stranger(fact, rng, similar=True), fact.rival, rng)

    def _about_other(self, fact: Fact, subject: str, object_: str, rng: random.Random) -> Pair | None:
        if content_words(subject) <= content_words(fact.subject) or content_words(
            fact.subject
        ) <= content_words(subject):
            return None
        other = Fact(fact.relation, subject, object_, fact.rival)
        form_fact = self._say(other, rng, plain=rng.random() < 0.7)
        return _pair(self._premise(fact, rng), surface.answer_style(form_fact, rng, details=True))

    def _stranger(self, fact: Fact, rng: random.Random, *, similar: bool) -> str:
        if fact.relation.triples:
            return rng.choice(fact.relation.triples)[0]
        taken = [fact.subject, fact.object, fact.rival]
        if similar:
            return self._names.draw_similar(fact.relation.subject, fact.subject, rng)
        return self._names.draw_other(fact.relation.subject, taken, rng)

    def _other_relation(self, fact: Fact, rng: random.Random) -> Pair | None:
        second = self._second(fact, rng)
        if second is None:
            return None
        return _pair(self._say(fact, rng, plain=True), surface.answer_style(second, rng, details=True))

    def _trivial(self, fact: Fact, rng: random.Random) -> Pair | None:
        """Loose remarks about the subject, the object, or a namesake."""
        near = self._stranger(fact, rng, similar=True)
        names = [(fact.subject, fact.relation.subject)] * 5 + [(fact.object, fact.relation.object)] * 2
        name, kind = rng.choice([*names, (fact.rival, fact.relation.object), (near, fact.relation.subject)])
        said = self._remark(name, kind, rng)
        return (
            _pair(self._premise(fact, rng), surface.answer_style(said, rng, details=False)) if said else None
        )

    def _remark(self, name: str, kind: str, rng: random.Random) -> str | None:
        if kind not in self._trivia:
            return None
        return fill(self._names.expand(rng.choice(self._trivia[kind]), rng), name, "")

    def _other_relation_same_object(self, fact: Fact, rng: random.Random) -> Pair | None:
        """The same two names, bound by something else."""
        fitting = [
            other
            for other in self._synthetic
            if (other.subject, other.object) == (fact.relation.subject, fact.relation.object)
            and other.family != fact.relation.family
        ]
        if not fitting:
            return None
        relation = rng.choice(fitting)
        object_ = fact.object if rng.random() < 0.6 else fact.rival
        return _pair(
            self._say(fact, rng, plain=True), fill(rng.choice(relation.forms), fact.subject, object_)
        )

    def _about_object(self, fact: Fact, rng: random.Random) -> Pair | None:
        """What language models drift to: sentences about the answer and not about the subject."""
        name = fact.object if rng.random() < 0.6 else fact.rival
        said = self._about(name, fact.relation.object, rng)
        return (
            _pair(self._premise(fact, rng), surface.answer_style(said, rng, details=True)) if said else None
        )

    def _about(self, name: str, kind: str, rng: random.Random) -> str | None:
        fitting = [relation for relation in self._synthetic if relation.subject == kind]
        if not fitting or rng.random() < 0.3:
            return self._remark(name, kind, rng)
        relation = rng.choice(fitting)
        return fill(rng.choice(relation.forms), name, self._names.draw_other(relation.object, [name], rng))

    def _unrelated(self, fact: Fact, rng: random.Random) -> Pair:
        other = self._fact(rng)
        same = (
            content_words(other.subject) & content_words(fact.subject)
            or other.relation.family == fact.relation.family
        )
        said = rng.choice(self._off_topic) if same or rng.random() < 0.4 else self._say(other, rng)
        return _pair(self._premise(fact, rng), said)

    def _degenerate(self, fact: Fact, rng: random.Random) -> Pair:
        form = rng.choice(fact.relation.forms)
        rivals = (
            [self._names.draw(fact.relation.object, rng) for _ in range(5)]
            if not fact.relation.triples
            else []
        )
        said = surface.degenerate(form, fact.subject, rng.choice([fact.object, fact.rival]), rivals, rng)
        return _pair(self._premise(fact, rng), said)


def _pair(premise: str, hypothesis: str) -> Pair:
    return Pair(premise, hypothesis, (0.0, 0.0, 0.0), "")
