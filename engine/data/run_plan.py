"""What a run will be, before it is one: its tokens, its steps, the plans that could carry it out, and what its evaluation can find.

From settings, datasets, tokenizer and the model's config.json alone. Of a large dataset a seeded sample is tokenized, and said to be
one. It refuses to load weights, and to judge the data: that is the gates' part.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from engine.core.batching import choose_subset, plan_batches
from engine.core.design import units_of
from engine.core.headroom import P10, POWER
from engine.core.packing import steps_per_epoch
from engine.core.planner import (
    CONTEXT_BYTES,
    DecodingEstimate,
    DeviceFigures,
    ModelShape,
    Workload,
    candidates,
    cpu_figures,
    decoding_estimate,
    element_bytes,
    forced_settings,
    gpu_figures,
    mirrorable,
    usable_bytes,
)
from engine.core.planner.device import GIB, card_named
from engine.core.prompt import prompt_text, response_text
from engine.core.split import dev_split
from engine.core.statistics import Undecided, smallest_detectable_difference
from engine.data.driver import driver_gpus
from engine.data.held_out import load_held_out
from engine.data.model_folder import read_model_config
from engine.data.records import RecordReader
from engine.data.tokens import RunTokenizer, TextSample
from engine.protocol.config import Config, TrainTable
from engine.protocol.errors import InputError
from engine.protocol.items import HeldOutItem
from engine.protocol.plans import PlanEstimate

_TOKENIZED_TOGETHER = 1024


class PlannedTokens(msgspec.Struct, frozen=True, kw_only=True):
    """The training data of one epoch. With `sampled`, examples, dropped, truncated and tokens are those of the whole, estimated from
    so many records; 0 where all were looked at."""

    records: int
    sampled: int
    examples: int
    dev_examples: int
    dropped: int
    truncated: int
    tokens: int
    response_tokens: int
    longest: int


class PlannedEvaluation(msgspec.Struct, frozen=True, kw_only=True):
    """The paired evaluation: items, independent units, and the smallest lift found with 80% power (None where none is)."""

    items: int
    units: int
    batches: int
    smallest_lift: float | None
    decoding: DecodingEstimate


class RunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `sluice plan` says. `chosen` is the first of `plans` (fastest first) that may be taken, None where none may."""

    device: DeviceFigures
    usable_bytes: int
    shape: ModelShape
    data: PlannedTokens
    epochs: int
    steps: int
    plans: tuple[PlanEstimate, ...]
    chosen: PlanEstimate | None
    forced: tuple[str, ...]
    evaluation: PlannedEvaluation


class _Examples(msgspec.Struct, frozen=True):
    """Tokens and learnt tokens of the examples that are left, and how many are not or are cut."""

    tokens: list[int]
    learnt: int
    dropped: int
    truncated: int


def device_of_run(config: Config, *, vram_bytes: int | None = None, card: str = "") -> DeviceFigures:
    """The device to plan for: an empty GPU of `vram_bytes`, or of the memory of the `card` that is named, else the first one that the driver shows, with what is
    free on it now, else the CPU."""
    if vram_bytes is None and (known := card_named(card) if card else None):
        vram_bytes = known.vram_gib * GIB
    if vram_bytes is not None:
        return gpu_figures(total_bytes=vram_bytes, free_bytes=vram_bytes - CONTEXT_BYTES, name=card)
    gpus = [gpu for gpu in driver_gpus() if gpu.total_bytes] if config.engine.device != "cpu" else []
    if gpus:
        return gpu_figures(
            total_bytes=gpus[0].total_bytes, free_bytes=gpus[0].free_bytes - CONTEXT_BYTES, name=card or gpus[0].name,
            kind=gpus[0].kind,
        )  # fmt: skip
    page = os.sysconf("SC_PAGE_SIZE")
    return cpu_figures(total_bytes=page * os.sysconf("SC_PHYS_PAGES"), free_bytes=page * os.sysconf("SC_AVPHYS_PAGES"))


def plan_run(config: Config, device: DeviceFigures) -> RunPlan:
    """The plan of a run on `device`.

    Raises: InputError, ModelError: a dataset, tokenizer or config.json that cannot be used; ConfigError: a forced choice that cannot
    be carried out.
    """
    tokenizer = RunTokenizer.load(config.model.path)
    return plan_texts(config, device, tokenizer, _sample(config), load_held_out(Path(config.data.held_out)).items)


def plan_texts(
    config: Config, device: DeviceFigures, tokenizer: RunTokenizer, sample: TextSample, held_out: Sequence[HeldOutItem]
) -> RunPlan:
    """The plan of a run on texts that were read before.

    Raises: InputError where no example is left; ModelError: a config.json that cannot be used; ConfigError: a forced choice that
    cannot be carried out.
    """
    shape = ModelShape.of_run(read_model_config(config.model.path), config)
    train, dev = _encoded(sample, tokenizer, config)
    data = _of_the_whole(sample, train, dev)
    workload = Workload.of_lengths(
        train.tokens, response_tokens=train.learnt, dev=dev.tokens, seed=config.run.seed, epochs=config.train.epochs,
        batch_examples=config.train.batch_examples,
    )  # fmt: skip
    plans = candidates(shape, workload, device, config)
    return RunPlan(
        device=device, usable_bytes=usable_bytes(device, config), shape=shape, data=data, epochs=config.train.epochs,
        steps=config.train.epochs * steps_per_epoch(data.examples, config.train.batch_examples), plans=plans,
        chosen=next((plan for plan in plans if not plan.refused), None), forced=forced_settings(config),
        evaluation=_evaluation(config, shape, device, tokenizer, held_out),
    )  # fmt: skip


def _sample(config: Config) -> TextSample:
    sample = TextSample(config.run.seed)
    for record in RecordReader(Path(config.data.train)):
        sample.offer(record.name, (record.instruction, record.response))
    return sample


def _encoded(sample: TextSample, tokenizer: RunTokenizer, config: Config) -> tuple[_Examples, _Examples]:
    """Training and dev examples of the sample, split as training splits."""
    texts = [texts for _, texts in sample.texts]
    chosen = dev_split([instruction for instruction, _ in texts], share=config.train.dev_share, seed=config.run.seed)
    train, dev = (_examples([texts[index] for index in split], tokenizer, config.train) for split in chosen)
    if not train.tokens:
        raise InputError(
            f"{config.data.train}: no example is left to train on: every prompt fills max_seq_len ({config.train.max_seq_len} tokens)"
        )
    return train, dev


def _examples(pairs: Sequence[tuple[str, ...]], tokenizer: RunTokenizer, train: TrainTable) -> _Examples:
    """Lengths as `join_example` makes them: prompt, response and the end token, cut at `max_seq_len`."""
    tokens, learnt, truncated = [], 0, 0
    for start in range(0, len(pairs), _TOKENIZED_TOGETHER):
        some = pairs[start : start + _TOKENIZED_TOGETHER]
        prompts = tokenizer.token_ids([prompt_text(instruction) for instruction, _ in some])
        responses = tokenizer.token_ids([response_text(response) for _, response in some])
        for prompt, response in zip(map(len, prompts), map(len, responses), strict=True):
            if not 0 < prompt < train.max_seq_len:
                continue
            whole = prompt + response + 1
            tokens.append(min(whole, train.max_seq_len))
            learnt += tokens[-1] - prompt
            truncated += whole > train.max_seq_len
    return _Examples(tokens, learnt, len(pairs) - len(tokens), truncated)


def _of_the_whole(sample: TextSample, train: _Examples, dev: _Examples) -> PlannedTokens:
    """The counts of all records; those of a sample in proportion, its dev examples (a fixed number at most) as they are."""
    times = (sample.offered - len(dev.tokens)) / max(1, sample.kept - len(dev.tokens))

    def whole(count: int) -> int:
        return count if sample.whole else round(count * times)

    return PlannedTokens(
        records=sample.offered, sampled=0 if sample.whole else sample.kept, examples=whole(len(train.tokens)),
        dev_examples=len(dev.tokens), dropped=whole(train.dropped + dev.dropped), truncated=whole(train.truncated + dev.truncated),
        tokens=whole(sum(train.tokens)), response_tokens=whole(train.learnt), longest=max(train.tokens),
    )  # fmt: skip


def _evaluation(
    config: Config, shape: ModelShape, device: DeviceFigures, tokenizer: RunTokenizer, held_out: Sequence[HeldOutItem]
) -> PlannedEvaluation:
    items = choose_subset(held_out, config.eval.subset, config.run.seed)
    ids = tokenizer.token_ids([prompt_text(item.instruction) for item in items])
    batches = plan_batches({item.id: tokens for item, tokens in zip(items, ids, strict=True)}, config.eval.batch_items).batches
    units = len(set(units_of(items).values()))
    lift = smallest_detectable_difference(units, P10, config.verdict.alpha, POWER)
    decoding = decoding_estimate(
        shape, [(len(batch.ids), batch.width) for batch in batches], device, usable_bytes=usable_bytes(device, config),
        new_tokens=config.eval.max_new_tokens, mirrorable=mirrorable(config, shape, device), element_size=element_bytes(config, device),
    )  # fmt: skip
    return PlannedEvaluation(
        items=len(items), units=units, batches=len(batches), smallest_lift=None if isinstance(lift, Undecided) else lift,
        decoding=decoding,
    )  # fmt: skip
