"""CounterFact (Meng et al. 2022): one edit per row, with a cloze prompt.

The paraphrase, neighborhood, attribute and generation prompts test an edited model and are not part
of a fact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from contraflow.facts.formats._published import Published
from contraflow.facts.formats._rewrite import Rewrite


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row as published; only `requested_rewrite` is read."""

    requested_rewrite: Rewrite
    case_id: Any = None
    pararel_idx: Any = None
    paraphrase_prompts: Any = None
    neighborhood_prompts: Any = None
    attribute_prompts: Any = None
    generation_prompts: Any = None


def _facts(row: Row) -> Iterator[Mapping[str, object]]:
    yield row.requested_rewrite.fact()


read = Published("CounterFact", Row, _facts)
