"""A real supervisor whose real workers are sabotaged: `sabotaged.py supervise RUN`, which starts `sabotaged.py work RUN STAGE`.

`sabotage.json` in the run folder maps a stage to a list with one entry a worker (the last one repeats): {"ran_out_in_step": N},
{"ran_out_in_batches_of": N}, {"killed_while_writing": N}, a checkpoint of step N or later, or on a GPU {"capped_from_step": N}, whose
allocator may then have no more than it has allocated; {} does nothing.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.protocol.events import Stage
from engine.protocol.runs import RunFolder


def supervise(run: RunFolder) -> int:
    from engine.supervise import supervise as really

    def worker(run: RunFolder, stage: Stage) -> Sequence[str]:
        return (sys.executable, __file__, "work", str(run.path), stage)

    return really(run, "report", worker_command=worker)


def work(run: RunFolder, stage: str) -> int:
    from engine import work as story

    counter = run.path / f"workers-{stage}"
    number = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(number + 1))
    plans = json.loads((run.path / "sabotage.json").read_text()).get(stage, [{}])
    for how, at in plans[min(number, len(plans) - 1)].items():
        SABOTAGES[how](at)
    return story.main([str(run.path), stage])


def ran_out_in_step(step: int) -> None:
    import torch

    from engine.compute.gradients import BatchGradients

    real = BatchGradients.of

    def of(self: Any, plan: Any, examples: Any, number: int, following: Any = None) -> Any:
        total = real(self, plan, examples, number, following)
        if number == step:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return total

    BatchGradients.of = of


def capped_from_step(step: int) -> None:
    """Memory runs out for real, in the forward pass of that step: what the allocator had cached is gone, and it gets nothing new."""
    import torch

    from engine.compute.gradients import BatchGradients

    real = BatchGradients.of

    def of(self: Any, plan: Any, examples: Any, number: int, following: Any = None) -> Any:
        if number == step:
            torch.cuda.empty_cache()
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + (64 << 20)) / total))
        return real(self, plan, examples, number, following)

    BatchGradients.of = of


def ran_out_in_batches_of(rows: int) -> None:
    import torch

    from engine.compute.decode import Decoder

    real, decoded = Decoder.decode, [0]

    def decode(self: Any, prompts: Any, **settings: Any) -> Any:
        decoded[0] += 1
        if len(prompts) >= rows and decoded[0] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")
        return real(self, prompts, **settings)

    Decoder.decode = decode


def killed_while_writing(step: int) -> None:
    from engine.compute import checkpoint

    real = checkpoint._fill

    def fill(folder: Path, written: Any) -> Any:
        if written.state.step >= step:
            (folder / "adapter_model.safetensors").write_bytes(b"the first of its files, and not all of it")
            os.kill(os.getpid(), signal.SIGKILL)
        return real(folder, written)

    checkpoint._fill = fill


SABOTAGES: dict[str, Callable[[int], None]] = {
    "ran_out_in_step": ran_out_in_step,
    "capped_from_step": capped_from_step,
    "ran_out_in_batches_of": ran_out_in_batches_of,
    "killed_while_writing": killed_while_writing,
}


if __name__ == "__main__":
    folder = RunFolder(Path(sys.argv[2]))
    sys.exit(supervise(folder) if sys.argv[1] == "supervise" else work(folder, sys.argv[3]))
