"""Time the peers on the reference work: TRL or Unsloth, QLoRA, the lengths of `train_gpu.py`.

    PYTHONPATH=. python tests/bench/peers_gpu.py trl|unsloth MODEL [--modes padded,b8,packed] [--steps 9] [--gib 46]

MODEL is a checkpoint of `reference_model.py`. padded: 2 examples × 4 accumulation steps; b8: 8 examples × 1; packed: 2 rows of 2,048 packed tokens.
One JSON line a mode: median seconds an optimizer step, tokens a step (as the mean row has them), peak GiB. Unsloth wants a process of its own, as importing it patches
transformers. Nothing is downloaded.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", UNSLOTH_DISABLE_STATISTICS="1")
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("peer", choices=["trl", "unsloth"])
parser.add_argument("model")
parser.add_argument("--modes", default="padded,b8,packed")
parser.add_argument("--steps", type=int, default=9)
parser.add_argument("--gib", type=float)
arguments = parser.parse_args()
if arguments.peer == "unsloth":
    from unsloth import FastLanguageModel  # before transformers, on purpose
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
WARM_UP_STEPS = 3
CUT = {"padded": (2, 4), "b8": (8, 1), "packed": (1, 2)}


def rows(count: int = 4000) -> list[dict[str, Any]]:
    lengths = (
        torch.exp(torch.randn(count, generator=torch.Generator().manual_seed(1)) * 0.45 + 4.16).round().clamp(20, 512).long()
    )
    generator = torch.Generator().manual_seed(2)
    return [
        {
            "input_ids": torch.randint(10, 150_000, (n,), generator=generator).tolist(),
            "completion_mask": [0] * (n // 3) + [1] * (n - n // 3),
        }
        for n in lengths.tolist()
    ]


class StepClock(TrainerCallback):
    """Notes the end of every optimizer step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


def load() -> tuple[Any, Any, Any]:
    if arguments.gib:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, arguments.gib * 2**30 / total))
    if arguments.peer == "unsloth":
        model, tokenizer = FastLanguageModel.from_pretrained(
            arguments.model, max_seq_length=2048, dtype=torch.bfloat16, load_in_4bit=True, local_files_only=True
        )
        model = FastLanguageModel.get_peft_model(
            model,
            r=16,
            lora_alpha=16,
            lora_dropout=0.0,
            target_modules=LINEARS,
            use_gradient_checkpointing="unsloth",
            random_state=0,
        )
        return model, tokenizer, None
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.bfloat16, device_map={"": 0})
    lora = LoraConfig(r=16, lora_alpha=16, lora_dropout=0.0, target_modules=LINEARS, task_type="CAUSAL_LM")
    return model, AutoTokenizer.from_pretrained(arguments.model), lora


def main() -> None:
    model, tokenizer, lora = load()
    for mode in arguments.modes.split(","):
        batch, accumulation = CUT[mode]
        data = Dataset.from_list(rows())
        if arguments.peer == "unsloth" or mode == "packed":
            data = data.remove_columns("completion_mask")
        config = SFTConfig(
            output_dir=tempfile.mkdtemp(), per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation,
            max_steps=arguments.steps, learning_rate=1e-4, lr_scheduler_type="cosine", warmup_steps=2, optim="paged_adamw_8bit", bf16=True,
            logging_steps=1, save_strategy="no", report_to=[], max_length=2048, packing=mode == "packed", seed=0,
        )  # fmt: skip
        clock = StepClock()
        torch.cuda.reset_peak_memory_stats()
        trainer = SFTTrainer(
            model=model, args=config, train_dataset=data, processing_class=tokenizer, peft_config=lora, callbacks=[clock]
        )
        trainer.train()
        model, lora = trainer.model, None
        steps = [
            after - before for before, after in zip(clock.ends[WARM_UP_STEPS:], clock.ends[WARM_UP_STEPS + 1 :], strict=False)
        ]
        seconds, packed = statistics.median(steps), trainer.train_dataset["input_ids"]
        tokens = batch * accumulation * statistics.mean(map(len, packed))
        found = {
            "peer": arguments.peer, "mode": mode, "step_s": round(seconds, 3), "steps_timed": len(steps),
            "tokens_a_step": round(tokens), "tokens_s": round(tokens / seconds),
            "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1),
        }  # fmt: skip
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
