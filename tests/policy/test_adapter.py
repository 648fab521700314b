"""The adapter folder: what PEFT loads, what we load, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors.torch import load_file, save_file

from contraflow.errors import UserError
from contraflow.facts import Fact
from contraflow.policy.adapter import (
    adapter_folder,
    check_start,
    load_adapter,
    model_card,
    save_adapter,
    start_from,
)
from contraflow.policy.constraints import question_constraints
from contraflow.policy.lora import LoraPolicy, stack_questions
from contraflow.settings.models import LoraConfig
from contraflow.text.prompts import task_prompt
from support.models import fresh_lm, tiny_model

FACT = Fact(fact_id="a", subject="rome", edit_fact="rome is the capital of hamlet")
QUESTION = [3, 6, 8]


def policy_of(architecture: str, r: int = 4, trained_by: int | None = None) -> LoraPolicy:
    lm = fresh_lm(architecture)
    constraints = question_constraints(lm.tokenizer, vocabulary="latin", min_len=1, max_len=4)
    torch.manual_seed(0)
    policy = LoraPolicy(
        lm, task_prompt("ask {edit_fact} :"), constraints, LoraConfig(r=r, alpha=2 * r)
    )
    if trained_by is not None:
        generator = torch.Generator().manual_seed(trained_by)
        with torch.no_grad():
            for p in [
                *(p for p in lm.model.parameters() if p.requires_grad),
                *policy.flow.parameters(),
            ]:
                p.normal_(0, 0.3, generator=generator)
    return policy


def looks(policy: LoraPolicy) -> list[torch.Tensor]:
    with torch.no_grad():
        paths = policy.evaluate(
            [FACT], torch.tensor([0]), stack_questions([QUESTION], torch.device("cpu"))
        )
    return [paths.log_pf, paths.log_p_stop, paths.log_flow]


@pytest.fixture(params=["gpt2", "llama"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, LoraPolicy, Path]:
    policy = policy_of(request.param, trained_by=5)
    folder = tmp_path / "adapter"
    save_adapter(policy, folder, "packaged:tiny", "the card")
    return request.param, policy, folder


def test_any_user_of_peft_gets_the_same_sampler(saved):
    """PeftModel with stock eager attention and no cache gives our log-probs on our actions."""
    architecture, policy, folder = saved
    base = tiny_model(architecture)
    base.set_attn_implementation("eager")
    theirs = PeftModel.from_pretrained(base, folder).eval()
    prompt = policy.lm.encode(f"ask {FACT.edit_fact} :", first=True)
    with torch.no_grad():
        logits = theirs(torch.tensor([prompt + QUESTION])).logits[0, len(prompt) - 1 :]
    actions = policy.constraints.action_ids
    states = logits[:, actions]
    log_p = states.log_softmax(-1)
    log_p[0] = states[0, :-1].logsumexp(0).neg() + states[0]  # no stop before the minimum length
    columns = [actions.tolist().index(token) for token in [*QUESTION, policy.constraints.stop_id]]
    expected = torch.stack([log_p[t, column] for t, column in enumerate(columns)])
    log_pf, stop, _ = looks(policy)
    torch.testing.assert_close(torch.cat([log_pf[0], stop]), expected, atol=1e-5, rtol=1e-4)


def test_comes_back_whole_with_its_flow_head(saved):
    architecture, policy, folder = saved
    fresh = policy_of(architecture)
    assert not torch.allclose(looks(fresh)[0], looks(policy)[0])
    load_adapter(fresh, folder)
    for a, b in zip(looks(fresh), looks(policy), strict=True):
        assert torch.equal(a, b)


def test_folder_names_the_base_model_and_no_path_of_this_machine(saved):
    _, policy, folder = saved
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "packaged:tiny"
    assert (folder / "README.md").read_text() == "the card"
    shape = json.loads((folder / "flow_head.json").read_text())
    assert shape == {"hidden_size": 32, "width": policy.flow.width}
    assert not list(folder.parent.glob("*.tmp"))
    held = load_file(folder / "adapter_model.safetensors")
    assert held and all("lora_" in name for name in held)


def test_saving_again_replaces_the_folder(saved):
    architecture, _, folder = saved
    (folder / "stale").write_text("")
    other = policy_of(architecture, trained_by=9)
    save_adapter(other, folder, "packaged:tiny", "second")
    assert not (folder / "stale").exists()
    fresh = policy_of(architecture)
    load_adapter(fresh, folder)
    assert torch.equal(looks(fresh)[0], looks(other)[0])


def test_another_rank_is_refused(saved):
    architecture, _, folder = saved
    with pytest.raises(UserError, match=r"does not fit the configured model .*use the config.yaml"):
        load_adapter(policy_of(architecture, r=2), folder)


def test_another_architecture_is_refused(saved):
    architecture, _, folder = saved
    with pytest.raises(UserError, match="does not fit the configured model"):
        load_adapter(policy_of("llama" if architecture == "gpt2" else "gpt2"), folder)


@pytest.mark.parametrize("change", ["missing", "extra", "renamed", "cut"])
def test_tensors_that_are_not_all_ours_are_refused(saved, change: str):
    architecture, _, folder = saved
    path = folder / "adapter_model.safetensors"
    held = {name: tensor.clone() for name, tensor in load_file(path).items()}
    first = sorted(held)[0]
    tensor = held.pop(first) if change != "extra" else held[first]
    if change == "extra":
        held[first.replace(".0.", ".7.")] = tensor.clone()
    elif change == "renamed":
        held[first.replace("lora_A", "lora_C")] = tensor
    elif change == "cut":
        held[first] = tensor[:-1].contiguous()
    save_file(held, path)
    with pytest.raises(UserError, match="does not fit"):
        load_adapter(policy_of(architecture), folder)


def test_a_missing_or_other_flow_head_is_refused(saved):
    architecture, _, folder = saved
    path = folder / "flow_head.safetensors"
    held = load_file(path)
    save_file(
        {name: torch.zeros(3) if name == "inner.outer.bias" else t for name, t in held.items()},
        path,
    )
    with pytest.raises(UserError, match="does not fit"):
        load_adapter(policy_of(architecture), folder)
    path.unlink()
    with pytest.raises(UserError, match="does not fit"):
        load_adapter(policy_of(architecture), folder)


def test_a_folder_without_adapter_says_to_train_first(tmp_path: Path):
    with pytest.raises(UserError, match=r"no adapter_model\.safetensors; train first"):
        load_adapter(policy_of("llama"), tmp_path)


def hub_cache_with(folder: Path, name: str, architecture: str) -> Path:
    """A cache in which the hub's library finds a tiny model under ``name``."""
    repository = folder / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / "1"
    tiny_model(architecture).save_pretrained(snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("1")
    return folder


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_auto_peft_loads_an_adapter_of_a_packaged_model(tmp_path: Path, architecture: str):
    """The weights' own repository is named there, and contraflow's name in sampler.json."""
    policy = policy_of(architecture, trained_by=5)
    folder = tmp_path / "adapter"
    save_adapter(policy, folder, "packaged:smollm2-135m-instruct", "the card")
    name = "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert (
        json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == name
    )
    described = json.loads((folder / "sampler.json").read_text())
    assert described["base_model"] == "packaged:smollm2-135m-instruct"
    cache = hub_cache_with(tmp_path / "hub", name, architecture)
    theirs = AutoPeftModelForCausalLM.from_pretrained(folder, cache_dir=cache).eval()
    expected = PeftModel.from_pretrained(tiny_model(architecture), folder).eval()
    ids = torch.tensor([[3, 6, 8]])
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, expected(ids).logits)


def test_an_adapter_that_names_the_packaged_model_still_loads(saved):
    """Adapters of earlier versions have contraflow's name in PEFT's file."""
    architecture, policy, folder = saved
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text()) | {
        "base_model_name_or_path": "packaged:smollm2-135m-instruct"
    }
    path.write_text(json.dumps(config))
    fresh = policy_of(architecture)
    load_adapter(fresh, folder)
    assert torch.equal(looks(fresh)[0], looks(policy)[0])


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("packaged:smollm2-135m-instruct", "base_model: HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("gpt2-large", "base_model: gpt2-large"),
        ("/models/mine", "library_name: peft"),
        ("./mine", "library_name: peft"),
    ],
)
def test_the_card_names_a_base_that_the_hub_accepts(name: str, header: str):
    card = model_card(name, {}, "")
    assert card.splitlines()[1] == header
    assert "with the adapter on, which changes log P_F by about 0.12 nat" in card
    assert ("trained on `packaged:" in card) == name.startswith("packaged:")


def test_model_card_names_base_settings_and_results():
    card = model_card("someone/tiny", {"seed": 0, "objective.lam": 0.9}, "| table |")
    assert card.startswith("---\nbase_model: someone/tiny\nlibrary_name: peft")
    for part in (
        "- `seed`: 0\n- `objective.lam`: 0.9",
        "| table |",
        "AutoPeftModelForCausalLM.from_pretrained",
    ):
        assert part in card


def test_a_run_starts_from_an_adapter(saved):
    architecture, policy, folder = saved
    check_start(str(folder), LoraConfig(r=4, alpha=8))
    fresh = policy_of(architecture)
    start_from(fresh, folder)
    for a, b in zip(looks(fresh), looks(policy), strict=True):
        assert torch.equal(a, b)
    assert any(p.requires_grad for p in fresh.lm.model.parameters())


def test_an_adapter_is_given_by_its_run_or_by_itself(saved):
    _, _, folder = saved
    assert adapter_folder(str(folder)) == adapter_folder(str(folder.parent)) == folder
    with pytest.raises(UserError, match=r"^model\.adapter=nope: no such folder; give a run"):
        adapter_folder("nope")
    with pytest.raises(UserError, match="has no adapter_model"):
        adapter_folder(str(Path(__file__).parent))


def test_an_adapter_of_another_maker_starts_with_fresh_flow_heads(saved):
    architecture, policy, folder = saved
    for name in ("flow_head.safetensors", "flow_head.json", "sampler.json"):
        (folder / name).unlink()
    check_start(str(folder), LoraConfig(r=4, alpha=8))
    fresh = policy_of(architecture)
    untrained = looks(fresh)[2]
    start_from(fresh, folder)
    assert torch.equal(looks(fresh)[0], looks(policy)[0])
    assert torch.equal(looks(policy_of(architecture))[2], untrained)


def test_a_start_that_does_not_fit_is_refused_by_name(saved):
    architecture, _, folder = saved
    with pytest.raises(UserError, match=r"made with alpha=8, not 32; set model\.lora\.alpha=8"):
        check_start(str(folder), LoraConfig(r=4, alpha=32))
    with pytest.raises(UserError, match=r"made with r=4, not 2; set model\.lora\.r=4"):
        check_start(str(folder), LoraConfig(r=2, alpha=8))
    with pytest.raises(UserError, match=r"lora_A\.weight is \(4, 32\) there and \(2, 32\) in this"):
        start_from(policy_of(architecture, r=2), folder)
    other = policy_of("llama" if architecture == "gpt2" else "gpt2")
    with pytest.raises(UserError, match=r"lora_A\.weight is .*none"):
        start_from(other, folder)
    whole = (folder / "adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").write_bytes(whole[:-8])
    with pytest.raises(UserError, match="was cut or damaged"):
        check_start(str(folder), LoraConfig(r=4, alpha=8))
