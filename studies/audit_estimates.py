r"""Compares an audit's estimates of each edit with a large direct sample of the reference.

    python -m examples.edits lora n=24 out=edits/lora24
    python -m studies.audit_estimates --edited edits/lora24 --edits edits/lora24/edits.jsonl \
        --direct 128 --n 32 64 --out studies/out

Direct: questions of the untrained sampler, independent, each as often as it was drawn; its interval
is that of a binomial share. Compared with it, per edit and for each n:

- union: n different questions, half of either sampler, as an audit draws and weighs them;
- mixture: n independent questions, half of either sampler, with the weights of Owen and Zhou
  (2000).

Two estimates are independent, so even a perfect one lies outside a 95 % interval of the direct one
more often than in 5 %, the more so the fewer questions it has. `expected` is how many would lie
inside, by the normal approximation with the standard errors of both; `agree` counts the edits in
which the interval of the difference of both holds 0, which 95 % shall. Draws and answers are kept
in the folder `--out`: a study that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float

from contraflow import open_run
from contraflow.auditing.asking.ask import ask, inquiries, is_sound, verdict
from contraflow.auditing.asking.questions import DrawBook, Sampling, own_questions
from contraflow.auditing.asking.standing import Standing, standing_of
from contraflow.auditing.outcome.result import Estimate
from contraflow.auditing.statistics.estimates import proportion, rate
from contraflow.auditing.statistics.weights import mixture_weights
from contraflow.facts import Fact
from contraflow.facts.edits import read_edits
from contraflow.policy.lora import LoraPolicy
from contraflow.run.answer_book import AnswerBook
from contraflow.run.answerers import Answerers, open_answerers
from contraflow.run.sampler_identity import sampler_identity
from contraflow.seeding import torch_rng
from contraflow.system.progress import bar
from contraflow.types import AskStyle, Questions
from studies.audit_agreement import RATES, Comparison, shown, table

CONTROL = "packaged:smollm2-135m-instruct"
STYLE: AskStyle = "few_shot"
AT_ONCE = 64  # questions sampled at a time


@dataclass(frozen=True)
class Drawn:
    """Questions about one edit, repeats among them; log_p and log_other are of P_Q and P_F."""

    texts: list[str]
    log_p: Float[np.ndarray, " n"]
    log_other: Float[np.ndarray, " n"]

    def first(self, n: int) -> Drawn:
        """The first n of them."""
        return Drawn(self.texts[:n], self.log_p[:n], self.log_other[:n])


@dataclass(frozen=True)
class Mixture:
    """Draws of both samplers with their weights."""

    drawn: Drawn
    weights: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Said:
    """What the control and one edited model say to questions: known, failing, residual."""

    known: Bool[np.ndarray, " n"]
    edit_failure: Bool[np.ndarray, " n"]
    residual_belief: Bool[np.ndarray, " n"]


@dataclass
class Study:
    """The sampler, who answers, and what has been drawn and asked."""

    policy: LoraPolicy
    identity: str
    models: Answerers
    book: AnswerBook
    out: Path
    seed: int = 0

    def standings(self, path: Path, n_facts: int) -> list[Standing]:
        """The first edits of a file that the control knows."""
        found = []
        for edit in read_edits(path).edits[:n_facts]:
            texts = [question.text for question in own_questions(edit)]
            answers = ask(self.book, self.models.control, inquiries(texts, [STYLE]))
            found.append(standing_of(edit, STYLE, answers))
        return [standing for standing in found if standing.is_counted]

    def independent(self, fact: Fact, n: int, purpose: str, *, frozen: bool) -> list[Questions]:
        """n independent questions of the untrained or of the trained sampler, in batches."""
        rng = torch_rng(self.seed, "study", purpose, fact.fact_id)
        return [
            self._sampled(fact, min(AT_ONCE, n - start), rng, frozen=frozen)
            for start in range(0, n, AT_ONCE)
        ]

    def _sampled(self, fact: Fact, n: int, rng: torch.Generator, *, frozen: bool) -> Questions:
        if not frozen:
            return self.policy.sample([fact], n, rng)
        with self.policy.lm.frozen():
            return self.policy.sample([fact], n, rng)

    def _scored(self, fact: Fact, questions: Questions) -> Drawn:
        index = torch.zeros(len(questions.lengths), dtype=torch.long)
        with torch.no_grad():
            prior = self.policy.prior([fact], index, questions).log_p_question
            other = self.policy.evaluate([fact], index, questions).log_p_question
        texts = self.policy.texts(questions)
        return Drawn(texts, prior.double().numpy(), other.double().numpy())

    def said(self, standing: Standing, model: int, texts: Sequence[str]) -> Said:
        """Ask what can count: sound questions of the control, known ones of the edited model."""
        pre = self._verdicts(standing, -1, [t for t in texts if self._is_sound(standing, t)])
        known = [pre.get(text) == "OLD" for text in texts]
        asked = [text for text, is_known in zip(texts, known, strict=True) if is_known]
        post = self._verdicts(standing, model, asked)
        return Said(
            known=np.array(known, dtype=bool),
            edit_failure=np.array([post.get(text, "NEW") != "NEW" for text in texts], dtype=bool),
            residual_belief=np.array([post.get(text) == "OLD" for text in texts], dtype=bool),
        )

    @staticmethod
    def _is_sound(standing: Standing, text: str) -> bool:
        return is_sound(standing.edit, standing.original_answer, text)

    def _verdicts(self, standing: Standing, model: int, texts: Sequence[str]) -> dict[str, str]:
        answerer = self.models.control if model < 0 else self.models.edited[model]
        asked = inquiries(texts, [STYLE])
        answers = ask(self.book, answerer, asked)
        return {
            inquiry.text: verdict(
                standing.edit, standing.original_answer, inquiry.text, answers[inquiry].text
            )
            for inquiry in asked
        }

    def compared(
        self, standing: Standing, n_direct: int, sizes: Sequence[int]
    ) -> Iterator[Comparison]:
        """Both rates of one edit under every edited model."""
        fact = standing.edit.fact
        batches = self.independent(fact, n_direct, "direct", frozen=True)
        direct = [text for batch in batches for text in self.policy.texts(batch)]
        prior, other = self._halves(fact, max(sizes))
        for number, model in enumerate(self.models.edited):
            said = self.said(standing, number, direct)
            others: dict[str, dict[str, Estimate]] = {}
            for n in sizes:
                others[f"union {n}"] = self._union_rates(standing, number, n)
                mixture = mixture_of(prior, other, n)
                others[f"mixture {n}"] = self._mixture_rates(standing, number, mixture)
            for name in RATES:
                hit = getattr(said, name)
                yield Comparison(
                    fact.subject,
                    model.name,
                    name,
                    proportion(int(hit[said.known].sum()), int(said.known.sum())),
                    {other: rates[name] for other, rates in others.items()},
                )

    def _halves(self, fact: Fact, n: int) -> tuple[Drawn, Drawn]:
        """Independent questions of both samplers, n together."""
        prior = self.independent(fact, n - n // 2, "prior", frozen=True)
        other = self.independent(fact, n // 2, "sampler", frozen=False)
        return (
            joined([self._scored(fact, batch) for batch in prior]),
            joined([self._scored(fact, batch) for batch in other]),
        )

    def _mixture_rates(
        self, standing: Standing, model: int, mixture: Mixture
    ) -> dict[str, Estimate]:
        said = self.said(standing, model, mixture.drawn.texts)
        return {name: rate(mixture.weights, said.known, getattr(said, name)) for name in RATES}

    def _union_rates(self, standing: Standing, model: int, n: int) -> dict[str, Estimate]:
        sampling = Sampling(n - n // 2, n // 2, self.seed, self.identity)
        book = DrawBook(self.out / "draws.jsonl", sampling)
        book.draw(self.policy, [standing.edit], lambda _: None)
        draws = book.of(standing.edit)
        said = self.said(standing, model, [question.text for question in draws.questions])
        weights = np.array([question.weight for question in draws.questions])
        log_p = np.array([question.log_p_prior for question in draws.questions])
        return {
            name: rate(weights, said.known, getattr(said, name), log_p, draws.largest_unseen)
            for name in RATES
        }


def joined(parts: Sequence[Drawn]) -> Drawn:
    """Several draws as one."""
    return Drawn(
        [text for part in parts for text in part.texts],
        np.concatenate([part.log_p for part in parts]),
        np.concatenate([part.log_other for part in parts]),
    )


def mixture_of(prior: Drawn, other: Drawn, n: int) -> Mixture:
    """The first n draws, half of either sampler."""
    n_prior = n - n // 2
    drawn = joined([prior.first(n_prior), other.first(n // 2)])
    return Mixture(drawn, mixture_weights(drawn.log_p, drawn.log_other, n_prior) / n)


def main() -> None:
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    run = open_run("shipped")
    models = open_answerers(args.edited, CONTROL, config=run.config)
    comparisons: list[Comparison] = []
    with AnswerBook(args.out / "answers.jsonl") as book:
        study = Study(run.policy, sampler_identity(run), models, book, args.out, args.seed)
        standings = study.standings(args.edits, args.facts)
        with bar("edits compared", len(standings)) as progress:
            for standing in standings:
                found = list(study.compared(standing, args.direct, args.n))
                comparisons += found
                _write(args.out / "comparisons.json", comparisons)
                failure = found[0]
                cells = [f"{name} {shown(e)}" for name, e in failure.others.items()]
                print(f"{failure.subject}: direct {shown(failure.direct)}; {'; '.join(cells)}")
                progress.advance()
    print(table(comparisons, [f"{kind} {n}" for n in args.n for kind in ("union", "mixture")]))


def _write(path: Path, comparisons: Sequence[Comparison]) -> None:
    rows = [
        {
            "subject": c.subject,
            "model": c.model,
            "rate": c.rate,
            "direct": _numbers(c.direct),
            **{name: _numbers(estimate) for name, estimate in c.others.items()},
        }
        for c in comparisons
    ]
    path.write_text(json.dumps(rows, indent=1) + "\n")


def _numbers(estimate: Estimate) -> dict[str, float | int | None]:
    return {key: getattr(estimate, key) for key in ("value", "low", "high", "n", "ess")}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--edited", nargs="+", required=True, help="edited models, as in an audit")
    parser.add_argument("--edits", type=Path, required=True, help="the file of their edits")
    parser.add_argument("--facts", type=int, default=24, help="how many edits of the file")
    parser.add_argument("--direct", type=int, default=128, help="questions of the direct sample")
    parser.add_argument("--n", type=int, nargs="+", default=[32, 64], help="of each estimate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder of draws, answers, results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
