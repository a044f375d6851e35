"""One word, one token: the tokenizer of a laboratory world.

A model of the laboratory never meets a word it has to assemble, so a prompt's tokens are its words and their number is
a property of the template, not of the fact. Text starts with ``<bos>``; a word that is not in the vocabulary becomes
``<unk>``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

BOS: Final = "<bos>"
UNKNOWN: Final = "<unk>"
PAD: Final = "<pad>"
SPECIAL_TOKENS: Final = (BOS, UNKNOWN, PAD)
"""They take the first ids, in this order."""


def build_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """A word-level tokenizer over exactly these words; saved, it loads with ``AutoTokenizer`` and without a network.

    Args:
        words: the vocabulary, distinct, each a single word or mark.

    >>> tokenizer = build_tokenizer(["Ada", "lives", "in", "Lisbon", "."])
    >>> tokenizer.convert_ids_to_tokens(tokenizer("Ada lives in Lisbon.")["input_ids"])
    ['<bos>', 'Ada', 'lives', 'in', 'Lisbon', '.']
    """
    ids = {token: i for i, token in enumerate((*SPECIAL_TOKENS, *words))}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, ids[BOS])]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, unk_token=UNKNOWN, pad_token=PAD)
