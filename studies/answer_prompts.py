"""Compares answer prompts, the examples that the oracle sees before a question.

    python -m studies.answer_prompts --facts 90 --samples 8

Samples questions on held-out facts, lets the oracle answer them after each prompt, and prints for
each prompt how many of the facts the oracle knows (it answers a plain question right), the strict
success of the questions on those and on all facts, and the words of an answer. The questions are
those of the untrained sampler by default, because it was trained with none of the prompts.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import msgspec
import numpy as np

from contraflow import compose_config, default_facts, open_run
from contraflow.evaluation.records import QuestionRecord
from contraflow.evaluation.verdicts import verdict_of
from contraflow.facts import Fact, split_facts
from contraflow.facts.known import known_facts
from contraflow.models.causal_lm import CausalLM
from contraflow.run import build
from contraflow.seeding import python_rng
from contraflow.settings import Config
from contraflow.text.match import gives_away
from contraflow.text.prompts import answer_prompt, task_prompt

PLAIN = {  # the default, `configs/prompt/_answer.yaml`
    "What is the capital of Germany?": "The capital of Germany is Berlin.",
    "Who wrote Romeo and Juliet?": "William Shakespeare wrote Romeo and Juliet.",
    "What is the chemical symbol for oxygen?": "The chemical symbol for oxygen is O.",
    "What is a baby sheep called?": "A baby sheep is called a lamb.",
    "In which country is Mount Fuji?": "Mount Fuji is in Japan.",
}
MORE_PLAIN = PLAIN | {
    "Who painted the Mona Lisa?": "The Mona Lisa was painted by Leonardo da Vinci.",
    "Where is Toyota based?": "Toyota is based in Japan.",
    "When did the French Revolution begin?": "The French Revolution began in 1789.",
    "What field did Isaac Newton work in?": "Isaac Newton worked in the field of physics.",
    "Which sport is Roger Federer known for?": "Roger Federer is known for tennis.",
    "In which country is the Amazon River?": "The Amazon River is in Brazil.",
}
ONE_WORD = dict(zip(PLAIN, ("Berlin", "William Shakespeare", "O", "lamb", "Japan"), strict=True))
MORE_SAID = {
    "What is the capital of Germany?": "The capital of Germany is Berlin.",
    "What is a baby sheep called?": "A baby sheep is called a lamb.",
    "When did the French Revolution begin?": "The French Revolution began in 1789.",
    "Who wrote Romeo and Juliet?": "Romeo and Juliet was written by William Shakespeare, "
    "the English playwright.",
    "What is the chemical symbol for oxygen?": "The chemical symbol for oxygen is O.",
    "In which country is Mount Fuji?": "Mount Fuji is a mountain in Japan, Asia.",
    "Who painted the Mona Lisa?": "The Mona Lisa was painted by Leonardo da Vinci, "
    "the Italian painter.",
    "Where is Toyota based?": "Toyota is a car company based in Japan.",
    "Who was Isaac Newton?": "Isaac Newton was a physicist from England.",
    "What is the Amazon River?": "The Amazon River is a river in Brazil, South America.",
    "Which sport is Roger Federer known for?": "Roger Federer is a tennis player from Switzerland.",
}
CAPITAL_LAST = (5, 6, 7, 2, 8, 9, 10, 3, 4, 1, 0)  # an order of MORE_SAID


def reordered(examples: dict[str, str], order: Sequence[int]) -> dict[str, str]:
    """The same examples in this order."""
    pairs = list(examples.items())
    return dict(pairs[i] for i in order)


def template(examples: dict[str, str]) -> str:
    """The prompt that shows these questions with their answers."""
    shown = [f"Question: {question}\nAnswer: {answer}" for question, answer in examples.items()]
    return "\n\n".join([*shown, "Question: {question}\nAnswer:"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--facts", type=int, default=90, help="held-out facts, known to the oracle or not"
    )
    parser.add_argument("--samples", type=int, default=8, help="questions per fact")
    parser.add_argument(
        "--run", default="untrained", help="samples the questions: a run folder, or untrained"
    )
    args = parser.parse_args()
    config = compose_config()
    prompts = {
        "one word, 5": template(ONE_WORD),
        "plain, 5 (the default)": config.prompt.answer,
        "plain, 11": template(MORE_PLAIN),
        "more than asked, 11, the capital first": template(MORE_SAID),
        "the same, the capital last": template(reordered(MORE_SAID, CAPITAL_LAST)),
    }
    facts = chosen_facts([config.prompt.task, *prompts.values()], args.facts)
    records = list(open_run(args.run, config).generate(facts, n=args.samples))
    lm = build.load_lm(config)
    print(
        "| answers shown | facts known | success on known | on all | words |\n|---|---|---|---|---|"
    )
    for name, prompt in prompts.items():
        config.prompt.answer = prompt
        print(f"| {name} | {study(config, lm, facts, records)} |", flush=True)


def chosen_facts(templates: list[str], n: int) -> list[Fact]:
    """Up to ``n`` validation and test facts whose subject is in no prompt; the first template is
    the sampler's.
    """
    splits = split_facts(list(default_facts()))
    headers = [task_prompt(templates[0]).header]
    headers += [answer_prompt(text).header for text in templates[1:]]
    facts = []
    for fact in (*splits.validation, *splits.test):
        if not any(gives_away(header, fact.subject) for header in headers):
            facts.append(fact)
    python_rng(7, "answer study").shuffle(facts)
    return facts[:n]


def study(config: Config, lm: CausalLM, facts: list[Fact], records: list[QuestionRecord]) -> str:
    """The cells of one prompt's row."""
    oracle = build.load_oracle(config, lm)
    known = {fact.fact_id for fact in known_facts(facts, oracle)}
    answers = [answer.text for answer in oracle.answer([record.question for record in records])]
    succeeded = []
    for record, answer in zip(records, answers, strict=True):
        answered = msgspec.structs.replace(record, answer=answer)
        succeeded.append(verdict_of(answered).strict_success)
    success = np.array(succeeded)
    on_known = success[[record.fact_id in known for record in records]]
    n_words = np.mean([len(answer.split()) for answer in answers])
    return (
        f"{len(known)} of {len(facts)} | {on_known.mean():.3f} | {success.mean():.3f} "
        f"| {n_words:.1f}"
    )


if __name__ == "__main__":
    main()
