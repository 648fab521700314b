"""The sentences that pairs consist of: statements of facts, remarks, and other subjects."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contraflow.reward.judge.training import surface
from contraflow.reward.judge.training.names import Names, content_words
from contraflow.reward.judge.training.relations import Relation, fill

REAL_SHARE = 0.22  # share of facts from ParaRel triples


@dataclass(frozen=True)
class Fact:
    """A counterfactual: relation, subject, the object of the premise, and a rival object."""

    relation: Relation
    subject: str
    object: str
    rival: str


class Sentences:
    """Draws facts and writes sentences; relations, names and remarks are those of one split."""

    def __init__(
        self, relations: Sequence[Relation], names: Names, trivia: Mapping[str, Sequence[str]]
    ) -> None:
        self.synthetic = [relation for relation in relations if not relation.triples]
        self.names = names
        self._real = [relation for relation in relations if relation.triples]
        self._trivia = trivia

    def fact(self, rng: random.Random) -> Fact:
        """A counterfactual of a random relation."""
        is_real = rng.random() < REAL_SHARE and bool(self._real)
        relation = rng.choice(self._real if is_real else self.synthetic)
        if relation.triples:
            return self._real_fact(relation, rng)
        subject = self.names.draw(relation.subject, rng)
        if relation.object == "opposite":
            first, rival = self.names.draw_opposites("opposite", rng)
            return Fact(relation, subject, first, rival)
        first = self.names.draw_other(relation.object, [subject], rng)
        return Fact(relation, subject, first, self._rival(relation, subject, first, rng))

    def _rival(self, relation: Relation, subject: str, taken: str, rng: random.Random) -> str:
        """Usually a name with other words; sometimes a similar one (1912 and 1913, two Annas)."""
        if relation.object == "year" and rng.random() < 0.5:
            distances = [-30, -20, -12, -10, -5, -3, -2, -1, 1, 2, 3, 4, 7, 10, 15, 25]
            return str(int(taken) + rng.choice(distances))
        if rng.random() < 0.2:
            other = self.names.draw_similar(relation.object, taken, rng)
            words = content_words(other)
            taken_words = content_words(taken)
            if not words <= taken_words and not taken_words <= words:
                return other
        for _ in range(50):
            other = self.names.draw_other(relation.object, [subject, taken], rng)
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

    def say(
        self,
        fact: Fact,
        rng: random.Random,
        *,
        object_: str | None = None,
        plain: bool = False,
        pronoun: bool = True,
    ) -> str:
        """A sentence that states the fact, or the relation with another `object_`.

        Unless `plain`, names may be shortened and numbers spelled differently.
        """
        relation = fact.relation
        if object_ is None:
            object_ = fact.object
        form = surface.fronted(rng.choice(relation.forms), rng)
        if plain:
            return fill(form, fact.subject, object_)
        shared = content_words(fact.object) & content_words(fact.rival)
        object_ = surface.object_name(object_, relation.object, rng, may_shorten=not shared)
        subject = surface.subject_name(fact.subject, relation.subject, form, rng, pronoun=pronoun)
        return fill(form, subject, object_)

    def premise(self, fact: Fact, rng: random.Random) -> str:
        """Usually the statement alone; some premises also state a second fact of the subject."""
        text = self.say(fact, rng, plain=rng.random() < 0.85, pronoun=False)
        second = self.second(fact, rng) if rng.random() < 0.06 else None
        if second is None:
            return text
        first, last = (text, second) if rng.random() < 0.5 else (second, text)
        return f"{first} {last}"

    def second(self, fact: Fact, rng: random.Random) -> str | None:
        """A statement of another relation about the same subject."""
        relation = self._another_relation(fact.relation, rng)
        if relation is None:
            return None
        taken = [fact.subject, fact.object, fact.rival]
        object_ = self.names.draw_other(relation.object, taken, rng)
        return fill(rng.choice(relation.forms), fact.subject, object_)

    def _another_relation(self, relation: Relation, rng: random.Random) -> Relation | None:
        """A relation with the same type of subject that neither implies nor excludes this one."""
        fitting = []
        for other in self.synthetic:
            if other.subject == relation.subject and other.family != relation.family:
                fitting.append(other)
        return rng.choice(fitting) if fitting else None

    def stranger(self, fact: Fact, rng: random.Random, *, similar: bool) -> str:
        """Another subject of the same type; its name shares words with this one's if `similar`."""
        if fact.relation.triples:
            return rng.choice(fact.relation.triples)[0]
        taken = [fact.subject, fact.object, fact.rival]
        if similar:
            return self.names.draw_similar(fact.relation.subject, fact.subject, rng)
        return self.names.draw_other(fact.relation.subject, taken, rng)

    def about(self, name: str, kind: str, rng: random.Random) -> str | None:
        """A statement or remark whose subject is `name`."""
        fitting = [relation for relation in self.synthetic if relation.subject == kind]
        if not fitting or rng.random() < 0.45:
            # Remarks `…_object` describe an answer and concern no relation of the subject.
            of_object = f"{kind}_object"
            use_object = rng.random() < 0.6 and of_object in self._trivia
            return self.remark(name, of_object if use_object else kind, rng)
        relation = rng.choice(fitting)
        form = rng.choice(relation.forms)
        return fill(form, name, self.names.draw_other(relation.object, [name], rng))

    def remark(self, name: str, kind: str, rng: random.Random) -> str | None:
        """A remark about a name of this type that states no relation."""
        if kind not in self._trivia:
            return None
        pattern = rng.choice(self._trivia[kind])
        return fill(self.names.expand(pattern, rng), name, "")
