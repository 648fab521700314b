"""A tiny random model of every decoder family in transformers, and whether it is supported."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from contraflow.errors import UserError
from contraflow.models.probe import checked_lm, log_probs
from support.models import word_tokenizer

VOCABULARY = 24
WINDOW = 20  # shorter than the positions, longer than the probe
MOST_PARAMETERS = 5_000_000
SHARPENING = 6.0
N_TOKENS = 40  # longer than WINDOW; fewer positions than RoBERTa has, which leaves two out

# Values of every config key of these names; the others keep the default of the architecture.
_SIZES: dict[str, Any] = {
    **dict.fromkeys(["hidden_size", "n_embd", "d_model", "dim", "word_embed_proj_dim"], 32),
    **dict.fromkeys(["num_hidden_layers", "n_layer", "n_layers", "num_layers"], 2),
    **dict.fromkeys(["decoder_layers", "encoder_layers", "num_decoder_layers"], 2),
    **dict.fromkeys(["num_attention_heads", "n_head", "n_heads", "num_heads"], 4),
    **dict.fromkeys(["decoder_attention_heads", "encoder_attention_heads"], 4),
    **dict.fromkeys(["num_encoder_attention_heads", "num_decoder_attention_heads"], 4),
    **dict.fromkeys(["intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim"], 48),
    **dict.fromkeys(["n_inner", "d_ff", "d_inner"], 48),
    **dict.fromkeys(["moe_intermediate_size", "shared_expert_intermediate_size"], 16),
    **dict.fromkeys(["num_experts", "n_routed_experts", "num_local_experts"], 4),
    **dict.fromkeys(["moe_num_experts"], 4),
    **dict.fromkeys(["num_experts_per_tok", "moe_topk", "moe_k"], 2),
    **dict.fromkeys(["n_group", "topk_group"], 1),
    **dict.fromkeys(["max_position_embeddings", "n_positions", "n_ctx"], 64),
    **dict.fromkeys(["pad_token_id", "bos_token_id", "eos_token_id"], 0),
    **dict.fromkeys(["sliding_window", "attention_chunk_size"], WINDOW),
    # Not the neutral value, so that a factor that is left out shows.
    **dict.fromkeys(["logits_scaling", "residual_multiplier", "embedding_multiplier"], 1.5),
    **dict.fromkeys(["final_logit_softcapping", "logit_scale"], 0.8),
    "vocab_size": VOCABULARY,
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 8,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "rotary_dim": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "qk_head_dim": 8,
    "v_head_dim": 8,
}

_LINEAR = {"layer_types": ["linear_attention", "full_attention"]}
_MLA = {"num_key_value_heads": 4, "head_dim": 4}  # every head has keys; head_dim is the rotary part

# What else a family needs to be built at this size.
_OF_FAMILY: dict[str, dict[str, Any]] = {
    "axk1": _MLA,
    "deepseek_v2": {**_MLA, "v_head_dim": 8},
    "deepseek_v3": _MLA,
    "youtu": _MLA,
    "qwen3_5_text": _LINEAR,
    "qwen3_5_moe_text": _LINEAR,
    "qwen3_next": _LINEAR,
    "qwen4_exp_text": _LINEAR,
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": WINDOW},
    "gemma3n_text": {"num_kv_shared_layers": 0, "num_hidden_layers": 2},
    "gemma4_text": {"num_kv_shared_layers": 0},
    "gemma3_text": {
        "final_logit_softcapping": None,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "reformer": {"is_decoder": True},
    "dots1": {"num_key_value_heads": 2, "topk_group": 1},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1, "state_size": 8},
    "bamba": {
        "mamba_d_head": 8,
        "mamba_n_heads": 8,
        "mamba_n_groups": 1,
        "attn_layer_indices": [1],
    },
    "granitemoehybrid": {
        "mamba_d_head": 8,
        "mamba_n_heads": 8,
        "mamba_n_groups": 1,
        "layer_types": ["mamba", "attention"],
    },
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2},
    "longcat_flash": {
        **_MLA,
        "ffn_hidden_size": 48,
        "expert_ffn_hidden_size": 16,
        "zero_expert_num": 2,
    },
    "xlm": {"emb_dim": 32},
    "roc_bert": {
        "pronunciation_embed_dim": 8,
        "pronunciation_vocab_size": VOCABULARY,
        "shape_embed_dim": 8,
        "shape_vocab_size": VOCABULARY,
        "is_decoder": True,
    },
}
# Encoders, unless this is set.
_BERTS = ["bert", "bert-generation", "camembert", "data2vec-text", "electra", "ernie"]
_BERTS += ["roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "megatron-bert"]
_OF_FAMILY |= {family: {"is_decoder": True} for family in _BERTS}

# What is said of a family, by a part of the message that refuses it.
ACCEPTED = "Accepted"
NOT_BUILT = "Not tried: cannot be built this small from a config"
_REFUSED = {
    "cannot share a prefix": "Refused: the attention is not behind transformers' interface",
    "caps scores": "Refused: the attention caps its scores or has sinks",
    "nats from": "Refused: other log-probabilities than transformers' own",
    "a pass over": "Refused: the backbone cannot be read in parts (states, compressed keys)",
}


def families() -> list[str]:
    """Return all model types that AutoModelForCausalLM knows."""
    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def tiny_config_of(family: str) -> PreTrainedConfig:
    """Return the config of a model with two layers of 32 numbers over VOCABULARY ids."""
    kind = CONFIG_MAPPING[family]
    default = kind()
    sizes = _sizes(default, family)
    for nested in kind.sub_configs:
        inner = getattr(default, nested, None)
        if inner is not None:
            sizes[nested] = _sizes(inner, inner.model_type)
    return kind(**sizes)


def _sizes(default: PreTrainedConfig, family: str) -> dict[str, Any]:
    known = default.to_dict()
    return {k: v for k, v in _SIZES.items() if k in known} | _OF_FAMILY.get(family, {})


def tiny_model_of(family: str) -> nn.Module:
    """Return a random model. Raises: whatever transformers raises; ValueError if it is large."""
    config = tiny_config_of(family)
    with torch.device("meta"):
        size = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if size > MOST_PARAMETERS:
        raise ValueError(f"{size} parameters")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(SHARPENING)  # sharper, so that mistakes show
    return model


def outcome_of(family: str) -> tuple[str, float]:
    """Return what happens to a family, and by how many nats its log-probabilities differ.

    The compared texts are as long as this package would allow. Raises: AssertionError for a refusal
    that does not name the architecture or that is not one of the known kinds.
    """
    try:
        model = tiny_model_of(family)
    except Exception:
        return NOT_BUILT, 0.0
    ids = torch.randint(3, 17, (N_TOKENS,), generator=torch.Generator().manual_seed(1))
    try:
        with torch.no_grad():
            reference = model(input_ids=ids[None], use_cache=False).logits[0].log_softmax(-1)
    except Exception:
        reference = None  # such as some mixtures of state and attention, without their cache
    try:
        lm = checked_lm(model, word_tokenizer(), family)
    except UserError as error:
        return _kind_of(str(error), model), 0.0
    assert reference is not None, family
    length = min(len(ids), lm.max_positions)
    ours = log_probs(lm, ids[:length].tolist())
    return ACCEPTED, float((reference[:length] - ours).abs().max())


def _kind_of(message: str, model: nn.Module) -> str:
    name = message.split(maxsplit=1)[0]
    classes = {type(module).__name__ for module in model.modules()}
    assert name in classes, f"{message}: names no part of {type(model).__name__}"
    kinds = [kind for part, kind in _REFUSED.items() if part in message]
    assert len(kinds) == 1, message
    return kinds[0]


def as_markdown(outcomes: dict[str, str]) -> str:
    """Return the list of docs/models.md: one line per outcome, with its families."""
    lines = []
    for kind in (ACCEPTED, *_REFUSED.values(), NOT_BUILT):
        names = [f"`{family}`" for family, outcome in outcomes.items() if outcome == kind]
        lines.append(f"- **{kind}** ({len(names)}): {', '.join(names)}.")
    return "\n".join(lines)
