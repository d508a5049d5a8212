"""Records as tensors: tokenized examples, and packed rows on the device.

Shapes, as suffixes: t tokens of a row, k of them learnt. Attention goes through an explicit 4-D mask, causal inside each segment: without it, or
with a 2-D mask, libraries let packed examples see each other without a word. It refuses to add special tokens.
"""

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import torch

from engine.core.masking import IGNORED, Encoded, Example, collect, join_example
from engine.core.packing import RowPlan, pack
from engine.core.prompt import prompt_text, response_text

_TOKENIZED_TOGETHER = 1024


@dataclass(frozen=True)
class RowTensors:
    """One packed row on its device. `predictors_k` are the positions whose next token is learnt, `targets_k` those tokens.

    Attention stays inside the segments: by `ends` (cumulative lengths, int32, from 0) with `longest` at least the longest segment, or by
    the boolean mask; exactly one of the two is there.
    """

    ids_1t: torch.Tensor
    positions_1t: torch.Tensor
    mask_11tt: torch.Tensor | None
    predictors_k: torch.Tensor
    targets_k: torch.Tensor
    ends: torch.Tensor | None = None
    longest: int = 0


def encode_pairs(pairs: Iterable[tuple[str, str]], tokenizer: Any, *, end_id: int, max_seq_len: int) -> Encoded:
    """Examples of (instruction, response) pairs, prompt and response tokenized apart, in order."""
    return collect(
        join_example(prompt, response, end_id=end_id, max_seq_len=max_seq_len)
        for prompt, response in _tokenized(pairs, tokenizer)
    )


def _tokenized(pairs: Iterable[tuple[str, str]], tokenizer: Any) -> Iterable[tuple[list[int], list[int]]]:
    source = iter(pairs)
    while some := list(islice(source, _TOKENIZED_TOGETHER)):
        prompts = [prompt_text(instruction) for instruction, _ in some]
        responses = [response_text(response) for _, response in some]
        yield from zip(_ids(prompts, tokenizer), _ids(responses, tokenizer), strict=True)


def _ids(texts: list[str], tokenizer: Any) -> list[list[int]]:
    found: list[list[int]] = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    return found


def examples_sha256(examples: Sequence[Example]) -> str:
    """sha256 over every token id and every prompt length: what is trained on, whatever file it came from."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(array("q", (len(example.ids), example.prompt_tokens, *example.ids)).tobytes())
    return digest.hexdigest()


def row_tensors(
    row: RowPlan, examples: Sequence[Example], *, pad_id: int, device: torch.device, segments: bool = False
) -> RowTensors:
    """The row packed, on `device`; with `segments` described by its segments' ends, else by a mask."""
    packed = pack(row, examples, pad_id)
    ids, labels, positions, numbers = torch.tensor(
        (packed.ids, packed.labels, packed.positions, packed.segments), dtype=torch.long
    )
    predictors = (labels[1:] != IGNORED).nonzero().squeeze(1)
    ends = segment_ends(row, examples)
    return RowTensors(
        ids_1t=ids.unsqueeze(0).to(device),
        positions_1t=positions.unsqueeze(0).to(device),
        mask_11tt=None if segments else block_mask(numbers.to(device)),
        predictors_k=predictors.to(device),
        targets_k=labels[predictors + 1].to(device),
        ends=torch.tensor(ends, dtype=torch.int32, device=device) if segments else None,
        longest=max(end - start for start, end in pairwise(ends)),
    )


def block_mask(segments_t: torch.Tensor) -> torch.Tensor:
    """(1, 1, t, t): True where a position may attend, itself and what is before it in its segment."""
    return (segments_t.unsqueeze(0) == segments_t.unsqueeze(1)).tril().unsqueeze(0).unsqueeze(0)


def segment_ends(row: RowPlan, examples: Sequence[Example]) -> list[int]:
    """Cumulative lengths of the row's segments from 0, the padding as the last of them where there is any."""
    ends = [0]
    for index in row.examples:
        ends.append(ends[-1] + examples[index].tokens)
    return ends if ends[-1] == row.width else [*ends, row.width]
