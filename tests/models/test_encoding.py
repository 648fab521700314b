"""Many texts in one call of a tokenizer get the ids, and many ids the texts, of single calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from benchmarks.random_models import byte_tokenizer
from contraflow.models import encoding
from contraflow.models.weights.packaged import is_prepared, packaged_folder
from support.models import word_tokenizer
from support.tokenizers import KINDS, tokenizer_of_kind

TEXTS = [
    "Who wrote Hamlet?",
    "",
    " ",
    "  Who",
    "Who ",
    "\nWho",
    "Who\n\nwrote\n",
    "\n",
    "Où est né Gödel?",
    "Is it in Rome? 🇫🇷👍🏽",
    "e\u0301 \u00a0\u200b\ufeff",
    "</s><s> [UNK] <pad>",
    "Who wrote Hamlet?",
    "\x00\t\r\n",
]
TOKENIZERS = {
    **{kind: tokenizer_of_kind(kind) for kind in KINDS},
    "words": word_tokenizer(),
    "bytes": byte_tokenizer(300),
}


def assert_single_calls_agree(tokenizer: Any, texts: list[str]) -> None:
    for first in (True, False):
        for spaced in (True, False):
            rows = encoding.encode_all(tokenizer, texts, first=first, spaced=spaced)
            assert rows == [
                encoding.encode(tokenizer, text, first=first, spaced=spaced) for text in texts
            ]
            single = [tokenizer.decode(ids, skip_special_tokens=True) for ids in rows]
            assert encoding.decode_all(tokenizer, rows) == single


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_odd_texts_are_as_in_single_calls(kind: str):
    assert_single_calls_agree(TOKENIZERS[kind], TEXTS)
    assert_single_calls_agree(TOKENIZERS[kind], TEXTS[:1])
    assert encoding.encode_all(TOKENIZERS[kind], [], first=False, spaced=False) == []
    assert encoding.decode_all(TOKENIZERS[kind], []) == []
    assert encoding.decode_all(TOKENIZERS[kind], [[]]) == [""]


@given(texts=st.lists(st.text(max_size=12), max_size=5), kind=st.sampled_from(sorted(TOKENIZERS)))
def test_any_texts_are_as_in_single_calls(texts: list[str], kind: str):
    assert_single_calls_agree(TOKENIZERS[kind], texts)


def test_special_tokens_open_each_first_text():
    tokenizer = word_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<pad> $A", special_tokens=[("<pad>", 0)]
    )
    assert encoding.encode_all(tokenizer, ["who is", "is"], first=True, spaced=False) == [
        [0, 3, 6],
        [0, 6],
    ]
    assert_single_calls_agree(tokenizer, ["who is", "is", ""])


def test_a_backend_that_pads_and_cuts_does_neither():
    """`tokenizer.json` may say so; transformers does as its caller says."""
    tokenizer = word_tokenizer()
    tokenizer.backend_tokenizer.enable_padding(length=9)
    tokenizer.backend_tokenizer.enable_truncation(2)
    rows = encoding.encode_all(tokenizer, ["who is rome", "is"], first=False, spaced=False)
    assert rows == [[3, 6, 8], [6]]


@pytest.mark.parametrize("name", ["__call__", "_encode_plus"])
def test_a_tokenizer_with_a_call_of_its_own_keeps_it(name: str):
    class Upper(PreTrainedTokenizerFast):
        pass

    def own(self: Any, text: Any, *args: Any, **kwargs: Any) -> Any:
        lower = text.lower() if isinstance(text, str) else text
        return getattr(super(Upper, self), name)(lower, *args, **kwargs)

    setattr(Upper, name, own)
    tokenizer = Upper(
        tokenizer_object=word_tokenizer().backend_tokenizer, pad_token="<pad>", unk_token="<unk>"
    )
    rows = encoding.encode_all(tokenizer, ["WHO is", "IS"], first=False, spaced=False)
    assert rows == [[3, 6], [6]]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2-135m-instruct"])
def test_the_packaged_tokenizer_agrees(name: str):
    from transformers import AutoTokenizer

    if not is_prepared(name):
        pytest.skip("the packaged model is not prepared here")
    assert_single_calls_agree(AutoTokenizer.from_pretrained(packaged_folder(name)), TEXTS)
