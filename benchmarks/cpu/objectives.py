"""Time and memory of each loss, forward and backward, from given hidden states.

    python -m benchmarks.cpu.objectives       # b = 64, t = 32, v = 50,000: 5 minutes on two cores
    python -m benchmarks.cpu.objectives --b 8 --t 16 --v 2000 --repeats 3

Every row is measured in processes of its own, in turn, `--repeats` times: median seconds, and peak
memory beside that of all logits, which a frozen head computes from states of 64 numbers. "ours" is
`action_log_probs` and the package's loss. "textbook" is what one writes from the papers: a full
log-softmax, gathered, and a Python loop over sub-trajectory lengths.
"naive" loops over all pairs of all paths. The last column is the share of our time that goes to the
vocabulary; the rest is the loss itself.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from contraflow.gflownet.objectives import (
    ContrastiveTB,
    DetailedBalance,
    ModifiedSubTB,
    Objective,
    SubTB,
    TrajectoryBalance,
    VarGrad,
    potentials,
    prefix_potentials,
)
from contraflow.policy.action_log_probs import ActionHead, action_log_probs
from contraflow.policy.constraints import Constraints
from contraflow.policy.states import Actions
from contraflow.types import PathLogProbs, PrefixReward, TerminalReward

OBJECTIVES: dict[str, Objective] = {
    "subtb": SubTB(0.9),
    "tb": TrajectoryBalance(),
    "db": DetailedBalance(),
    "vargrad": VarGrad(),
    "modified_subtb": ModifiedSubTB(0.9),
    "ctb": ContrastiveTB(),
}
KINDS = ("ours", "textbook", "naive")
WIDTH = 64  # of the hidden states


class Case:
    """Random states, tokens, flows and rewards: paths of full length, eight questions per fact."""

    def __init__(self, b: int, t: int, v: int) -> None:
        g = torch.Generator().manual_seed(0)
        self.b = b
        self.t = t
        self.v = v
        self.hidden = torch.randn(b * (t + 1), WIDTH, generator=g).requires_grad_()
        self.head = torch.randn(v, WIDTH, generator=g) / math.sqrt(WIDTH)
        self.tokens = torch.randint(0, v - 1, (b, t), generator=g)
        self.flow = torch.randn(b, t + 1, generator=g).requires_grad_()
        self.log_reward = torch.randn(b, generator=g)
        self.log_reward_of_prefixes = torch.randn(b, t + 1, generator=g)
        self.group = torch.arange(b) // 8
        self.constraints = Constraints(torch.arange(v), 1, t + 1)

    def action_log_probs(self) -> tuple[Tensor, Tensor]:
        """The package's log P of the tokens [b·t] and of the stop [b·(t+1)], row after row."""
        step = torch.arange(self.t + 1).repeat(self.b)
        at = torch.arange(self.b * (self.t + 1)).view(self.b, self.t + 1)[:, :-1].flatten()
        actions = Actions(at, self.tokens.flatten(), at.numpy())
        head = ActionHead(lambda hidden: hidden @ self.head.T, self.head, lambda _logits: 1.0)
        return action_log_probs(self.hidden, head, self.constraints, step, actions)

    def logits(self) -> Tensor:
        """All of them, [b t+1 v]."""
        return (self.hidden @ self.head.T).view(self.b, self.t + 1, self.v)


def ours(case: Case, name: str) -> Tensor:
    """The package's loss."""
    taken, log_pterm = case.action_log_probs()
    lengths = torch.full((case.b,), case.t)
    paths = PathLogProbs(taken.view(case.b, case.t), log_pterm.view(case.b, -1), case.flow, lengths)
    objective = OBJECTIVES[name]
    if objective.needs_prefix_rewards:
        reward = PrefixReward(case.log_reward_of_prefixes)
        return objective(prefix_potentials(paths, reward), case.group)
    return objective(potentials(paths, TerminalReward(case.log_reward)), case.group)


def textbook(case: Case, name: str) -> Tensor:
    """Loss from a full log-softmax and cumulative sums, with a loop over sub-trajectory lengths
    where the objective has sub-trajectories.
    """
    u, mask = _textbook_u(case, name)
    if name in ("subtb", "modified_subtb"):
        total = u.new_zeros(())
        weight = 0.0
        for length in range(1, u.shape[1]):
            delta = (u[:, length:] - u[:, :-length]).square()
            both = mask[length:] & mask[:-length]
            total = total + 0.9**length * delta[:, both].sum()
            weight += 0.9**length * int(both.sum())
        total = total / (weight * case.b)
        return total + _spread(u[:, 1], case.group) if name == "modified_subtb" else total
    if name == "db":
        return (u[:, 1:] - u[:, :-1]).square().sum(1).mean()
    if name == "tb":
        return (u[:, 0] - u[:, -1]).square().mean()
    if name == "vargrad":
        return _spread(u[:, -1], case.group)
    gaps = []
    for i in range(case.b):
        for j in range(i + 1, case.b):
            if case.group[i] == case.group[j]:
                gaps.append((u[i, -1] - u[j, -1]).square())
    return torch.stack(gaps).mean()


def naive(case: Case, name: str) -> Tensor:
    """Loss from a loop over every pair of nodes of every path."""
    u, mask = _textbook_u(case, name)
    if name not in ("subtb", "modified_subtb"):
        return textbook(case, name)
    losses = []
    for row in range(case.b):
        nodes = [i for i in range(u.shape[1]) if mask[i]]
        pairs = [(i, j) for i in nodes for j in nodes if i < j]
        weights = [0.9 ** (j - i) for i, j in pairs]
        gaps = [(u[row, i] - u[row, j]).square() for i, j in pairs]
        terms = [weight * gap for weight, gap in zip(weights, gaps, strict=True)]
        losses.append(torch.stack(terms).sum() / sum(weights))
    total = torch.stack(losses).mean()
    return total + _spread(u[:, 1], case.group) if name == "modified_subtb" else total


def _textbook_u(case: Case, name: str) -> tuple[Tensor, Tensor]:
    """Potentials of every node [b, n], and which columns are nodes [n]."""
    logits = case.logits()
    stop_forbidden = torch.zeros_like(logits, dtype=torch.bool)
    stop_forbidden[:, 0, -1] = True
    log_p = logits.masked_fill(stop_forbidden, -torch.inf).log_softmax(-1)
    log_pf = log_p[:, :-1].gather(-1, case.tokens[..., None]).squeeze(-1)
    so_far = torch.cat([log_pf.new_zeros(case.b, 1), log_pf.cumsum(1)], 1)
    log_stop = log_p[..., -1]
    if name == "modified_subtb":
        u = case.log_reward_of_prefixes - log_stop.nan_to_num(neginf=0.0) - so_far
        return u, torch.arange(case.t + 1) >= 1
    terminal = case.log_reward - so_far[:, -1] - log_stop[:, -1]
    u = torch.cat([case.flow - so_far, terminal[:, None]], 1)
    return u, torch.ones(case.t + 2, dtype=torch.bool)


def _spread(values: Tensor, group: Tensor) -> Tensor:
    """Mean square of the values less the mean of their group."""
    centered = [values[group == g] - values[group == g].mean() for g in group.unique()]
    return torch.cat(centered).square().mean()


RUN: dict[str, Callable[[Case, str], Tensor]] = {"ours": ours, "textbook": textbook, "naive": naive}


def measure_one(args: argparse.Namespace) -> None:
    """Measure one variant in this process; print its value, seconds and memory as JSON."""
    kind, name = args.one
    case = Case(args.b, args.t, args.v)
    RUN[kind](Case(2, 2, 8), name).backward()  # warm-up: loads what is loaded at first use
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    loss = RUN[kind](case, name)
    forward = time.perf_counter()
    loss.backward()
    done = time.perf_counter()
    vocabulary_seconds = _vocabulary_seconds(case) if kind == "ours" else 0.0
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    found = {
        "loss": loss.item(),
        "forward": forward - started,
        "backward": done - forward,
        "memory_mib": memory / 1024,
        "vocabulary": vocabulary_seconds / (done - started),
    }
    print(json.dumps(found))


def _vocabulary_seconds(case: Case) -> float:
    """Seconds of the part of our loss that touches [b t v]."""
    case.hidden.grad = None
    step = torch.arange(case.t + 1).repeat(case.b)
    started = time.perf_counter()
    taken, log_pterm = case.action_log_probs()
    (taken.sum() + log_pterm[step > 0].sum()).backward()
    return time.perf_counter() - started


def measure_all(args: argparse.Namespace) -> None:
    """Measure all variants in turn, each in its own process; print a table of medians."""
    size = [f"--b={args.b}", f"--t={args.t}", f"--v={args.v}"]
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for name in OBJECTIVES:
        for kind in KINDS:
            found[kind, name] = []
    for _ in range(args.repeats):
        for (kind, name), runs in found.items():
            command = [sys.executable, "-m", "benchmarks.cpu.objectives", *size]
            runs.append(json.loads(subprocess.check_output([*command, "--one", kind, name])))
    logits = args.b * (args.t + 1) * args.v * 4 / 2**20
    processor = platform.processor() or platform.machine()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {processor}")
    print(
        f"b = {args.b}, t = {args.t}, v = {args.v}: all logits are {logits:.0f} MiB; "
        f"medians of {args.repeats}\n"
    )
    print(
        "| objective | variant | forward s | backward s "
        "| memory, MiB | time, ours = 1 | vocabulary |"
    )
    print("|---|---|---|---|---|---|---|")
    for (kind, name), runs in found.items():
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        reference = found["ours", name]
        own = statistics.median(run["forward"] + run["backward"] for run in reference)
        ratio = (median["forward"] + median["backward"]) / own
        share = f"{min(1.0, median['vocabulary']):.0%}" if kind == "ours" else ""
        print(
            f"| {name} | {kind} | {median['forward']:.3f} | {median['backward']:.3f} "
            f"| {median['memory_mib']:.0f} | {ratio:.2f} | {share} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--b", type=int, default=64, help="questions")
    parser.add_argument("--t", type=int, default=32, help="tokens of each")
    parser.add_argument("--v", type=int, default=50_000, help="actions")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--one", nargs=2, metavar=("KIND", "OBJECTIVE"), help="measure one variant in this process"
    )
    args = parser.parse_args()
    measure_one(args) if args.one else measure_all(args)


if __name__ == "__main__":
    main()
