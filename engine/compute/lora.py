"""LoRA adapters (Hu et al. 2021) on the quantised base, through peft, and their configuration.

The adapters and their gradients are fp32 whatever the base computes in. The configuration is written in one canonical form, so that equal
adapters are equal bytes. It refuses targets that the model does not have.
"""

import json
from typing import Any

import torch

from engine.compute.libraries import peft
from engine.protocol.config import TrainTable
from engine.protocol.errors import ConfigError

ADAPTER_FILE = "adapter_model.safetensors"
ADAPTER_CONFIG_FILE = "adapter_config.json"
_NAME = "default"


def attach_lora(model: Any, train: TrainTable, seed: int) -> Any:
    """A PeftModel around `model` whose only trainable parameters are fp32 adapters, drawn from `seed`.

    Raises: ConfigError where a target is no linear layer of the model.
    """
    _check_targets(model, train.lora_targets)
    torch.manual_seed(seed)
    settings = peft.LoraConfig(
        r=train.lora_rank,
        lora_alpha=train.lora_alpha,
        lora_dropout=train.lora_dropout,
        target_modules=list(train.lora_targets),
        bias="none",
        task_type="CAUSAL_LM",
    )
    adapted = peft.get_peft_model(model, settings, adapter_name=_NAME)
    for parameter in trainable(adapted).values():
        parameter.data = parameter.data.float()
    return adapted


def _check_targets(model: Any, targets: tuple[str, ...]) -> None:
    linear = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    if missing := [target for target in targets if target not in linear]:
        raise ConfigError(
            f"train.lora_targets has {', '.join(missing)}, which the model does not have; its linear layers are {', '.join(sorted(linear))}"
        )


def trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """The trainable parameters by the names that they have in an adapter file, in the model's order."""
    return {name.replace(f".{_NAME}.", "."): value for name, value in model.named_parameters() if value.requires_grad}


def adapter_config_bytes(model: Any) -> bytes:
    """adapter_config.json with sorted keys and sorted targets, because peft's own order follows the hash seed."""
    settings = model.peft_config[_NAME].to_dict() | {"inference_mode": True}
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in settings.items()}
    return json.dumps(plain, indent=2, sort_keys=True, default=str).encode() + b"\n"
