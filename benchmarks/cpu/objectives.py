"""What each loss costs, forward and backward, from logits: ours, the textbook's, and the naive
loop.

    python benchmarks/objectives.py                      # b = 64, t = 32, v = 50,000: about five minutes on two cores
    python benchmarks/objectives.py --b 8 --t 16 --v 2000 --repeats 3

Every row is measured in processes of its own, in turn, `--repeats` times: median seconds, and peak
memory above what the logits themselves take. "ours" is `read_out` and the packaged loss. "textbook"
is what one writes from the papers: a full log-softmax, gathered, and a Python loop over
sub-trajectory lengths. "naive" loops over all pairs of all paths. The last column is the share of
ours that the vocabulary takes; the rest is the loss itself.
"""

from __future__ import annotations

import argparse
import json
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
from contraflow.policy.constraints import Constraints
from contraflow.policy.read_out import read_out
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


class Case:
    """Random logits, tokens, flows and rewards; all paths of full length, eight questions a fact."""

    def __init__(self, b: int, t: int, v: int) -> None:
        g = torch.Generator().manual_seed(0)
        self.b, self.t, self.v = b, t, v
        self.logits = torch.randn(b * (t + 1), v, generator=g).requires_grad_()
        self.tokens = torch.randint(0, v - 1, (b, t), generator=g)
        self.flow = torch.randn(b, t + 1, generator=g).requires_grad_()
        self.log_reward = torch.randn(b, generator=g)
        self.log_reward_of_prefixes = torch.randn(b, t + 1, generator=g)
        self.group = torch.arange(b) // 8
        self.constraints = Constraints(torch.arange(v), 1, t + 1)


def ours(case: Case, name: str) -> Tensor:
    step = torch.arange(case.t + 1).repeat(case.b)
    at = torch.arange(case.b * (case.t + 1)).view(case.b, case.t + 1)[:, :-1].flatten()
    taken, log_pterm = read_out(case.logits, case.constraints, step, at, case.tokens.flatten())
    lengths = torch.full((case.b,), case.t)
    paths = PathLogProbs(taken.view(case.b, case.t), log_pterm.view(case.b, -1), case.flow, lengths)
    objective = OBJECTIVES[name]
    if objective.needs_prefix_rewards:
        return objective(
            prefix_potentials(paths, PrefixReward(case.log_reward_of_prefixes)), case.group
        )
    return objective(potentials(paths, TerminalReward(case.log_reward)), case.group)


def textbook(case: Case, name: str) -> Tensor:
    """Full log-softmax, cumulative sums, a loop over sub-trajectory lengths where there are
    sub-trajectories.
    """
    u, mask = _textbook_u(case, name)
    if name in ("subtb", "modified_subtb"):
        total, weight = u.new_zeros(()), 0.0
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
    pairs = [
        (i, j)
        for i in range(case.b)
        for j in range(i + 1, case.b)
        if case.group[i] == case.group[j]
    ]
    return torch.stack([(u[i, -1] - u[j, -1]).square() for i, j in pairs]).mean()


def naive(case: Case, name: str) -> Tensor:
    """A loop over every pair of every path."""
    u, mask = _textbook_u(case, name)
    if name not in ("subtb", "modified_subtb"):
        return textbook(case, name)
    losses = []
    for row in range(case.b):
        nodes = [i for i in range(u.shape[1]) if mask[i]]
        pairs = [(i, j) for i in nodes for j in nodes if i < j]
        above = torch.stack(
            [0.9 ** (j - i) * (u[row, i] - u[row, j]).square() for i, j in pairs]
        ).sum()
        losses.append(above / sum(0.9 ** (j - i) for i, j in pairs))
    total = torch.stack(losses).mean()
    return total + _spread(u[:, 1], case.group) if name == "modified_subtb" else total


def _textbook_u(case: Case, name: str) -> tuple[Tensor, Tensor]:
    logits = case.logits.view(case.b, case.t + 1, case.v)
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
    return torch.cat([case.flow - so_far, terminal[:, None]], 1), torch.ones(
        case.t + 2, dtype=torch.bool
    )


def _spread(values: Tensor, group: Tensor) -> Tensor:
    return (
        torch.cat([values[group == g] - values[group == g].mean() for g in group.unique()])
        .square()
        .mean()
    )


RUN: dict[str, Callable[[Case, str], Tensor]] = {"ours": ours, "textbook": textbook, "naive": naive}


def measure_one(args: argparse.Namespace) -> None:
    """One variant in this process: JSON with its value, seconds and memory."""
    kind, name = args.one
    case = Case(args.b, args.t, args.v)
    RUN[kind](Case(2, 2, 8), name).backward()  # load what is loaded on first use
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    loss = RUN[kind](case, name)
    forward = time.perf_counter()
    loss.backward()
    done = time.perf_counter()
    read_out_seconds = _vocabulary_seconds(case) if kind == "ours" else 0.0
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        json.dumps(
            {
                "loss": loss.item(),
                "forward": forward - started,
                "backward": done - forward,
                "memory_mib": memory / 1024,
                "vocabulary": read_out_seconds / (done - started),
            }
        )
    )


def _vocabulary_seconds(case: Case) -> float:
    """The part of ours that touches [b t v], by itself."""
    case.logits.grad = None
    step = torch.arange(case.t + 1).repeat(case.b)
    at = torch.arange(case.b * (case.t + 1)).view(case.b, case.t + 1)[:, :-1].flatten()
    started = time.perf_counter()
    taken, log_pterm = read_out(case.logits, case.constraints, step, at, case.tokens.flatten())
    (taken.sum() + log_pterm[step > 0].sum()).backward()
    return time.perf_counter() - started


def measure_all(args: argparse.Namespace) -> None:
    """All variants in turn, each in its own process; a Markdown table of medians."""
    size = [f"--b={args.b}", f"--t={args.t}", f"--v={args.v}"]
    found: dict[tuple[str, str], list[dict[str, float]]] = {
        (k, n): [] for n in OBJECTIVES for k in KINDS
    }
    for _ in range(args.repeats):
        for (kind, name), runs in found.items():
            command = [sys.executable, __file__, *size, "--one", kind, name]
            runs.append(json.loads(subprocess.check_output(command)))
    logits = args.b * (args.t + 1) * args.v * 4 / 2**20
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.processor() or platform.machine()}"
    )
    print(
        f"b = {args.b}, t = {args.t}, v = {args.v}: logits of {logits:.0f} MiB; medians of {args.repeats}\n"
    )
    print(
        "| objective | variant | forward s | backward s | memory above the logits, MiB | time, ours = 1 | vocabulary |"
    )
    print("|---|---|---|---|---|---|---|")
    for (kind, name), runs in found.items():
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        reference = found["ours", name]
        own = statistics.median(run["forward"] + run["backward"] for run in reference)
        ratio = (median["forward"] + median["backward"]) / own
        share = f"{min(1.0, median['vocabulary']):.0%}" if kind == "ours" else ""
        print(
            f"| {name} | {kind} | {median['forward']:.3f} | {median['backward']:.3f} | {median['memory_mib']:.0f} "
            f"| {ratio:.2f} | {share} |"
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
