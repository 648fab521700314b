"""What users would pick instead of training with the balance losses, at a given number of answers.

    python -m studies.fit.baselines untrained OVERRIDES run_dir=FOLDER
    python -m studies.fit.baselines resample  OVERRIDES run_dir=FOLDER --questions 5760
    python -m studies.fit.baselines finetune  OVERRIDES run_dir=FOLDER --questions 5760 --keep 2

- `untrained`: the base model with our prompt.
- `resample`: sampling-importance-resampling. The questions are drawn from the untrained sampler for
  the test facts themselves, all of them are answered, and n are kept in proportion to R / P_Q.
- `finetune`: the questions are drawn for training facts, the best ``keep`` different ones of each
  fact by reward are learned by maximum likelihood, and the sampler is measured on the test facts.

Each writes a run folder that `studies.fit.results` and `contraflow evaluate` can read.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from contraflow import compose_config, default_facts
from contraflow.evaluation.grouping import by_fact
from contraflow.evaluation.metrics import compute_metrics, write_metrics
from contraflow.evaluation.records import QuestionRecord, write_records
from contraflow.experience.collect import sample_questions
from contraflow.experience.scorer import SampledQuestion, Scorer
from contraflow.facts import Fact, read_facts
from contraflow.models.embedder import load_embedder
from contraflow.policy.adapter import model_card, save_adapter
from contraflow.policy.lora import LoraPolicy, fact_index_of, stack_questions
from contraflow.reward.schedule import RewardParts
from contraflow.run.build import Parts, assemble
from contraflow.run.encoder import why_no_encoder
from contraflow.run.folder import open_folder, record_cost
from contraflow.run.session import Run
from contraflow.seeding import derived_seed, python_rng, torch_rng
from contraflow.settings import Config, flat, shown_settings
from contraflow.system.files import write_atomically
from contraflow.training.choose_facts import ChosenFacts, choose_facts
from contraflow.training.learning_rate import WarmupCosine

FACTS_AT_ONCE = 8


@dataclass(frozen=True)
class Budget:
    """questions: answers that may be asked for. keep, epochs: of `finetune`."""

    questions: int
    keep: int
    epochs: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("untrained", "resample", "finetune"))
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--questions", type=int, default=5760)
    parser.add_argument("--keep", type=int, default=2, help="best questions of a fact to learn")
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_intermixed_args()
    make(args.kind, compose_config(args.overrides), Budget(args.questions, args.keep, args.epochs))


def make(kind: str, config: Config, budget: Budget) -> Path:
    """Make one baseline, measure it on the run's test facts, and return its folder.

    Raises: UserError for settings and models that do not fit.
    """
    started = time.monotonic()
    folder = open_folder(config)
    (folder / "finished").unlink(missing_ok=True)
    parts = assemble(config, adapter=None)
    untrained = Run.of("untrained", parts)
    available = default_facts() if config.data.facts is None else read_facts(config.data.facts)
    facts = choose_facts(config, folder, available, untrained.oracle)
    n = config.evaluation.n_samples
    asked = 0
    if kind == "resample":
        per_fact = max(n, budget.questions // len(facts.test))
        asked = per_fact * len(facts.test)
        _measure(folder, config, resampled(untrained, facts.test, per_fact, n))
    else:
        run = untrained
        if kind == "finetune":
            run, asked = _finetuned(config, untrained, parts, facts, budget)
        records = list(run.generate(facts.test, n, seed=config.seed))
        _measure(folder, config, records)
    write_atomically(folder / "cost.json", b'{"questions": %d}\n' % asked)
    record_cost(folder, time.monotonic() - started)
    (folder / "finished").touch()
    return folder


def resampled(run: Run, facts: Sequence[Fact], per_fact: int, n: int) -> list[QuestionRecord]:
    """``n`` questions per fact out of ``per_fact``, with replacement, by R / P_Q."""
    rng = np.random.default_rng(derived_seed(run.config.seed, "resample"))
    kept: list[QuestionRecord] = []
    records = run.generate(facts, per_fact, seed=derived_seed(run.config.seed, "candidates"))
    for group in by_fact(records).values():
        log_weight = np.array([record.log_reward - record.log_pf for record in group])
        weight = np.exp(log_weight - log_weight.max())
        rows = rng.choice(len(group), n, p=weight / weight.sum())
        kept += [group[row] for row in rows]
    return kept


def _measure(folder: Path, config: Config, records: list[QuestionRecord]) -> None:
    rng = np.random.default_rng(derived_seed(config.seed, "bootstrap"))
    embed = load_embedder() if why_no_encoder() is None else None
    write_records(folder / "evaluation" / "after_questions.jsonl", records)
    write_metrics(folder / "evaluation" / "after.json", compute_metrics(records, rng, embed))


def _finetuned(
    config: Config, untrained: Run, parts: Parts, facts: ChosenFacts, budget: Budget
) -> tuple[Run, int]:
    """The sampler after fine-tuning on its own best questions, and the answers it cost."""
    n = config.exploration.n_samples
    chosen = facts.train[: max(1, budget.questions // n)]
    best = [q for batch in _batches(chosen) for q in _best(untrained, batch, n, budget.keep)]
    trainable = parts.with_fresh_adapter()
    learn(trainable.policy, config, best, budget.epochs)
    name = config.model.name
    card = model_card(name, flat(shown_settings(config)), "Fine-tuned on its own best questions.")
    save_adapter(trainable.policy, Path(config.run_dir) / "adapter", name, card)
    return Run.of("finetuned", trainable), len(chosen) * n


def _batches(facts: Sequence[Fact]) -> list[Sequence[Fact]]:
    return [facts[start : start + FACTS_AT_ONCE] for start in range(0, len(facts), FACTS_AT_ONCE)]


def _best(run: Run, facts: Sequence[Fact], n: int, keep: int) -> list[SampledQuestion]:
    """The ``keep`` different questions of each fact with the highest reward, of n sampled ones."""
    key = facts[0].key
    rng = torch_rng(run.config.seed, "candidates", key, device=run.policy.lm.device)
    sampled = sample_questions(run.policy, facts, n, rng)
    scored = Scorer(run.policy, run.oracle, run.judge).score(sampled, step=0)
    rewards = run.reward(RewardParts.of(scored), run.reward.final_step).log_reward.tolist()
    ordered = sorted(zip(rewards, sampled, strict=True), key=lambda pair: -pair[0])
    found: dict[str, dict[str, SampledQuestion]] = {}
    for _, question in ordered:
        of_fact = found.setdefault(question.fact.key, {})
        if len(of_fact) < keep:
            of_fact.setdefault(question.text, question)
    return [question for of_fact in found.values() for question in of_fact.values()]


def learn(
    policy: LoraPolicy, config: Config, questions: Sequence[SampledQuestion], epochs: int
) -> None:
    """Maximum likelihood of the questions, in batches of one training step's size."""
    size = config.trainer.facts_per_step * config.exploration.n_samples
    n_steps = epochs * -(-len(questions) // size)
    weights = [p for p in policy.lm.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=config.optimizer.lr, betas=(0.9, 0.99))
    share = WarmupCosine(config.optimizer.warmup_steps, config.optimizer.final_lr_share, n_steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    for epoch in range(epochs):
        order = list(questions)
        python_rng(config.seed, "finetune", epoch).shuffle(order)
        for start in range(0, len(order), size):
            loss = -_log_pf(policy, order[start : start + size]).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, config.optimizer.grad_clip)
            optimizer.step()
            schedule.step()


def _log_pf(policy: LoraPolicy, questions: Sequence[SampledQuestion]) -> torch.Tensor:
    facts = list({q.fact.key: q.fact for q in questions}.values())
    device = policy.lm.device
    index = fact_index_of(facts, [q.fact.key for q in questions], device)
    ids = stack_questions([q.ids for q in questions], device)
    return policy.evaluate(facts, index, ids).log_p_question


if __name__ == "__main__":
    main()
