"""Greedy decoding of one batch of prompts, left-padded, at a fixed number of rows.

A row that has ended goes on as padding until all rows have: kernels are picked by row count, so a batch that shrank would not be the
same arithmetic for both arms. Where the model attends through sluice, keys and values lie in buffers of fixed size, and on a GPU one step is a
CUDA graph that is replayed for every token; any other model decodes with the library's growing cache. It refuses sampling, and output of a model
whose numbers are not finite.

Shapes, as suffixes of names: b rows, t columns that are fed, s columns that there is room for, n columns generated, v vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import torch
from transformers import DynamicCache

from engine.compute.attention import NAME, masks_of
from engine.compute.device import unsorted
from engine.core.out_of_memory import is_out_of_memory
from engine.core.planner import cache_columns
from engine.protocol.arms import StopReason
from engine.protocol.errors import EngineError
from engine.protocol.events import Event, FastPathFellBack

# How many tokens are decoded between two looks at whether all rows have ended; a look stalls a GPU, and is free on a CPU.
TOKENS_BETWEEN_LOOKS = {"cpu": 1, "cuda": 8}
_SHAPES_KEPT = 4


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What one row generated: token ids, the end token included where there is one, and why it stopped."""

    token_ids: tuple[int, ...]
    stop: StopReason


class Decoder:
    """Decodes batches with one model in eval mode; `graphs` captures the step of a batch's shape once and replays it.

    `state` tells apart what a captured graph must not mix up, adapter on and off. Where a step cannot be captured, kernels are launched one
    by one from then on, and `emit` is told.
    """

    def __init__(self, model: Any, *, pad_id: int, graphs: bool = False, emit: Callable[[Event], None] = lambda _: None) -> None:
        self._model, self._pad_id = model, pad_id
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._base, self._fixed = base, base.config._attn_implementation == NAME
        self._graphs, self._emit = graphs and self._fixed, emit
        self._storage = _Storage(0)
        self._steps: dict[tuple[int, int, bool], _FixedStep] = {}

    def decode(
        self, prompts: Sequence[Sequence[int]], *, end_id: int, max_new_tokens: int, state: bool = True
    ) -> tuple[Answer, ...]:
        """The greedy answers to `prompts` (token ids, each at least one), in their order, of 1 … `max_new_tokens` tokens each.

        With an `end_id` that is no token no row ends. The pad id may equal the end id, as padding is masked by position.

        Raises:
            EngineError: the model's logits are not finite.
        """
        with torch.inference_mode():
            ids_bt, mask_bt = left_padded(prompts, self._pad_id, self._model.device)
            feed = (
                self._fixed_feed(ids_bt, mask_bt, max_new_tokens, state) if self._fixed else self._growing_feed(ids_bt, mask_bt)
            )
            generated_bn = self._generate(feed, ids_bt, end_id, max_new_tokens)
        return tuple(_answer(row, end_id) for row in generated_bn.tolist())

    def _generate(
        self, feed: Callable[[torch.Tensor], torch.Tensor], ids_bt: torch.Tensor, end_id: int, max_new_tokens: int
    ) -> torch.Tensor:
        """Token by token; returns (b, n) generated ids with n ≤ `max_new_tokens`. `feed` takes ids and gives the next logits (b, v)."""
        rows = ids_bt.shape[0]
        generated_bn = ids_bt.new_full((rows, max_new_tokens), self._pad_id)
        ended_b = torch.zeros(rows, dtype=torch.bool, device=ids_bt.device)
        finite = torch.ones((), dtype=torch.bool, device=ids_bt.device)
        look_every = TOKENS_BETWEEN_LOOKS.get(ids_bt.device.type, 8)
        for step in range(max_new_tokens):
            best_b, next_b = feed(ids_bt).max(dim=-1)
            finite &= torch.isfinite(best_b).all()
            generated_bn[:, step] = torch.where(ended_b, self._pad_id, next_b)
            ended_b |= next_b == end_id
            if (step + 1) % look_every == 0 and bool(ended_b.all()):
                generated_bn = generated_bn[:, : step + 1]
                break
            ids_bt = generated_bn[:, step : step + 1]
        if not bool(finite):
            raise EngineError(
                "the model's logits are not finite (NaN or infinity); its weights are damaged or its dtype overflows"
            )
        return generated_bn

    def _growing_feed(self, ids_bt: torch.Tensor, mask_bt: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        """The library's own cache and masks."""
        cache, mask, position_bt = DynamicCache(config=self._model.config), mask_bt, _positions(mask_bt)

        def feed(ids_bt: torch.Tensor) -> torch.Tensor:
            nonlocal mask, position_bt
            output = self._model(
                input_ids=ids_bt, attention_mask=mask, position_ids=position_bt, past_key_values=cache, use_cache=True,
                logits_to_keep=1,
            )  # fmt: skip
            mask, position_bt = torch.cat([mask, mask.new_ones(mask.shape[0], 1)], dim=1), position_bt[:, -1:] + 1
            logits_bv: torch.Tensor = output.logits[:, -1]
            return logits_bv

        return feed

    def _fixed_feed(
        self, ids_bt: torch.Tensor, mask_bt: torch.Tensor, max_new_tokens: int, state: bool
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Buffers of fixed size: the prompts once, then a step that is the same work for every token."""
        rows, width = ids_bt.shape
        room = cache_columns(width + max_new_tokens)
        if rows * room > self._storage.columns:
            # the old buffers go before the new ones come, and with them what was captured over them
            self._steps.clear()
            self._storage = _Storage(rows * room)
        step = self._steps.pop((rows, room, state), None)
        if step is None:
            while len(self._steps) >= _SHAPES_KEPT:
                self._steps.pop(next(iter(self._steps)))
            step = _FixedStep(self._base, _FixedCache(rows, room, self._storage, self._base.device), graph=self._graphs)
        self._steps[rows, room, state] = step
        first = True

        def feed(ids_bt: torch.Tensor) -> torch.Tensor:
            nonlocal first
            if first:
                first = False
                return step.begin(ids_bt, mask_bt)
            try:
                return step.next(ids_bt)
            except CaptureError as error:
                self._graphs = False
                self._emit(FastPathFellBack(path="CUDA graph", reason=str(error), instead="kernels are launched one by one"))
                return step.again_without_graph()

        return feed


class CaptureError(Exception):
    """A step could not be captured as a graph, for another reason than memory."""


class _Storage:
    """One buffer of keys and one of values a layer, for `columns` columns of all rows together; batches of every shape share them."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def of_layer(self, layer_idx: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The flat buffers of a layer, made at its first use for heads as those of `like` (b, key heads, t, width of a head)."""
        if layer_idx not in self._layers:
            size = self.columns * like.shape[1] * like.shape[3]
            self._layers[layer_idx] = like.new_zeros(size), like.new_zeros(size)
        return self._layers[layer_idx]


class _FixedCache:
    """Keys and values (b, key heads, s, width of a head) of every layer, in buffers that do not move."""

    def __init__(self, rows: int, room: int, storage: _Storage, device: torch.device) -> None:
        self.rows, self.room, self._storage = rows, room, storage
        self.place = torch.zeros(1, dtype=torch.long, device=device)

    def get_seq_length(self, *_: Any) -> int:
        """Nothing that counts: positions and masks are always given."""
        return 0

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Called by the model's layers: the prompts' own keys and values back, or for one token the whole buffers."""
        shape = (self.rows, key.shape[1], self.room, key.shape[3])
        keys, values = (flat[: math.prod(shape)].view(shape) for flat in self._storage.of_layer(layer_idx, key))
        if key.shape[2] > 1:
            keys[:, :, : key.shape[2]], values[:, :, : key.shape[2]] = key, value
            return key, value
        with unsorted():
            keys.index_copy_(2, self.place, key)
            values.index_copy_(2, self.place, value)
        return keys, values


class _FixedStep:
    """Decoding at one shape: buffers, and the step as a graph where wanted."""

    def __init__(self, base: Any, cache: _FixedCache, *, graph: bool) -> None:
        self._base, self._device, self._cache = base, base.device, cache
        rows, room = cache.rows, cache.room
        self._ids_b1 = torch.zeros(rows, 1, dtype=torch.long, device=base.device)
        self._position_b1 = torch.zeros_like(self._ids_b1)
        self._visible_bs = torch.zeros(rows, room, dtype=torch.bool, device=base.device)
        self._wants_graph = graph
        self._graph: torch.cuda.CUDAGraph | None = None
        self._logits_bv: torch.Tensor | None = None

    def begin(self, ids_bt: torch.Tensor, mask_bt: torch.Tensor) -> torch.Tensor:
        """The prompts; (b, v) logits of the token after them."""
        width = ids_bt.shape[1]
        self._visible_bs.zero_()
        self._visible_bs[:, :width] = mask_bt.bool()
        self._position_b1.copy_(_positions(mask_bt)[:, -1:])
        self._cache.place.fill_(width - 1)
        if width == 1:
            return self.next(ids_bt, advance=False)
        order = torch.arange(width, device=self._device)
        # a padding row sees itself, so that no row of the softmax is empty
        visible = (mask_bt.bool()[:, None, None] & (order[:, None] >= order[None])) | torch.eye(
            width, dtype=torch.bool, device=self._device
        )
        return self._forward(ids_bt, _positions(mask_bt), visible)

    def next(self, ids_b1: torch.Tensor, *, advance: bool = True) -> torch.Tensor:
        """One more column; (b, v) logits after it, in a buffer that the next call overwrites."""
        self._ids_b1.copy_(ids_b1)
        if advance:
            self._position_b1 += 1
            self._cache.place += 1
        self._visible_bs.index_fill_(1, self._cache.place, True)
        if not self._wants_graph:
            return self._step()
        if self._graph is None:
            try:
                self._capture()
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                raise CaptureError(str(error).partition("\n")[0][:160]) from error
        else:
            self._graph.replay()
        assert self._logits_bv is not None
        return self._logits_bv

    def again_without_graph(self) -> torch.Tensor:
        """The step whose capture failed; as the ones to follow, kernel by kernel."""
        self._wants_graph = False
        return self._step()

    def _capture(self) -> None:
        """Run the step twice as it is, which changes nothing, then capture it; the buffers then hold this step's results."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._logits_bv = self._step()
        graph.replay()
        self._graph = graph

    def _step(self) -> torch.Tensor:
        return self._forward(self._ids_b1, self._position_b1, self._visible_bs[:, None, None])

    def _forward(self, ids_bt: torch.Tensor, position_bt: torch.Tensor, visible_b1ts: torch.Tensor) -> torch.Tensor:
        hidden_bth = self._base.get_decoder()(
            input_ids=ids_bt, position_ids=position_bt, attention_mask=masks_of(self._base, visible_b1ts),
            past_key_values=self._cache, use_cache=True,
        ).last_hidden_state  # fmt: skip
        logits_bv: torch.Tensor = self._base.get_output_embeddings()(hidden_bth[:, -1])
        return logits_bv


def answer_text(tokenizer: Any, token_ids: Sequence[int]) -> str:
    """Generated tokens as text, without special tokens and without the one space that the prompt contract puts before a response."""
    text: str = tokenizer.decode(list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text.removeprefix(" ")


def _positions(mask_bt: torch.Tensor) -> torch.Tensor:
    return (mask_bt.cumsum(dim=1) - 1).clamp(min=0)


def left_padded(prompts: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(b, t) ids and mask, 1 where there is a prompt token; t is the longest prompt."""
    width = max(len(prompt) for prompt in prompts)
    ids = [[pad_id] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _answer(row: list[int], end_id: int) -> Answer:
    """Cut a row after its first end token; what stands behind it is padding."""
    if end_id in row:
        return Answer(token_ids=tuple(row[: row.index(end_id) + 1]), stop="end")
    return Answer(token_ids=tuple(row), stop="length")
