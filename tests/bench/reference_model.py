"""The reference model of the speed measurements: a Qwen2.5 shape with random weights, already in nf4.

    python reference_model.py OUT [--shape 32b|14b|7b] [--weights nf4|bf16]

Needs one CUDA GPU, torch, transformers, bitsandbytes, safetensors. Each weight is drawn on the GPU, quantised (nf4, double
quantization) and written in the form that `from_pretrained` reads back. 32b: 18 GB on disk, about 30 s on an H200. Speed does
not depend on the weights' values; the outputs are noise, so nothing about quality can be read from such a model.
"""

import argparse
import json
from pathlib import Path

import bitsandbytes as bnb
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

SHAPES = {
    "32b": {
        "hidden_size": 5120,
        "intermediate_size": 27648,
        "num_hidden_layers": 64,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
    },
    "14b": {
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_hidden_layers": 48,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
    },
    "7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
}
VOCAB = 152_064
SHARD_BYTES = 4_000_000_000


def quantised_model(shape: str, *, nf4: bool = True) -> tuple[Qwen2ForCausalLM, Qwen2Config]:
    config = Qwen2Config(
        vocab_size=VOCAB,
        max_position_embeddings=32768,
        rms_norm_eps=1e-6,
        rope_theta=1e6,
        tie_word_embeddings=False,
        **SHAPES[shape],
    )
    torch.manual_seed(0)
    with torch.device("meta"):
        model = Qwen2ForCausalLM(config)
    model = model.to(torch.bfloat16)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if nf4 and isinstance(child, nn.Linear) and name != "lm_head":
                setattr(parent, name, nf4_linear(child))
    for path, parameter in list(model.named_parameters()):
        if parameter.device.type == "meta":
            *parents, last = path.split(".")
            owner = model.get_submodule(".".join(parents))
            value = torch.ones(parameter.shape) if "norm" in path else torch.randn(parameter.shape, device="cuda") * 0.02
            value = torch.zeros(parameter.shape) if path.endswith(".bias") else value
            setattr(owner, last, nn.Parameter(value.to("cuda", torch.bfloat16), requires_grad=False))
    return model, config


def nf4_linear(linear: nn.Linear) -> bnb.nn.Linear4bit:
    weight = torch.empty(linear.out_features, linear.in_features, device="cuda", dtype=torch.bfloat16).normal_(0, 0.02)
    made = bnb.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        compute_dtype=torch.bfloat16,
        compress_statistics=True,
        quant_type="nf4",
        device="meta",
    )
    made.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4", compress_statistics=True).to("cuda")
    if linear.bias is not None:
        made.bias = nn.Parameter(torch.zeros(linear.out_features, device="cuda", dtype=torch.bfloat16), requires_grad=False)
    return made


def write(model: Qwen2ForCausalLM, config: Qwen2Config, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    index: dict[str, str] = {}
    shard: dict[str, torch.Tensor] = {}
    size = 0
    tensors = list(model.state_dict().items())
    for position, (name, tensor) in enumerate(tensors):
        shard[name] = tensor.contiguous().cpu()
        size += tensor.numel() * tensor.element_size()
        if size > SHARD_BYTES or position == len(tensors) - 1:
            file = f"model-{len(set(index.values())) + 1:05d}.safetensors"
            save_file(shard, out / file, metadata={"format": "pt"})
            index.update(dict.fromkeys(shard, file))
            shard, size = {}, 0
    (out / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    described = config.to_dict() | {"architectures": ["Qwen2ForCausalLM"], "dtype": "bfloat16"}
    if any(isinstance(module, bnb.nn.Linear4bit) for module in model.modules()):
        described["quantization_config"] = {
            "quant_method": "bitsandbytes",
            "load_in_4bit": True,
            "load_in_8bit": False,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": "bfloat16",
            "bnb_4bit_quant_storage": "uint8",
            "llm_int8_skip_modules": ["lm_head"],
        }
    (out / "config.json").write_text(json.dumps(described))
    (out / "generation_config.json").write_text(json.dumps({"eos_token_id": 3, "pad_token_id": 1}))
    words = {"<unk>": 0, "<pad>": 1, "<bos>": 2, "<eos>": 3} | {f"t{i}": i for i in range(4, VOCAB)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="<eos>", model_max_length=2048
    ).save_pretrained(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="32b")
    parser.add_argument("--weights", choices=("nf4", "bf16"), default="nf4")
    arguments = parser.parse_args()
    write(*quantised_model(arguments.shape, nf4=arguments.weights == "nf4"), arguments.out)
    print(f"wrote {arguments.shape} to {arguments.out}")
