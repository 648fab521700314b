"""The arithmetic behind docs/scaling.md, by hand: a pass, the schemes, the load on replay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from studies import roofline, scaling, scaling_picture
from studies import scaling_model as model

ROOT = Path(__file__).resolve().parents[2]
COUNTS = ROOT / "benchmarks" / "work" / "counts.json"

T = {"generate": 3.0, "answer": 2.0, "judge": 1.0, "prior": 1.0, "learn": 3.0}
IDEAL = roofline.Card(1e12, 1e9, 1.0, 1.0, host_us=1.0, decode_us=None, link=1e9, message_us=100.0)
SMALL = roofline.Shape("small", "k", layers=2, hidden=10, kv_width=5, layer_params=1000.0)


def counted(**legs: Any) -> dict[str, Any]:
    zero = dict.fromkeys(
        ("passes", "tokens", "attended", "keys_read", "keys_copied", "states_read", "actions"), 0
    )
    return {
        "phases": {name.replace("_", "."): {**zero, **leg} for name, leg in legs.items()},
        "kernels": {"k": {name.replace("_", "."): {"base": 10, "a_layer": 20} for name in legs}},
    }


def test_a_pass_takes_the_longest_of_host_memory_and_math() -> None:
    """10 passes x (10 + 2 x 20) kernels x 1 us = 0.5 ms of the host.

    Memory: 10 x 1000 weights x 2 bytes, and a position is 2 (key, value) x 2 layers x 5 x 2 bytes =
    40 bytes, of which 100 are read and 50 leave and enter memory: (20,000 + 40 x (100 + 2 x 50)) /
    1e9 = 28 us. Arithmetic: (2 x 1000 x 300 + 4 x 2 layers x 10 wide x 500) / 1e12 = 0.64 us.
    """
    work = counted(
        generate_decode={
            "passes": 10,
            "tokens": 300,
            "attended": 500,
            "keys_read": 100,
            "keys_copied": 50,
        }
    )
    part = roofline.part("generate", SMALL, work, IDEAL)
    assert (part.host, part.memory, part.arithmetic) == pytest.approx((5e-4, 2.8e-5, 6.4e-7))
    assert part.seconds == part.host and part.bound_by == "host"
    replayed = roofline.part(
        "generate", SMALL, work, roofline.Card(1e12, 1e9, 1, 1, host_us=1, decode_us=0.01)
    )
    assert replayed.seconds == pytest.approx(2.8e-5) and replayed.bound_by == "memory"


def test_eight_times_the_questions_start_no_more_kernels() -> None:
    work = counted(generate_decode={"passes": 10, "tokens": 300, "keys_read": 100})
    one = roofline.part("generate", SMALL, work, IDEAL, 1)
    eight = roofline.part("generate", SMALL, work, IDEAL, 8)
    assert eight.host == one.host
    assert eight.arithmetic == pytest.approx(8 * one.arithmetic)
    assert eight.memory - one.memory == pytest.approx(7 * 100 * 40 / 1e9), (
        "the weights are still read once per pass"
    )


def test_learning_is_two_layer_and_three_head_passes() -> None:
    """Backward through frozen weights has gradients of activations only; the logits are computed
    again.
    """
    leg = {"passes": 1, "tokens": 300}
    head = {"passes": 2, "states_read": 40, "actions": 70}
    work = counted(prior_read=leg, prior_head=head, learn_read=leg, learn_head=head)
    layers = 2 * 1000 * 300
    top = 2 * 10 * 70 * 40
    prior = roofline.part("prior", SMALL, work, IDEAL)
    learn = roofline.part("learn", SMALL, work, IDEAL)
    assert prior.arithmetic == pytest.approx((layers + top) / 1e12)
    assert learn.arithmetic == pytest.approx((2 * layers + 3 * top) / 1e12)


def test_broadcast_leaves_ranks_idle_and_repeats_gradients() -> None:
    """4 GPUs, 10 s: three wait for 7 s, 3/4 x 7/10; three compute the gradient of the first again,
    3/4 x 3/10.
    """
    step = model.broadcast(4, T, 64, gradients=0.0, texts=0.0)
    assert (step.seconds, step.idle, step.redundant) == pytest.approx((10.0, 0.525, 0.225))
    assert step.questions_per_second == pytest.approx(6.4), "as one GPU"


def test_scatter_is_bound_by_rank_0_when_scoring_is_slow() -> None:
    """4 GPUs: 3 + 4 x 2 + 4 x 1 + 1 + 3 = 19 s, of which three wait for 12.

    With any number of GPUs it is at most 64 / (2 + 1) questions per second, the rate at which rank
    0 can answer and judge.
    """
    steps = {}
    for n in (1, 4, 64, 1024):
        for_all = {p: n * t for p, t in T.items()}
        steps[n] = model.scatter(n, T, for_all, 64, 0.0, 0.0)
    assert steps[1].seconds == 10 and steps[1].idle == 0
    assert (steps[4].seconds, steps[4].idle) == pytest.approx((19.0, 0.75 * 12 / 19))
    rates = [steps[n].questions_per_second for n in (4, 64, 1024)]
    assert rates == sorted(rates) and all(rate < 64 / 3 for rate in rates)
    assert rates[-1] == pytest.approx(64 / 3, rel=0.01)


def test_symmetric_ranks_wait_for_gradients_only() -> None:
    step = model.symmetric(4, T, 64, gradients=2.5)
    assert (step.seconds, step.idle, step.questions) == pytest.approx((12.5, 0.2, 256))


def test_three_actors_feed_a_learner_three_times_as_fast() -> None:
    """Collecting takes 6 s and learning 2: 3 actors make a batch every 2 s, and no GPU waits. A
    question is learned from 6 s / 2 s = 3 updates after the weights that sampled it.
    """
    free = dict.fromkeys(range(5), 0.0)
    step = model.actors(4, collect=6.0, batches=1, learn=2.0, questions=64, exchange=free)
    assert (step.actors, step.idle, step.behind) == pytest.approx((3, 0.0, 3.0))
    assert step.questions_per_second == pytest.approx(32)


def test_a_learner_waits_for_too_few_actors() -> None:
    """One actor makes a batch in 6 s, the learner needs 2: it waits for 4 of 6, a third of both
    GPUs' time.
    """
    step = model.actors(2, collect=6.0, batches=1, learn=2.0, questions=64, exchange={1: 0.0})
    assert (step.idle, step.waits["waiting for questions"], step.seconds) == pytest.approx(
        (1 / 3, 4.0, 6.0)
    )


def test_larger_actor_batches_need_fewer_and_staler_actors() -> None:
    """8 batches in the time of one: one actor of two makes 8 batches in 6 s, more than one learner
    takes (3 in 6 s).
    """
    step = model.actors(2, collect=6.0, batches=8, learn=2.0, questions=64, exchange={1: 0.0})
    assert step.questions_per_second == pytest.approx(32)
    assert step.idle == pytest.approx((1 - 3 / 8) / 2)
    assert step.behind == pytest.approx(3)


def test_exchange_by_hand() -> None:
    """Statistics: 3 peers x (length, data) x there and back x 100 us = 1.2 ms; a ring over 4 moves
    2 x 3/4 of 4 bytes each.

    Texts: two ways, 3 peers, 2 messages of 100 us and 1e6 bytes at 1e9 per second.
    """
    assert model.gradient_exchange(4, 1e6, IDEAL) == pytest.approx(1.2e-3 + 1.5 * 4e6 / 1e9)
    assert model.gradient_exchange(1, 1e6, IDEAL) == 0
    assert model.text_exchange(4, 1e6, IDEAL, ways=2) == pytest.approx(2 * 3 * (200e-6 + 1e-3))


def test_replay_gets_new_questions_and_sends_whole_facts() -> None:
    """256 questions of 400 bytes in 10 s; a quarter of the steps of 4 ranks reads 3 x 8 facts x 32
    entries.
    """
    work = {"a_question": {"entry": 400}, "facts": 8, "questions": 64}
    step = model.symmetric(4, T, 64, 0.0)
    traffic = model.replay_traffic(step, work, share=0.25, capacity=32)
    assert (traffic.questions, traffic.bytes_in) == pytest.approx((25.6, 25.6 * 400))
    assert traffic.bytes_out == pytest.approx(0.25 * 4 / 10 * 24 * 32 * 400)
    acting = model.actors(4, 6.0, 1, 2.0, 64, dict.fromkeys(range(5), 0.0))
    through = model.replay_traffic(acting, work, share=0.0, capacity=32)
    assert through.bytes_out == through.bytes_in, "a learner gets its questions from replay only"


def test_measurements_on_a_gpu_correct_the_prediction() -> None:
    work = json.loads(COUNTS.read_text())
    setting = work["settings"]["gpt2_large_zsre"] | {"kernels": work["kernels"]}
    card = roofline.Card()
    predicted = roofline.part("generate", roofline.GPT2_LARGE, setting, card).seconds
    measured = {"phases": {"generate": 3 * predicted}, "work": setting["phases"]}
    assert roofline.calibration(measured, setting, card) == {"generate": pytest.approx(3)}
    plain = model.steps(roofline.MODELS[0], setting, card, 4)[0].waits
    corrected = model.steps(roofline.MODELS[0], setting, card, 4, factors={"generate": 3.0})[
        0
    ].waits
    assert corrected["generate"] == pytest.approx(3 * plain["generate"])
    assert corrected["learn"] == plain["learn"]


def test_a_phase_whose_work_was_not_counted_is_not_corrected() -> None:
    """The file of an H200 in the repository: its judge was replayed while work was counted."""
    measured = json.loads((ROOT / "benchmarks" / "gpu" / "h200.json").read_text())
    counts = json.loads(COUNTS.read_text())
    work = counts["settings"]["gpt2_large_zsre"] | {"kernels": counts["kernels"]}
    seconds = {"phases": measured["phases"]["static"], "work": measured["work"]}
    factors = roofline.calibration(seconds, work, roofline.Card(decode_us=1.5))
    assert set(factors) == {"generate", "answer", "prior", "learn"}
    assert all(0.1 < factor < 10 for factor in factors.values())


MEASURED = json.loads((ROOT / "benchmarks" / "gpu" / "h200.json").read_text())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"hello", "cannot be used (JSON is malformed"),
        (b"\xff\xfe", "cannot be used"),
        ([], "cannot be used (Expected `object`, got `array`)"),
        ({"work": MEASURED["work"]}, "missing required field `phases`"),
        ({"phases": MEASURED["phases"]}, "missing required field `work`"),
        (MEASURED | {"phases": {"static": {"learn": 1.0}}}, "has no seconds of phases.eager"),
        (
            MEASURED | {"phases": {"eager": {"sleep": 1.0}}},
            "phases.eager has 'sleep', which is none",
        ),
        (MEASURED | {"phases": {"eager": {"learn": "1"}}}, "Expected `float`, got `str`"),
        (MEASURED | {"work": {}}, "has no work of generate"),
        (MEASURED | {"work": {"learn.read": {"passes": 1}}}, "missing required field `tokens`"),
    ],
)
@pytest.mark.parametrize("option", ["--measured", "--work"])
def test_a_file_that_is_none_is_one_line_and_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: Any, said: str, option: str
) -> None:
    """A measurement is no file of counts either."""
    path = tmp_path / "gpu.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    assert scaling.main([option, str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert err.startswith(f"studies.scaling: error: {path}: ") and "; make it with `python" in err
    if option == "--measured" or not isinstance(content, dict):
        assert said in err


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (("settings", "quickstart"), "has no settings.quickstart"),
        (("settings", "quickstart", "phases", "learn.read"), "has no work of learn"),
        (("settings", "quickstart", "facts"), "missing required field `facts`"),
        (("kernels", "gpt2", "learn.read"), "has learn.read, but kernels.gpt2 have not"),
        (("kernels", "deberta"), "has judge.read, but kernels.deberta have not"),
    ],
)
def test_counts_that_lack_something_name_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: tuple[str, ...], said: str
) -> None:
    counts = json.loads(COUNTS.read_text())
    *path, last = lost
    inner = counts
    for key in path:
        inner = inner[key]
    del inner[last]
    file = tmp_path / "counts.json"
    file.write_text(json.dumps(counts))
    assert scaling.main(["--work", str(file)]) == 2
    assert said in capsys.readouterr().err


def test_the_shares_of_the_picture_add_up_to_1() -> None:
    work = json.loads(COUNTS.read_text())
    setting = work["settings"]["quickstart"] | {"kernels": work["kernels"]}
    for step in model.steps(roofline.MODELS[1], setting, roofline.Card(), 8):
        assert sum(scaling_picture.shares(step).values()) == pytest.approx(1), step.scheme


def test_the_page_shows_the_output(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "scaling.md").read_text()
    svg = tmp_path / "scaling.svg"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for words in (["--svg", str(svg)], ["--decode-us", "1.5"]):
        command = [sys.executable, "-m", "studies.scaling", *words]
        printed = subprocess.check_output(command, env=environment, text=True)
        tables = [block for block in printed.split("\n\n") if block.startswith("|")]
        assert len(tables) == 6
        missing = [table for table in tables if table.strip() not in page]
        assert not missing, f"run: python -m studies.scaling {' '.join(words)}\n{missing[0]}"
    assert svg.read_text() == (ROOT / "docs" / "images" / "scaling.svg").read_text()


def test_the_page_shows_what_an_h200_corrects() -> None:
    """The factors, and the tables of gpt2-large."""
    page = (ROOT / "docs" / "scaling.md").read_text()
    words = ["--decode-us", "1.5", "--measured", str(ROOT / "benchmarks" / "gpu" / "h200.json")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "studies.scaling", *words]
    printed = subprocess.check_output(command, env=environment, text=True)
    factors = printed.splitlines()[0].split(": ")[1]
    assert factors in page
    tables = [block for block in printed.split("\n\n") if block.startswith("|")]
    assert all(table.strip() in page for table in tables[:2]), f"run: {' '.join(words)}"
