"""Small tokenizers of the kinds that language models have, built without files."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

_LETTERS = "abcdefghijklmnopqrstuvwxyzHIRW0123456789.,:!?"
_WORDS = ["Who", "wrote", "Hamlet", "Rome", "Is", "it", "in"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
KINDS = ("bpe", "byte_level", "sentencepiece_legacy", "sentencepiece", "unigram", "wordpiece")


def tokenizer_of_kind(kind: str, **special: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer of one of KINDS; ``special`` are its eos_token and so on, if any."""
    made = {
        "bpe": _bpe,
        "byte_level": _byte_level,
        "sentencepiece_legacy": lambda: _sentencepiece(legacy=True),
        "sentencepiece": lambda: _sentencepiece(legacy=False),
        "unigram": _unigram,
        "wordpiece": _wordpiece,
    }[kind]()
    return PreTrainedTokenizerFast(tokenizer_object=made, **special)


def _merges(words: list[str], vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Let BPE build each word from left to right; adds what is missing to the vocabulary."""
    merges: list[tuple[str, str]] = []
    for word in words:
        for end in range(2, len(word) + 1):
            merge = (word[: end - 1], word[end - 1])
            if merge not in merges:
                merges.append(merge)
            vocabulary.setdefault(word[:end], len(vocabulary))
    return merges


def _vocabulary(pieces: list[str]) -> dict[str, int]:
    return {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}


def _bpe() -> Tokenizer:
    """Words and marks apart; a space is part of the word after it (without bytes)."""
    vocabulary = _vocabulary(["<unk>", "\n", " ", *_LETTERS])
    merges = _merges([*_WORDS, *(f" {word}" for word in _WORDS), "??", " ?"], vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _byte_level() -> Tokenizer:
    """As GPT-2: a space is Ġ, a line break Ċ, and every byte has a sign."""
    vocabulary = _vocabulary(sorted(pre_tokenizers.ByteLevel.alphabet()))
    merges = _merges([*_WORDS, *(f"Ġ{word}" for word in _WORDS), "??", "Ġ?"], vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(legacy: bool) -> Tokenizer:
    """As Llama 2 and Mistral (legacy) or Phi-3: ▁ is put before a text; other signs are bytes."""
    vocabulary = _vocabulary(["<unk>", "<s>", "</s>", *BYTES, "▁", *_LETTERS])
    merges = _merges([*_WORDS, *(f"▁{word}" for word in _WORDS), "▁?", "??"], vocabulary)
    model = models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(model)
    if legacy:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


def _unigram() -> Tokenizer:
    """As XGLM or Gemma's predecessors: Metaspace, line breaks are pieces of their own."""
    pieces = ["<unk>", "▁", "\n", *_LETTERS, "▁?", "??", *(f"▁{word}" for word in _WORDS), *_WORDS]
    scores = [(piece, -float(len(piece) < 2) * 5 - 1) for piece in dict.fromkeys(pieces)]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    return tokenizer


def _wordpiece() -> Tokenizer:
    """As BERT: words and marks are split at white space, ##x continues a word."""
    pieces = ["[UNK]", "\n", *_LETTERS, "??", "##?", *(f"##{sign}" for sign in _LETTERS), *_WORDS]
    tokenizer = Tokenizer(models.WordPiece(_vocabulary(pieces), unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return tokenizer
