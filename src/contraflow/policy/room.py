"""Room for questions in a model's context, known before anything is sampled."""

from __future__ import annotations

from contraflow.errors import UserError
from contraflow.models.causal_lm import CausalLM
from contraflow.text.prompts import PromptTemplate


def check_room(lm: CausalLM, prompt: PromptTemplate, max_len: int) -> None:
    """Check that the longest question and its stop fit behind the prompt of the shortest fact.

    A prompt whose header fills all positions is left to `CausalLM.prefix_cache`.

    Raises: UserError naming `policy.max_question_len` and the longest that fits.
    """
    header = lm.header_ids(prompt.header, prompt.opening)
    body = lm.encode(prompt.body(subject="", edit_fact=""), first=not header)
    longest = lm.max_positions - len(header) - len(body) - 1
    if max_len > longest and len(header) < lm.max_positions:
        raise UserError(
            f"policy.max_question_len={max_len}: the model reads {lm.max_positions} tokens at "
            f"once, and prompt.task takes {len(header) + len(body)} of them without a fact; "
            f"{_remedy(longest)}"
        )


def _remedy(longest: int) -> str:
    if longest < 1:
        return "shorten prompt.task"
    return f"give at most {longest}, less the tokens of your facts"
