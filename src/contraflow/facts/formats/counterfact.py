"""CounterFact (Meng et al. 2022): one edit per row, with a cloze prompt.

Neighborhood prompts ask about other subjects with the same true answer, attribute prompts about
subjects of which the edited answer is true; an edit must change neither. Generation prompts have no
answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from contraflow.facts.formats._probes import TestPrompts
from contraflow.facts.formats._published import Published
from contraflow.facts.formats._rewrite import Rewrite


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row as published."""

    requested_rewrite: Rewrite
    case_id: Any = None
    pararel_idx: Any = None
    paraphrase_prompts: Any = None
    neighborhood_prompts: Any = None
    attribute_prompts: Any = None
    generation_prompts: Any = None


def _edits(row: Row) -> Iterator[Mapping[str, object]]:
    rewrite = row.requested_rewrite
    tests = TestPrompts()
    tests.add_paraphrases("paraphrase_prompts", row.paraphrase_prompts)
    true, new = rewrite.target_true.text, rewrite.target_new.text
    tests.add("locality", "locality/neighborhood", row.neighborhood_prompts, true)
    tests.add("locality", "locality/attribute", row.attribute_prompts, new)
    tests.add("portability", "portability/generation", row.generation_prompts, None)
    yield rewrite.row() | tests.fields()


read = Published("CounterFact", Row, _edits)
