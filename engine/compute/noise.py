"""The noise floor of an arm: what changes when items are decoded again although no weight did (SPEC §6).

`repeat`: the first batches once more as they were, expected to change nothing; `rebatch`: a seeded sample in other batches, the honest
uncertainty of the arithmetic; `unpadded`: padded items among others of their length, so without padding, which float32 proves harmless and
lower precision measures; `drift`: the first base batches once more, adapter off, in the process of the SFT arm.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from engine.compute.arm_decoder import ArmDecoder
from engine.core.batching import BatchPlan, rebatched, unpadded
from engine.protocol.arms import ArmNoise, ItemRecord, NoiseReading
from engine.protocol.config import Config
from engine.protocol.events import Event, NoiseMeasured

Kind = Literal["repeat", "rebatch", "unpadded", "drift"]
Records = Mapping[str, ItemRecord]


def measure_noise(
    decoder: ArmDecoder,
    plan: BatchPlan,
    config: Config,
    *,
    key: str,
    batch_items: int,
    adapter: bool,
    records: Records,
    base: Records | None,
    emit: Callable[[Event], None],
    between_batches: Callable[[], None],
) -> ArmNoise:
    """Decode again and compare with `records` of the arm (by item id), which was decoded with the `adapter` or without.

    `base` are the records of the base arm, given in the process of the SFT arm only; they are compared with the adapter off.
    `between_batches` is called before each batch and may raise to stop.
    """
    first = BatchPlan(batches=plan.batches[: config.eval.repeat_batches], digest="")
    sample = rebatched(decoder.prompts, plan, config.eval.rebatch_items, batch_items, config.run.seed)
    without_padding = unpadded(decoder.prompts, plan, config.eval.unpadded_items, config.run.seed)

    def read(kind: Kind, again: BatchPlan, before: Records, adapter: bool) -> NoiseReading:
        reading = _compared(before, _decoded(decoder, again, adapter, between_batches))
        texts, successes = len(reading.text_flips), len(reading.success_flips)
        emit(NoiseMeasured(kind=kind, items=reading.items, text_flips=texts, success_flips=successes))
        return reading

    return ArmNoise(
        key=key,
        repeat=read("repeat", first, records, adapter),
        rebatch=read("rebatch", sample, records, adapter),
        unpadded=read("unpadded", without_padding, records, adapter),
        drift=None if base is None else read("drift", first, base, False),
    )


def _decoded(decoder: ArmDecoder, plan: BatchPlan, adapter: bool, between_batches: Callable[[], None]) -> Iterator[ItemRecord]:
    for batch in plan.batches:
        between_batches()
        yield from decoder.records(batch, adapter=adapter)


def _compared(before: Records, again: Iterator[ItemRecord]) -> NoiseReading:
    pairs = [(before[record.id], record) for record in again]
    return NoiseReading(
        items=len(pairs),
        text_flips=tuple(sorted(one.id for one, other in pairs if one.token_ids != other.token_ids)),
        success_flips=tuple(sorted(one.id for one, other in pairs if one.success != other.success)),
    )
