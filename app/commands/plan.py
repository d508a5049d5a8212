"""The command `plan`: what a run will be, from its settings alone. It needs no GPU, loads no weights and starts nothing."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from app.commands.output import console, inert, print_json
from engine.protocol.config_file import load_config
from engine.protocol.errors import ConfigError, InputError
from engine.protocol.event_texts import duration, gib
from engine.protocol.plans import PlanEstimate

if TYPE_CHECKING:
    from engine.data.run_plan import PlannedEvaluation, RunPlan

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(G|GiB|GB|M|MiB|MB)?", re.IGNORECASE)
_UNITS = {"g": 2**30, "gib": 2**30, "gb": 10**9, "m": 2**20, "mib": 2**20, "mb": 10**6}
_FASTER_SHOWN, _SLOWER_SHOWN = 6, 4


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--vram", metavar="SIZE", help="Plan for an empty GPU with this memory (80GiB), whatever this machine has.")
@click.option("--card", metavar="NAME", default="", help="Take the speed of this card: H200, H100, A100, L40S or RTX 4090.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole plan as JSON, with every candidate.")
def plan(config: Path, vram: str | None, card: str, as_json: bool) -> None:
    """Tokens, steps, compute plans with their predicted time and memory, and what the evaluation can find."""
    settings = load_config(config / "sluice.toml" if config.is_dir() else config)
    from engine.core.planner import choose
    from engine.data.run_plan import device_of_run, plan_run

    found = plan_run(settings, device_of_run(settings, vram_bytes=_bytes(vram), card=_known_card(card)))
    if as_json:
        print_json(found)
    else:
        _print(found)
    # where nothing fits, the error says what to change
    choose(found.plans)
    if found.evaluation.decoding.refused:
        raise ConfigError(f"the evaluation does not fit this device: its largest batch {found.evaluation.decoding.refused}")


def _bytes(size: str | None) -> int | None:
    if size is None:
        return None
    match = _SIZE.fullmatch(size.strip())
    if match is None or not (amount := float(match[1]) * _UNITS[(match[2] or "GiB").lower()]):
        raise InputError(f"--vram is {size!r}; must be a size of memory, for example 48GiB")
    return int(amount)


def _known_card(name: str) -> str:
    from engine.core.planner.device import CARDS, card_named

    if name and card_named(name) is None:
        raise InputError(f"--card is {name!r}; known are {', '.join(card.mark for card in CARDS)}")
    return name


def _print(found: "RunPlan") -> None:
    from engine.core.wording import counted

    out, data, shape = console(), found.data, found.shape
    sampled = f" (estimated from a sample of {data.sampled:,})" if data.sampled else ""
    model = f"{_many(shape.linear_parameters)} linear parameters in {shape.layers} layers, {'nf4' if shape.quantized else 'bf16'}"
    lines = [
        ("model", f"unknown shape: {shape.unknown}" if shape.unknown else model),
        ("adapters", f"rank {shape.lora_rank}, {_many(shape.adapter_parameters)} trainable parameters"),
        ("data", f"{data.examples:,} examples of {data.tokens / data.examples:.0f} tokens, longest {data.longest:,}; "
                 f"{data.dev_examples:,} for the dev loss{sampled}"),
        ("left out", f"{data.dropped:,} dropped, {data.truncated:,} truncated at max_seq_len"),
        ("training", f"{found.steps:,} steps in {counted(found.epochs, 'epoch')}, {data.tokens * found.epochs:,} tokens, "
                     f"{data.response_tokens * found.epochs:,} of them learnt"),
        ("device", _device(found)),
        ("forced", ", ".join(found.forced) or "nothing"),
    ]  # fmt: skip
    for name, text in lines:
        out.print(inert(f"{name:<11}"), inert(text), sep="")
    out.print()
    _print_plans(found)
    out.print()
    for name, text in _evaluation(found.evaluation, shape.layers):
        out.print(inert(f"{name:<11}"), inert(text), sep="")


def _many(count: int) -> str:
    return f"{count / 1e9:,.2f} G" if count >= 1e9 else f"{count / 1e6:,.2f} M"


def _device(found: "RunPlan") -> str:
    device = found.device
    if device.kind == "cpu":
        return "CPU, which has the plain plan only; --vram 80GiB plans for a GPU"
    return f"{device.name}, {gib(max(0, device.free_bytes))} free, {gib(max(0, found.usable_bytes))} of it may be used"


def _print_plans(found: "RunPlan") -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "rows", "recompute", "mirror", "kernels", "s/step", "training", "peak", "fits"):
        table.add_column(heading, no_wrap=True, justify="right" if heading in ("rows", "s/step", "training", "peak") else "left")
    shown = _shown(found.plans, found.chosen)
    for estimate in shown:
        made, chosen = estimate.plan, estimate == found.chosen
        kernels = " ".join(word for word, on in (("compiled", made.compiled), ("graph", made.graph)) if on) or made.attention
        known = bool(estimate.peak_bytes)
        table.add_row(
            "→" if chosen else "", str(made.row_tokens), f"{made.recomputed_layers}/{found.shape.layers}",
            f"{made.mirrored_layers}/{found.shape.layers}", kernels, f"{estimate.step_s:.3g}" if known else "?",
            duration(estimate.step_s * found.steps) if known else "?", gib(estimate.peak_bytes) if known else "?",
            _fits(found, estimate), style="bold" if chosen else "dim" if estimate.refused else "",
        )  # fmt: skip
    out = console()
    out.print(table)
    if left := len(found.plans) - len(shown):
        out.print(f"  … and {left} more (sluice plan --json lists all)", style="dim")
    if found.chosen is not None and found.chosen.plan.buckets:
        out.print(inert(f"rows are padded to {', '.join(map(str, found.chosen.plan.buckets))} tokens"))


def _fits(found: "RunPlan", estimate: PlanEstimate) -> str:
    if found.device.kind == "cpu" or not estimate.peak_bytes:
        # never refused, as the prediction is rough: say it where it is more than the machine has
        return "unlikely" if estimate.peak_bytes > found.device.total_bytes else "likely" if estimate.peak_bytes else "?"
    return "no" if estimate.refused else "yes"


def _shown(plans: Sequence[PlanEstimate], chosen: PlanEstimate | None) -> list[PlanEstimate]:
    """The fastest, the chosen one and some after it: enough to see what more memory would buy."""
    place = len(plans) if chosen is None else plans.index(chosen)
    return [*plans[: min(place, _FASTER_SHOWN)], *plans[place : place + 1 + _SLOWER_SHOWN]]


def _evaluation(evaluation: "PlannedEvaluation", layers: int) -> Iterator[tuple[str, str]]:
    decoding = evaluation.decoding
    batches = f"{evaluation.batches} batch{'es' if evaluation.batches != 1 else ''}"
    yield "evaluation", f"{evaluation.items:,} items in {batches}, the heaviest {decoding.rows} × {decoding.tokens:,} tokens"
    mirrored = f" with {decoding.mirrored_layers}/{layers} layers mirrored" if decoding.mirrored_layers else ""
    needed = f"needs {gib(decoding.peak_bytes)}{mirrored}" if decoding.peak_bytes else "cannot be predicted"
    yield "decoding", decoding.refused or needed
    if evaluation.smallest_lift is None:
        yield "power", f"{evaluation.units:,} independent items cannot find any lift at this level"
    else:
        smallest = 100 * evaluation.smallest_lift
        yield "power", f"{evaluation.units:,} independent items find a lift of {smallest:.1f} points or more (power 80%)"
