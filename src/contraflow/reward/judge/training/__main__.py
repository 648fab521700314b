"""`python -m contraflow.judge_training train|calibrate|evaluate`: train and measure the judge."""

import argparse
import json
from dataclasses import fields, replace
from importlib.resources import files
from itertools import chain
from pathlib import Path

import torch
from transformers import AutoTokenizer

from contraflow.reward.judge.minilm import (
    JudgeSpec,
    load_network,
    load_spec,
    save_judge,
    weights_digest,
)
from contraflow.reward.judge.training import pararel
from contraflow.reward.judge.training.evaluate import (
    Measured,
    best_temperature,
    measure,
    pair_logits,
    worst,
)
from contraflow.reward.judge.training.names import load_names
from contraflow.reward.judge.training.nli_data import load_nli
from contraflow.reward.judge.training.pairs import Pair, PairMaker, soft
from contraflow.reward.judge.training.relations import load_relations, load_trivia
from contraflow.reward.judge.training.rng import derived_rng
from contraflow.reward.judge.training.sentences import Sentences
from contraflow.reward.judge.training.train import TrainSettings, batches, train

ASSETS = Path(str(files("contraflow"))) / "assets"
N_VALIDATION = 3000


def main() -> None:
    """`train` is followed by calibration, and both are followed by evaluation."""
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    if options.command == "train":
        _train(options)
    if options.command != "evaluate":
        _calibrate(options)
    _evaluate(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m contraflow.judge_training", description=__doc__
    )
    add = parser.add_argument
    add("command", choices=["train", "calibrate", "evaluate"])
    add("--backbone", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    add("--data", type=Path, required=True, help="folder that holds nli/ and pararel/")
    folder = ASSETS / "judge_minilm"
    add("--out", type=Path, default=folder, help="judge folder to write or to measure")
    add("--pairs", type=Path, nargs="*", default=[], help="more JSONL pairs to measure on")
    add("--threads", type=int, default=1)
    add("--show", type=int, default=0, help="print this many of the worst pairs of each set")
    for setting in fields(TrainSettings):
        flag = "--" + setting.name.replace("_", "-")
        add(flag, type=type(setting.default), default=setting.default)
    return parser


def pair_maker(data: Path, split: str) -> PairMaker:
    """Pairs from the synthetic and ParaRel facts of one split (`train` or `validation`).

    The splits share no relation and no name of a long list.
    """
    folder = ASSETS / "judge_training"
    names = load_names(folder / "names.txt", split, pararel.name_lists(data / "pararel"))
    relations = load_relations(sorted(folder.glob("relations_*.txt")), names)
    relations += pararel.load_pararel(data / "pararel")
    nli = load_nli(data / "nli" / "nli.jsonl", split)
    chosen = [relation for relation in relations if relation.held_out == (split == "validation")]
    trivia = load_trivia(folder / "trivia.txt", split)
    return PairMaker(Sentences(chosen, names, trivia), [pair.hypothesis for pair in nli])


def _train(options: argparse.Namespace) -> None:
    settings = TrainSettings(
        **{setting.name: getattr(options, setting.name) for setting in fields(TrainSettings)}
    )
    nli = load_nli(options.data / "nli" / "nli.jsonl", "train")
    spec = JudgeSpec()
    data = batches(pair_maker(options.data, "train"), nli, settings)
    network = train(options.backbone, data, settings, spec, options.out)
    save_judge(network, spec, options.out)


def _calibrate(options: argparse.Namespace) -> None:
    """Fit the temperature on validation pairs that `_evaluate` does not use; write judge.json."""
    spec = load_spec(options.out)
    network = load_network(options.backbone, options.out).eval()
    tokenizer = AutoTokenizer.from_pretrained(options.backbone)
    pairs = list(chain(*_validation(options.data, "calibrate").values()))
    logits = pair_logits(network, tokenizer, pairs, spec.max_length)
    temperature = best_temperature(logits, torch.tensor([pair.target for pair in pairs]))
    digest = weights_digest(options.backbone)
    spec = replace(spec, temperature=round(temperature, 4), backbone_sha256=digest)
    save_judge(network, spec, options.out)


def _validation(data: Path, purpose: str) -> dict[str, list[Pair]]:
    """Sets of pairs by name, for one purpose (`calibrate` or `measure`).

    `calibrate` takes a third of the held-out NLI pairs, `measure` the others.
    """
    maker = pair_maker(data, "validation")
    rng = derived_rng("validation", purpose)
    sets = {"facts, held-out relations and names": [maker.draw(rng) for _ in range(N_VALIDATION)]}
    for number, pair in enumerate(load_nli(data / "nli" / "nli.jsonl", "validation")):
        if (number % 3 == 0) == (purpose == "calibrate"):
            is_snli = pair.category.startswith("snli-dev")
            source = "SNLI" if is_snli else "counterfactually revised SNLI"
            sets.setdefault(f"{source}, held-out premises", []).append(pair)
    return sets


def _evaluate(options: argparse.Namespace) -> None:
    spec = load_spec(options.out)
    network = load_network(options.backbone, options.out).eval()
    tokenizer = AutoTokenizer.from_pretrained(options.backbone)
    sets = {**_validation(options.data, "measure"), **_own_pairs(options.pairs)}
    for name, pairs in sets.items():
        logits = pair_logits(network, tokenizer, pairs, spec.max_length)
        log_probs = (logits / spec.temperature).log_softmax(-1)
        print(_summary(name, measure(log_probs, pairs), len(pairs)))
        print("\n".join(worst(log_probs, pairs, options.show)))


def _summary(name: str, figures: Measured, n: int) -> str:
    by_category = figures.recall_by_category.items()
    recalls = ", ".join(f"{category} {value:.2f}" for category, value in by_category)
    return (
        f"{name}: n={n} three-way {figures.three_way:.3f} contradiction-vs-rest "
        f"{figures.contradiction_vs_rest:.3f} ECE {figures.ece:.3f}\n  {recalls}"
    )


def _own_pairs(paths: list[Path]) -> dict[str, list[Pair]]:
    """The pairs of each JSONL file, by file name."""
    sets: dict[str, list[Pair]] = {}
    for path in paths:
        pairs = []
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            category = f"{row.get('set', 'pairs')}.{row['label']}"
            pairs.append(Pair(row["premise"], row["hypothesis"], soft(row["label"]), category))
        sets[path.name] = pairs
    return sets


if __name__ == "__main__":
    main()
