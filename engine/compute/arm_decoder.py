"""Held-out items in, scored records out: prompts tokenized under the prompt contract, a batch decoded, every answer scored.

It refuses prompts that hold control tokens, and knows nothing of files, plans or resuming.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.compute.decode import Answer, Decoder, answer_text
from engine.compute.loader import LoadedModel
from engine.core.batching import Batch
from engine.core.checks import score
from engine.core.control_tokens import is_control
from engine.core.out_of_memory import is_out_of_memory
from engine.core.prompt import prompt_text
from engine.protocol.arms import ItemRecord
from engine.protocol.errors import InputError
from engine.protocol.items import HeldOutItem
from engine.store.hashes import sha256_bytes

_NO_TOKEN = -1


class BatchDidNotFitError(Exception):
    """GPU memory ran out while `batch` was decoded; the text is the device's."""

    def __init__(self, batch: Batch, text: str) -> None:
        super().__init__(text)
        self.batch = batch


@dataclass(frozen=True)
class ArmDecoder:
    """A loaded model with the items it answers: `items` and `prompts` (token ids) by item id."""

    loaded: LoadedModel
    items: dict[str, HeldOutItem]
    prompts: dict[str, list[int]]
    max_new_tokens: int

    def records(self, batch: Batch, *, adapter: bool) -> tuple[ItemRecord, ...]:
        """Decode and score one batch, with the adapter or without; records in row order.

        Raises:
            EngineError: the model's logits are not finite.
            BatchDidNotFitError: GPU memory ran out.
        """
        with contextlib.nullcontext() if adapter else adapter_off(self.loaded.model):
            answers = self._answers(batch, self.loaded.end_id, adapter=adapter)
        return tuple(
            self._record(self.items[item_id], answer.token_ids, answer.stop, batch)
            for item_id, answer in zip(batch.ids, answers, strict=True)
        )

    def rehearse(self, batch: Batch) -> None:
        """Decode a batch to the full length of every answer, as no row ends, and keep nothing. Raises: as `records`."""
        self._answers(batch, _NO_TOKEN, adapter=True)

    def _answers(self, batch: Batch, end_id: int, *, adapter: bool) -> tuple[Answer, ...]:
        try:
            decoder = Decoder(self.loaded.model, end_id=end_id, pad_id=self.loaded.pad_id)
            prompts = [self.prompts[item_id] for item_id in batch.ids]
            return decoder.decode(prompts, max_new_tokens=self.max_new_tokens, state=adapter)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise BatchDidNotFitError(batch, str(error)) from None

    def _record(self, item: HeldOutItem, token_ids: tuple[int, ...], stop: Any, batch: Batch) -> ItemRecord:
        text = answer_text(self.loaded.tokenizer, token_ids)
        scored = score(item, text)
        return ItemRecord(
            id=item.id,
            types=item.types,
            instruction=item.instruction,
            prompt_sha256=sha256_bytes(prompt_text(item.instruction).encode()),
            token_ids=token_ids,
            text=text,
            success=scored.success,
            checks=scored.checks,
            tokens=len(token_ids),
            stop=stop,
            batch=batch.digest,
        )


def tokenized_prompts(tokenizer: Any, items: Sequence[HeldOutItem]) -> dict[str, list[int]]:
    """Item id → token ids of its prompt, without special tokens.

    Raises:
        InputError: prompts that hold a control token; every item is named.
    """
    control = {
        token_id: token.content
        for token_id, token in tokenizer.added_tokens_decoder.items()
        if is_control(token.content, special=token.special, unknown=tokenizer.unk_token)
    }
    prompts = {item.id: tokenizer.encode(prompt_text(item.instruction), add_special_tokens=False) for item in items}
    found = {item_id: sorted({control[token] for token in ids if token in control}) for item_id, ids in prompts.items()}
    problems = [
        f"held-out item {item_id}: its instruction holds the control token {', '.join(tokens)}, which a model does not read as text; "
        "write the item without it"
        for item_id, tokens in found.items()
        if tokens
    ]
    if problems:
        raise InputError(*problems)
    return prompts


def adapter_off(model: Any) -> contextlib.AbstractContextManager[Any]:
    """A context in which the model answers as the base; nothing changes for a model without adapters."""
    disable = getattr(model, "disable_adapter", None)
    return contextlib.nullcontext() if disable is None else disable()
