"""Speed of training and decoding on one GPU, on the reference work: the shape of Qwen2.5-32B, random weights, nf4, Stage-1-like lengths.

    PYTHONPATH=. python tests/bench/train_gpu.py [--shape 32b] [--parts b8,packed,dropout,decode,widths,profile] [--mirror N]
    PYTHONPATH=. python tests/bench/train_gpu.py --planned 8 [--gib 46]      # batches of 8 (or 57) under the plan that the planner takes

One JSON line a figure: seconds an optimizer step (everything in it), tokens a second, the share of the measured matrix ceiling, predicted
and measured peak; `widths` times one row of each width, `profile` names the kernels of a step and of a decoded token. A benchmark, not a test: nothing is asserted. The peers are timed by `peers_gpu.py` on the same machine.
"""

import argparse
import dataclasses
import gc
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from reference_model import quantised_model
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

from engine.compute.adapter_bank import AdapterBank
from engine.compute.decode import Decoder
from engine.compute.device import configure_torch
from engine.compute.gradients import BatchGradients
from engine.compute.lora import attach_lora
from engine.compute.memory import DeviceGauge
from engine.compute.optimizers import build_optimizer
from engine.compute.planned_linears import frozen_linears
from engine.compute.planned_model import PlannedModel, carry_out
from engine.compute.planning import device_figures
from engine.core.masking import Example
from engine.core.packing import EpochPlan, StepPlan, plan_epoch, plan_rows
from engine.core.planner import ModelShape, Workload, candidates, choose
from engine.core.planner.workload import bucket_widths
from engine.protocol.config import Config, EngineTable, TrainTable
from engine.protocol.plans import ComputePlan

DEVICE = torch.device("cuda", 0)
PROMPT, TOKENS = 40, 32
"""Of a decoded batch; with as many tokens and with twice as many the buffers have the same 128 columns, so that the difference is the tokens'."""


def report(**figures: object) -> None:
    print(json.dumps(figures), flush=True)


def stage1_examples(count: int) -> list[Example]:
    """Log-normal lengths with a mean of about 71 tokens; a third of each is the prompt."""
    lengths = torch.exp(torch.randn(count, generator=torch.Generator().manual_seed(1)) * 0.45 + 4.16).round().clamp(20, 512)
    generator = torch.Generator().manual_seed(2)
    return [
        Example(tuple(torch.randint(10, 150_000, (n,), generator=generator).tolist()), n // 3) for n in lengths.long().tolist()
    ]


def ceiling_tflops() -> float:
    """bf16 matrix products of 8192³, the best of a few."""
    a, b = (torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    best = 0.0
    for _ in range(5):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(10):
            a @ b
        torch.cuda.synchronize()
        best = max(best, 10 * 2 * 8192**3 / (time.perf_counter() - began) / 1e12)
    return best


def bucketed(epoch: EpochPlan, widths: tuple[int, ...]) -> EpochPlan:
    steps = tuple(
        dataclasses.replace(step, rows=tuple(
            dataclasses.replace(row, width=next(width for width in widths if width >= row.tokens)) for row in step.rows))
        for step in epoch.steps
    )  # fmt: skip
    return dataclasses.replace(epoch, steps=steps)


class Bench:
    """The model under one plan."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        began = time.perf_counter()
        base, config = quantised_model(arguments.shape)
        base.model.rotary_emb = Qwen2RotaryEmbedding(config).to(DEVICE)
        self.train = TrainTable(lora_dropout=0.1, optimizer=arguments.optimizer, batch_examples=arguments.planned or 8, epochs=1)
        self.model = attach_lora(base, self.train, 0)
        self.linear_parameters = sum(
            layer.in_features * layer.out_features for layer in frozen_linears_of(base)
        ) + head_parameters(base)
        layers = config.num_hidden_layers
        self.plan = ComputePlan(
            row_tokens=4096, mirrored_layers=layers if arguments.mirror is None else arguments.mirror, compiled=not arguments.eager,
            graph=not arguments.no_graph, attention="masked" if arguments.masked else "varlen", adapter_dtype="bfloat16",
            recomputed_layers=arguments.recompute, loss_chunk_tokens=512,
        )  # fmt: skip
        if arguments.planned:
            self.plan = self._planned(base, config)
        self.planned: PlannedModel = carry_out(
            self.plan, self.model, compute_dtype=torch.bfloat16, emit=lambda event: report(event=str(event))
        )
        self.bank = AdapterBank(self.model, adapter_dtype=torch.bfloat16)
        self.optimizer = build_optimizer(self.train, [self.bank.master])
        gc.collect()
        torch.cuda.empty_cache()
        report(part="made", seconds=round(time.perf_counter() - began, 1), allocated_gib=gib(torch.cuda.memory_allocated()),
               segments=self.planned.segments, linear_parameters=self.linear_parameters)  # fmt: skip

    def _planned(self, base: Any, config: Any) -> ComputePlan:
        """What the planner takes for this work on this card."""
        lengths = [example.tokens for example in stage1_examples(4000)]
        shape = ModelShape.from_config(
            config.to_dict(), quantized=True, lora_rank=self.train.lora_rank, lora_targets=self.train.lora_targets, dropout=0.0
        )
        workload = Workload.of_lengths(
            lengths, response_tokens=sum(lengths) * 2 // 3, dev=[], seed=0, epochs=1, batch_examples=self.train.batch_examples
        )
        device = device_figures(DEVICE, DeviceGauge(DEVICE))
        chosen = choose(candidates(shape, workload, device, Config(train=self.train)))
        report(part="plan", name=chosen.name, predicted_step_s=round(chosen.step_s, 4), predicted_peak_gib=gib(chosen.peak_bytes),
               free_gib=gib(device.free_bytes), buckets=chosen.plan.buckets)  # fmt: skip
        return chosen.plan

    def training(self, name: str, *, batch_examples: int, row_tokens: int, dropout: float, ceiling: float, steps: int = 16,
                 widths: tuple[int, ...] = (), whole_epoch: bool = False) -> None:  # fmt: skip
        for layer in frozen_linears(self.model).values():
            layer.adapter.dropout = dropout
        examples = stage1_examples(4000)
        epoch = plan_epoch(examples, seed=0, epoch=0, batch_examples=batch_examples, row_tokens=row_tokens)
        # the planner's buckets for the whole epoch, of which only the first steps are timed
        widths = widths or bucket_widths(Counter(row.tokens for step in epoch.steps for row in step.rows), row_tokens)
        epoch = bucketed(epoch, widths)
        timed = dataclasses.replace(epoch, steps=epoch.steps[: steps + 4])
        # a peak that is held against the planner's needs every row that it planned for, as training captures them; a timing does not
        captured_rows = [row for step in (epoch if whole_epoch else timed).steps for row in step.rows]
        self.model.train()
        gradients = BatchGradients(self.planned, self.bank, device=DEVICE, pad_id=1, seed=0)
        torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        if self.plan.graph:
            gradients.capture(captured_rows, examples, lambda event: report(event=str(event)))
        captured = time.perf_counter() - began
        times, losses = [], []
        for number, step in enumerate(timed.steps, 1):
            torch.cuda.synchronize()
            began = time.perf_counter()
            following = timed.steps[number].rows[0] if number < len(timed.steps) else None
            losses.append(self.step(gradients, step, examples, number, following))
            torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        if name == "profile":
            by_kernel(name, 1, partial(self.step, gradients, timed.steps[0], examples, 1, None))
        seconds, tokens = statistics.median(times[4:]), statistics.mean(step.tokens for step in timed.steps[4:])
        report(part=name, dropout=dropout, step_s=round(seconds, 4), tokens_a_step=round(tokens), tokens_s=round(tokens / seconds),
               fraction=round(tokens / seconds * 4 * self.linear_parameters / ceiling / 1e12, 3), captured_s=round(captured, 1),
               widths=sorted({row.width for row in captured_rows}),
               peak_gib=gib(torch.cuda.max_memory_allocated()), reserved_gib=gib(torch.cuda.memory_reserved()),
               first_loss=losses[0], last_loss=losses[-1])  # fmt: skip
        del gradients
        gc.collect()
        torch.cuda.empty_cache()

    def step(self, gradients: BatchGradients, step: StepPlan, examples: list[Example], number: int, following: Any) -> float:
        """All that training does in one step; the loss."""
        loss = gradients.of(step, examples, number, following)
        norm = torch.nn.utils.clip_grad_norm_([self.bank.master], 1.0)
        found: float = torch.stack([loss, norm]).tolist()[0]
        self.optimizer.step()
        self.bank.zero_grad()
        self.bank.publish()
        return found

    def widths(self, widths: tuple[int, ...]) -> None:
        """Seconds of a step of one full row, for each width."""
        self.model.train()
        generator = torch.Generator().manual_seed(5)
        examples, steps = [], []
        for width in widths:
            ids = torch.randint(10, 150_000, (width // 8 * 8,), generator=generator).view(8, -1).tolist()
            steps.append(
                StepPlan(
                    plan_rows(
                        range(len(examples), len(examples) + 8), [*examples, *(Example(tuple(row), 20) for row in ids)], width
                    )
                )
            )
            examples += [Example(tuple(row), 20) for row in ids]
        gradients = BatchGradients(self.planned, self.bank, device=DEVICE, pad_id=1, seed=0)
        gradients.capture([row for step in steps for row in step.rows], examples, lambda event: report(event=str(event)))
        for width, step in zip(widths, steps, strict=True):
            seconds = []
            for number in range(1, 9):
                torch.cuda.synchronize()
                began = time.perf_counter()
                self.step(gradients, step, examples, number, None)
                torch.cuda.synchronize()
                seconds.append(time.perf_counter() - began)
            report(part="width", width=width, step_s=round(statistics.median(seconds[2:]), 4))

    def decoding(self, batch: int, prompt: int, tokens: int, *, profiled: bool = False) -> None:
        self.model.eval()
        prompts = torch.randint(10, 150_000, (batch, prompt), generator=torch.Generator().manual_seed(3)).tolist()
        for adapter in (True, False):
            self.planned.switches.adapters_on = adapter
            decoder = Decoder(self.model, pad_id=1, graphs=True)
            decoder.decode(prompts, end_id=-1, max_new_tokens=4, state=adapter)
            if profiled:
                decode = partial(decoder.decode, prompts, end_id=-1, max_new_tokens=tokens, state=adapter)
                by_kernel(f"decode, adapter {adapter}", tokens, decode)
                continue
            seconds = []
            for count in (tokens, 2 * tokens):
                decoder.decode(prompts, end_id=-1, max_new_tokens=count, state=adapter)
                torch.cuda.synchronize()
                began = time.perf_counter()
                decoder.decode(prompts, end_id=-1, max_new_tokens=count, state=adapter)
                torch.cuda.synchronize()
                seconds.append(time.perf_counter() - began)
            each = (seconds[1] - seconds[0]) / tokens
            report(part="decode", adapter=adapter, batch=batch, ms=round(each * 1e3, 1), tokens_s=round(batch / each),
                   whole_s=[round(s, 2) for s in seconds], peak_gib=gib(torch.cuda.max_memory_allocated()))  # fmt: skip
        self.planned.switches.adapters_on = True


def by_kernel(name: str, times: int, work: Callable[[], object]) -> None:
    """Milliseconds and launches of each kernel, the dearest first; `times` is how often the unit of work is done."""
    work()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiled:
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    kernels = sorted(profiled.key_averages(), key=lambda kernel: -kernel.self_device_time_total)
    busy = sum(kernel.self_device_time_total for kernel in kernels)
    report(part=name, whole_ms=round(seconds / times * 1e3, 2), busy_ms=round(busy / times / 1e3, 2),
           launches=round(sum(kernel.count for kernel in kernels) / times))  # fmt: skip
    for kernel in kernels[:40]:
        report(
            part=name,
            ms=round(kernel.self_device_time_total / times / 1e3, 3),
            launches=round(kernel.count / times, 1),
            kernel=kernel.key[:110],
        )


def frozen_linears_of(base: Any) -> list[Any]:
    return [module for module in base.modules() if type(module).__name__ == "Linear4bit"]


def head_parameters(base: Any) -> int:
    head = base.get_output_embeddings()
    return int(head.weight.numel())


def gib(size: float) -> float:
    return round(size / 2**30, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="32b")
    parser.add_argument("--planned", type=int)
    parser.add_argument("--parts", default="b8,dropout,packed,decode")
    parser.add_argument("--gib", type=float)
    parser.add_argument("--mirror", type=int)
    parser.add_argument("--recompute", type=int, default=0)
    parser.add_argument("--row", type=int, default=4096)
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--masked", action="store_true")
    parser.add_argument("--no-graph", action="store_true")
    parser.add_argument("--deterministic", action="store_true", help="as under engine.deterministic")
    arguments = parser.parse_args()
    configure_torch(Config(engine=EngineTable(deterministic=arguments.deterministic, device="cuda")))
    if arguments.gib:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, arguments.gib * 2**30 / total))
    ceiling = ceiling_tflops()
    torch.cuda.empty_cache()
    report(part="machine", gpu=torch.cuda.get_device_name(), torch=torch.__version__, ceiling_tflops=round(ceiling))
    bench = Bench(arguments)
    if arguments.planned:
        bench.training(f"{arguments.planned} examples, planned", batch_examples=arguments.planned, row_tokens=bench.plan.row_tokens,
                       widths=bench.plan.buckets, whole_epoch=True, dropout=0.0, steps=12, ceiling=ceiling)  # fmt: skip
        return
    for part in arguments.parts.split(","):
        if part == "b8":
            bench.training("8 examples", batch_examples=8, row_tokens=1024, dropout=0.0, ceiling=ceiling)
        elif part == "dropout":
            bench.training("8 examples", batch_examples=8, row_tokens=1024, dropout=0.1, ceiling=ceiling)
        elif part == "packed":
            bench.training(f"~4,000 tokens, rows of {arguments.row}", batch_examples=57, row_tokens=arguments.row, dropout=0.0, steps=8,
                           ceiling=ceiling)  # fmt: skip
        elif part == "decode":
            bench.decoding(64, PROMPT, TOKENS)
        elif part == "widths":
            bench.widths(tuple(range(320, 897, 32)))
        elif part == "profile":
            bench.training("profile", batch_examples=8, row_tokens=1024, dropout=0.0, steps=2, ceiling=ceiling)
            bench.training("profile", batch_examples=57, row_tokens=4096, dropout=0.0, steps=2, ceiling=ceiling)
            bench.decoding(64, PROMPT, TOKENS, profiled=True)


if __name__ == "__main__":
    main()
