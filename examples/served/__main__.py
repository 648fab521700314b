"""`python -m examples.served SERVER python=PYTHON n=20`: a served model beside the local one.

SERVER is `llama` or `vllm`, installed in the environment of PYTHON; or the address of a running
server of the same model, `openai:http://HOST:PORT/v1#MODEL`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from contraflow.cli.command import Argument, Command, ParsedArguments, parse_arguments
from contraflow.cli.failures import report_failure
from contraflow.errors import UserError
from contraflow.reward.oracle.served.oracle import ServedAnswerer
from examples.served.compare import Comparison, compare, open_both, questions_and_targets
from examples.served.servers import PACKAGE_OF, is_installed, running


def run(args: ParsedArguments) -> int:
    """Compare, and print what was found."""
    server, n = args.required("server"), args.integer("n", 1)
    if server.startswith("openai:"):
        show(server, n)
        return 0
    if server not in PACKAGE_OF:
        raise UserError(
            f"server={server}: must be one of {', '.join(PACKAGE_OF)}, or openai:URL#MODEL"
        )
    python = args.text("python") or sys.executable
    if not is_installed(server, python):
        raise UserError(f"python={python}: has no {PACKAGE_OF[server]}; pip install it there")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        with running(server, python, log) as source:
            show(source, n)
    return 0


def show(source: str, n: int) -> None:
    """Ask both models and print the comparison."""
    questions, targets = questions_and_targets(n)
    served, local = open_both(source)
    assert isinstance(served, ServedAnswerer)
    result = compare(served, local, questions, targets)
    print("\n".join(lines_of(result)))
    print(f"used: {served.usage}")
    served.close()


def lines_of(result: Comparison) -> list[str]:
    """The comparison in a few lines, with the answers that differ."""
    n = len(result.pairs)
    lines = [f"{len(result.equal)} of {n} answers are equal"]
    for name, gaps in (("answers", result.log_p_gaps), ("targets", result.target_gaps)):
        if gaps:
            median = statistics.median(gaps)
            lines.append(
                f"|log P served - local| of {len(gaps)} {name}: "
                f"median {median:.4f}, at most {max(gaps):.4f} nats"
            )
    for pair in result.pairs:
        if pair.served.text != pair.local.text:
            lines.append(f"  {pair.question}\n    {pair.served.text}\n    {pair.local.text}")
    return lines


COMMAND = Command(
    "served",
    "compare a served model with the local one",
    "",
    ("python -m examples.served llama python=/opt/llama/bin/python n=20",),
    run,
    (
        Argument("server", "SERVER", "llama, vllm, or openai:URL#MODEL", required=True),
        Argument("python", "PYTHON", "the environment that has the server"),
        Argument("n", "N", "how many questions", default="20"),
    ),
    positional="server",
)


def main(words: Sequence[str]) -> int:
    """Run the comparison and return its exit code."""
    try:
        return run(parse_arguments(COMMAND, words))
    except (Exception, KeyboardInterrupt) as error:
        return report_failure(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
