"""Open a trained or untrained sampler with its oracle and judge: generate, evaluate, answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from contraflow.errors import UserError
from contraflow.evaluation.metrics import Metrics, compute_metrics
from contraflow.evaluation.per_fact import Embed
from contraflow.evaluation.record_book import RecordBook
from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.rollout import rollout
from contraflow.evaluation.target_report import TargetEstimate, estimate_target
from contraflow.experience.scorer import Scorer
from contraflow.facts import Fact
from contraflow.facts.locate import FactError
from contraflow.models.embedder import load_embedder
from contraflow.policy.adapter import check_adapter
from contraflow.policy.lora import LoraPolicy
from contraflow.reward.judge.scores import Judge, LengthLimited
from contraflow.reward.schedule import RewardSchedule
from contraflow.run.arguments import as_facts, as_questions, check_config, check_flag
from contraflow.run.build import Parts, assemble
from contraflow.run.encoder import why_no_encoder
from contraflow.run.folder import one_line, read_settings
from contraflow.run.known import known_to
from contraflow.run.own_checks import check_own
from contraflow.run.own_objects import OwnObjects, print_left_out
from contraflow.run.same_sampler import check_same_sampler
from contraflow.run.sampling import check_count, check_draws
from contraflow.seeding import derived_seed
from contraflow.settings import Config
from contraflow.system.run_names import SHIPPED, run_folder
from contraflow.text.tokens import normalize
from contraflow.types import Answer, Oracle

MOST_SHOWN = 80  # characters of a value in a message


@dataclass
class Run:
    """A sampler with its oracle, judge and reward; made by `open_run`.

    batches: scored questions of a command that was stopped, and of this one (`keeping`).
    """

    name: str
    config: Config
    policy: LoraPolicy
    oracle: Oracle
    judge: Judge
    reward: RewardSchedule
    batches: RecordBook | None = None

    @classmethod
    def of(cls, name: str, parts: Parts) -> Run:
        """A run of parts that have both an oracle and a judge. Raises: ValueError without them."""
        if parts.oracle is None or parts.judge is None:
            raise ValueError(f"run {name}: needs the roles oracle and judge")
        return cls(name, parts.config, parts.policy, parts.oracle, parts.judge, parts.reward)

    def __post_init__(self) -> None:
        self._scorer = Scorer(self.policy, self.oracle, self.judge)

    def check_facts(self, facts: Sequence[Fact]) -> None:
        """Refuse facts that the sampler or the judge cannot read whole.

        A statement that is cut before the judge sees its end gets the score of another statement.

        Raises: FactError naming the fact and the remedy.
        """
        self.policy.encode(facts)
        if not isinstance(self.judge, LengthLimited):
            return
        for field in ("edit_fact", "original_fact"):
            cut = self.judge.cut_premises([getattr(fact, field) for fact in facts])
            if cut:
                fact = facts[cut[0]]
                text = getattr(fact, field)
                raise FactError(
                    fact.fact_id,
                    f"its {field} {text[:40]!r}… is too long for the judge, "
                    f"which would not read its end ({len(cut)} of {len(facts)} facts); shorten "
                    "the statement, or choose a judge that reads more tokens",
                )

    def generate(
        self,
        facts: Iterable[Fact],
        n: int = 8,
        *,
        temperature: float = 1.0,
        seed: int = 0,
        distinct: bool = False,
        same: Callable[[str], str] | None = normalize,
        on_fact: Callable[[int], None] | None = None,
    ) -> Iterator[QuestionRecord]:
        """Sample n questions per fact, with answers, every reward part and log P_F.

        log R is that of the schedule's last phase. With ``distinct`` the n questions of a fact are
        different: drawn without replacement, in the order of the draws, with the log-probability of
        being drawn; ``same`` says which are equal (`rollout`). ``on_fact`` is called with the
        number of facts that are done.

        Raises: UserError, at once, for facts that are none, and for an n, temperature, seed or
            distinct that cannot be sampled with.
        """
        return self._rollout(
            facts,
            n,
            temperature=temperature,
            seed=seed,
            distinct=distinct,
            same=same,
            on_fact=on_fact,
        )

    def evaluate(
        self,
        facts: Iterable[Fact],
        n_samples: int = 8,
        *,
        temperature: float = 1.0,
        seed: int = 0,
        distinct: bool = False,
        keep: Callable[[Iterator[QuestionRecord]], Iterable[QuestionRecord]] | None = None,
        on_fact: Callable[[int], None] | None = None,
    ) -> tuple[Metrics, list[QuestionRecord]]:
        """Compute metrics with bootstrap intervals; returns the measured questions too.

        With ``distinct`` they are plain means over different questions, not over draws. ``keep``
        says which of the sampled questions are measured (`evaluation.resampling`).

        Without the packaged sentence encoder its two metrics are left out, in one printed line.

        Raises: UserError as `generate`.
        """
        check_count("n_samples", n_samples)
        drawn = self.generate(
            facts,
            n_samples,
            temperature=temperature,
            seed=seed,
            distinct=distinct,
            on_fact=on_fact,
        )
        records = list(drawn if keep is None else keep(drawn))
        rng = np.random.default_rng(derived_seed(seed, "bootstrap"))
        return compute_metrics(records, rng, _embed()), records

    def draw_for_target(
        self,
        facts: Iterable[Fact],
        n: int,
        *,
        seed: int = 0,
        on_fact: Callable[[int], None] | None = None,
    ) -> list[QuestionRecord]:
        """n different token sequences of the prior per fact, each with its `log_inclusion`.

        They estimate what an exact sampler of the target has (`evaluation.target_report`).
        """
        drawn = self._rollout(
            facts, n, seed=seed, distinct=True, same=None, frozen=True, on_fact=on_fact
        )
        return list(drawn)

    def estimate_target(
        self,
        drawn: Sequence[QuestionRecord],
        samplers: Mapping[str, Sequence[QuestionRecord]],
        n: int,
        *,
        seed: int = 0,
    ) -> TargetEstimate:
        """What an exact sampler of this target would have, beside real ones on the same facts.

        Args:
            drawn: by `draw_for_target`.
            samplers: the questions of each evaluated sampler, by stage (`evaluation.stages`).
            n: draws of the exact sampler per fact.
        Raises: UserError when n is not a whole number of at least 1.
        """
        check_count("n", n)
        return estimate_target(drawn, samplers, n, seed, _embed())

    def _rollout(self, facts: Iterable[Fact], n: int, **options: Any) -> Iterator[QuestionRecord]:
        """`rollout` with the parts of this run, in the schedule's last phase."""
        check_count("n", n)
        check_draws(options.get("temperature", 1.0), options["seed"])
        check_flag("distinct", options["distinct"])
        facts = as_facts(facts)
        self.check_facts(facts)
        step = self.reward.final_step
        options |= {"n_samples": n, "step": step, "batches": self.batches}
        return rollout(self.policy, self._scorer, self.reward, facts, **options)

    def answer(self, questions: Iterable[str]) -> list[Answer]:
        """Answer questions with the frozen base model.

        Raises: UserError for a single text, and for questions that are no texts.
        """
        return self.oracle.answer(as_questions(questions))

    def known_facts(self, facts: Iterable[Fact]) -> list[Fact]:
        """The facts whose plain question the base model answers correctly.

        Raises: UserError for facts that are none.
        """
        return known_to(self.oracle, as_facts(facts))


def _shown(value: object) -> str:
    """A value in a message; its kind alone where that would fill the screen."""
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"a {type(value).__name__}"


def _embed() -> Embed | None:
    """The packaged sentence encoder, or None where it is not there."""
    return load_embedder() if why_no_encoder() is None else None


def open_run(
    run: str | Path,
    config: Config | None = None,
    *,
    judge: Judge | None = None,
    reward: RewardSchedule | None = None,
) -> Run:
    """Open a run folder, ``"shipped"``: the sampler in the package, or ``"untrained"``.

    The last is the sampler of ``config`` without its adapter.

    A ``config`` beside a folder says who answers and who judges, with which reward and device.
    What its sampler was trained with (model, prompt.task, policy) must be that of the run:
    take `read_run_config(folder)` and change the rest. ``judge`` and ``reward`` replace its own.

    Raises: UserError when the folder is not a run or has no adapter yet, "untrained" comes without
        a config, a config is none or has another sampler, or judge or reward is none.
    """
    if not isinstance(run, str | Path):
        raise UserError(
            f'open_run: run={_shown(run)}: must be a run folder, "shipped" or "untrained"'
        )
    if config is not None:
        check_config("open_run", config)
    given = OwnObjects(judge=judge, reward=reward)
    check_own("open_run", given)
    if str(run) == "untrained":
        if config is None:
            raise UserError(
                'open_run("untrained") needs a config: pass contraflow.compose_config()'
            )
        return _open("untrained", config, None, given)
    folder = run_folder(run)
    own = read_run_config(folder)
    if config is not None:
        check_same_sampler(folder, own, config)
    name = str(run) if str(run) == SHIPPED else folder.name
    print_left_out(folder, given)
    return _open(name, config or own, folder / "adapter", given)


def read_run_config(folder: str | Path) -> Config:
    """The settings that a run was trained with. Raises: UserError when the folder is not a run."""
    path = Path(folder).expanduser() / "config.yaml"
    if not path.is_file():
        raise UserError(
            f"run={folder}: not a run folder (no config.yaml); give a folder that `contraflow "
            "train` has written, "
            "or run=untrained"
        )
    saved = read_settings(path, "copy it again")
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), saved))
    except OmegaConfBaseException as error:
        raise UserError(
            f"{path}: is not what `contraflow train` wrote ({one_line(error)}); copy it again"
        ) from None
    assert isinstance(config, Config)
    return config


def _open(name: str, config: Config, adapter: Path | None, given: OwnObjects) -> Run:
    if adapter is not None and not (adapter / "adapter_model.safetensors").is_file():
        raise UserError(
            f"{adapter}: no trained adapter yet; finish the run with `contraflow train name={name}`"
        )
    if adapter is not None:
        check_adapter(adapter)
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    return Run.of(name, assemble(config, adapter=adapter, own=given))
