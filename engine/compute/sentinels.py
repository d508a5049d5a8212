"""Short greedy completions right after loading that show whether the model works as a base model.

The plain-completion sentinel is hard: an empty, stuck or chat-like answer means wrong weights, a wrong tokenizer or a template
that was applied. The bare-instruction sentinels are advisory: modern base models may well follow an instruction; their outputs are
recorded and shown. It refuses to judge quality.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from engine.compute.decode import left_padded
from engine.core.prompt import prompt_text
from engine.data.model_folder import CHAT_TOKENS
from engine.protocol.provenance import SentinelOutcome

NEW_TOKENS = 16
_STUCK_SHARE = 0.8
_STUCK_FROM_TOKENS = 8


@dataclass(frozen=True)
class Sentinel:
    """A prompt and whether its failure stops the run."""

    name: str
    prompt: str
    advisory: bool


SENTINELS = (
    Sentinel("plain-completion", "The river runs through the town and", advisory=False),
    Sentinel("bare-instruction", "Name three colours.", advisory=True),
    Sentinel("prompt-template", prompt_text("Name three colours."), advisory=True),
)


def finding(ids: Sequence[int], text: str, chat_ids: frozenset[int]) -> str:
    """Why a completion is not that of a working base model; empty where it is. `ids` are the new tokens without the end token."""
    if not text.strip():
        return "the completion is empty"
    seen = [token for token in CHAT_TOKENS if token in text]
    if seen or chat_ids.intersection(ids):
        return f"the completion holds a chat-control token ({', '.join(seen) or 'by id'})"
    most = Counter(ids).most_common(1)[0][1]
    if len(ids) >= _STUCK_FROM_TOKENS and most > _STUCK_SHARE * len(ids):
        return f"the completion is stuck: one token makes up {most} of {len(ids)}"
    return ""


def chat_token_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of the added tokens that control a chat."""
    return frozenset(index for text, index in tokenizer.get_added_vocab().items() if text in CHAT_TOKENS)


def run_sentinels(model: Any, tokenizer: Any, end_id: int, pad_id: int) -> tuple[SentinelOutcome, ...]:
    """Complete all of them greedily, in one batch, with at most 16 tokens each. The model is in eval mode."""
    prompts = [tokenizer.encode(sentinel.prompt, add_special_tokens=False) for sentinel in SENTINELS]
    ids_bt, mask_bt = left_padded(prompts, pad_id, model.device)
    with torch.inference_mode():
        out_bt = model.generate(
            input_ids=ids_bt,
            attention_mask=mask_bt,
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=end_id,
            pad_token_id=pad_id,
        )
    chat_ids = chat_token_ids(tokenizer)
    return tuple(
        _outcome(sentinel, row, tokenizer, end_id, chat_ids)
        for sentinel, row in zip(SENTINELS, out_bt[:, ids_bt.shape[1] :].tolist(), strict=True)
    )


def _outcome(sentinel: Sentinel, new: list[int], tokenizer: Any, end_id: int, chat_ids: frozenset[int]) -> SentinelOutcome:
    """What became of one; behind its end token there is padding."""
    new = new[: new.index(end_id)] if end_id in new else new
    text = tokenizer.decode(new, skip_special_tokens=False)
    reason = finding(new, text, chat_ids)
    return SentinelOutcome(
        name=sentinel.name, advisory=sentinel.advisory, passed=not reason, prompt=sentinel.prompt, output=text, reason=reason
    )
