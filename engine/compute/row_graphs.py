"""Forward and backward of a packed row as one CUDA graph a width, replayed instead of launching thousands of small kernels.

Nothing inside synchronises: inputs lie in buffers of fixed size, rows are padded to their bucket, unused places of the learnt positions
have the target −100, unused segments length 0. The graphs share one memory pool, the widest captured first. It refuses rows that are wider
than its widest bucket.
"""

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from engine.compute.batches import RowTensors, block_mask, segment_ends
from engine.core.masking import IGNORED, Example
from engine.core.packing import RowPlan, pack

Gradients = Callable[[RowTensors, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class BucketSize:
    """What the rows of one width need at most: learnt positions, segments with the padding, and tokens of the longest of these.

    The attention kernel is launched for that many tokens of every segment, so that a length which no row of this width has costs time.
    """

    learnt: int
    segments: int
    longest: int


def bucket_sizes(rows: Sequence[RowPlan], examples: Sequence[Example]) -> dict[int, BucketSize]:
    """Sizes by width over all rows that will be run."""
    sizes: dict[int, BucketSize] = {}
    for row in rows:
        before = sizes.get(row.width, BucketSize(0, 0, 0))
        sizes[row.width] = BucketSize(
            learnt=max(before.learnt, -(-row.response_tokens // 64) * 64),
            segments=max(before.segments, len(row.examples) + 1),
            longest=max(before.longest, row.width - row.tokens, *(examples[index].tokens for index in row.examples)),
        )
    return sizes


@dataclass(frozen=True)
class HostRow:
    """A packed row on the host, padded to its bucket, in pinned memory."""

    width: int
    ids: torch.Tensor
    positions: torch.Tensor
    numbers: torch.Tensor
    predictors: torch.Tensor
    targets: torch.Tensor
    ends: torch.Tensor


class _Captured:
    """The buffers and the graph of one width."""

    def __init__(self, width: int, size: BucketSize, device: torch.device, *, segments: bool) -> None:
        self.ids_1t = torch.zeros(1, width, dtype=torch.long, device=device)
        self.positions_1t = torch.arange(width, device=device).unsqueeze(0)
        self.numbers_t = torch.zeros(width, dtype=torch.long, device=device)
        self.predictors_k = torch.zeros(size.learnt, dtype=torch.long, device=device)
        self.targets_k = torch.full((size.learnt,), IGNORED, dtype=torch.long, device=device)
        # before the first row too, no segment is longer than the kernel is launched for
        self.ends = (torch.arange(size.segments + 1, dtype=torch.int32, device=device) * size.longest).clamp(max=width)
        self.scale = torch.ones((), device=device)
        self.graph = torch.cuda.CUDAGraph()
        self.loss: torch.Tensor | None = None
        self._segments, self._longest = segments, size.longest

    def row(self) -> RowTensors:
        """The buffers as a row."""
        return RowTensors(
            ids_1t=self.ids_1t,
            positions_1t=self.positions_1t,
            mask_11tt=None if self._segments else block_mask(self.numbers_t),
            predictors_k=self.predictors_k,
            targets_k=self.targets_k,
            ends=self.ends if self._segments else None,
            longest=self._longest,
        )

    def fill(self, row: HostRow, scale: float) -> None:
        """Take the row and its scale."""
        for buffer, fresh in (
            (self.ids_1t[0], row.ids), (self.positions_1t[0], row.positions), (self.predictors_k, row.predictors),
            (self.targets_k, row.targets), (self.ends, row.ends),
        ):  # fmt: skip
            buffer.copy_(fresh, non_blocking=True)
        if not self._segments:
            self.numbers_t.copy_(row.numbers, non_blocking=True)
        self.scale.fill_(scale)


class RowGraphs:
    """One graph a width for `gradients`, which runs a row forward and backward and gives its loss times the scale."""

    def __init__(
        self, gradients: Gradients, sizes: Mapping[int, BucketSize], *, device: torch.device, segments: bool, pad_id: int
    ) -> None:  # fmt: skip
        self._gradients, self._sizes, self._device, self._pad_id = gradients, sizes, device, pad_id
        self._segments = segments
        self._captured: dict[int, _Captured] = {}

    def capture(self) -> None:
        """Run every width once as it is and capture it, widest first. Gradients are then whatever the last replay leaves: zero them."""
        widths = sorted(self._sizes, reverse=True)
        for width in widths:
            self._captured[width] = _Captured(width, self._sizes[width], self._device, segments=self._segments)
        self._warm_up(widths)
        gc.collect()
        torch.cuda.empty_cache()
        pool = torch.cuda.graph_pool_handle()
        for width in widths:
            captured = self._captured[width]
            with torch.cuda.graph(captured.graph, pool=pool):
                captured.loss = self._gradients(captured.row(), captured.scale)

    def _warm_up(self, widths: Sequence[int]) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for width in widths:
                self._gradients(self._captured[width].row(), self._captured[width].scale)
        torch.cuda.current_stream().wait_stream(side)

    def prepared(self, row: RowPlan, examples: Sequence[Example]) -> HostRow:
        """The row packed and padded to its bucket, on the host."""
        size, packed, ends = self._sizes[row.width], pack(row, examples, self._pad_id), segment_ends(row, examples)
        labels = torch.tensor(packed.labels)
        places = (labels[1:] != IGNORED).nonzero().squeeze(1)
        predictors = torch.zeros(size.learnt, dtype=torch.long)
        targets = torch.full((size.learnt,), IGNORED, dtype=torch.long)
        predictors[: len(places)], targets[: len(places)] = places, labels[places + 1]
        ends += [row.width] * (size.segments + 1 - len(ends))
        return HostRow(
            row.width,
            *(
                tensor.pin_memory()
                for tensor in (
                    torch.tensor(packed.ids), torch.tensor(packed.positions), torch.tensor(packed.segments), predictors, targets,
                    torch.tensor(ends, dtype=torch.int32),
                )
            ),
        )  # fmt: skip

    def replay(self, row: HostRow, scale: float) -> torch.Tensor:
        """Run the row; its scaled loss, in a buffer that the next replay of this width overwrites."""
        captured = self._captured[row.width]
        captured.fill(row, scale)
        captured.graph.replay()
        assert captured.loss is not None
        return captured.loss
