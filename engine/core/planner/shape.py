"""The shape of a decoder model, read off its config: what decides the time and the memory of a step.

It knows dense Llama-like decoders (attention with grouped keys, gated MLP). Anything else becomes a shape with a reason in `unknown`:
for such a model it refuses to predict, and only the plain plan is left.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engine.protocol.config import Config

KNOWN_MODELS = ("llama", "mistral", "qwen2", "qwen3")
SHARED_INPUTS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Linear layers of a decoder layer that read one input: mirrored, they are one product."""

JOINED_ALIGNED = 64
"""Columns of such a product's matrix come in multiples of this, rows of 128 bytes: gate and up of 5,184 columns take 45 µs less backward
at 576 tokens than of 5,152 (490 and 535), 231 less forward at 4,096 (3,214 and 3,445)."""

_MOST_LAYERS = 1_000
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


class ModelShape(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of a model and of its adapters, 0 where the config does not tell them. `unknown` says why nothing can be predicted for it;
    "" where it can.

    `quantized` is nf4 with double quantization for the decoder's linear layers; embeddings and output head stay bf16. `own_attention`: whether it
    attends as sluice can, in segments and with its loss in chunks; a sliding window or dropped weights are left to the library.
    """

    hidden: int = 0
    intermediate: int = 0
    layers: int = 0
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    vocab: int = 0
    tied: bool = False
    quantized: bool = True
    lora_rank: int = 0
    lora_targets: tuple[str, ...] = ()
    dropout: float = 0.0
    own_attention: bool = True
    unknown: str = ""

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], *, quantized: bool, lora_rank: int, lora_targets: Sequence[str], dropout: float = 0.0
    ) -> "ModelShape":
        """The shape that a model's config.json describes; never an error: what is not understood makes it `unknown`."""
        shape = cls(quantized=quantized, lora_rank=lora_rank, lora_targets=tuple(lora_targets), dropout=dropout)
        if wrong := _unusable(config):
            return msgspec.structs.replace(shape, unknown=f"config.json has no usable {', '.join(wrong)}")
        heads = config["num_attention_heads"]
        shape = msgspec.structs.replace(
            shape, hidden=config["hidden_size"], intermediate=config["intermediate_size"], layers=config["num_hidden_layers"],
            heads=heads, kv_heads=config.get("num_key_value_heads") or heads, vocab=config["vocab_size"],
            head_dim=config.get("head_dim") or config["hidden_size"] // heads, tied=bool(config.get("tie_word_embeddings", False)),
            own_attention=not (config.get("use_sliding_window", config.get("sliding_window") is not None) or config.get("attention_dropout")),
        )  # fmt: skip
        return msgspec.structs.replace(shape, unknown=_not_understood(config, shape))

    @classmethod
    def of_run(cls, config: Mapping[str, Any], settings: Config) -> "ModelShape":
        """The shape of a run's model with its adapters; a checkpoint that is in nf4 already stays so."""
        train = settings.train
        return cls.from_config(
            config, quantized=settings.model.quantization == "nf4" or bool(config.get("quantization_config")),
            lora_rank=train.lora_rank, lora_targets=train.lora_targets, dropout=train.lora_dropout,
        )  # fmt: skip

    @property
    def query_width(self) -> int:
        """Elements of one token's queries over all heads."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Elements of one token's keys (or values) over all key heads."""
        return self.kv_heads * self.head_dim

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of each linear layer of one decoder layer."""
        hidden, inner, query, kv = self.hidden, self.intermediate, self.query_width, self.kv_width
        return {
            "q_proj": (hidden, query), "k_proj": (hidden, kv), "v_proj": (hidden, kv), "o_proj": (query, hidden),
            "gate_proj": (hidden, inner), "up_proj": (hidden, inner), "down_proj": (inner, hidden),
        }  # fmt: skip

    @property
    def layer_parameters(self) -> int:
        """Weights of the linear layers of one decoder layer."""
        return sum(inputs * outputs for inputs, outputs in self.linears.values())

    @property
    def head_parameters(self) -> int:
        """Weights of the output head, shared with the embeddings or not."""
        return self.vocab * self.hidden

    @property
    def embedding_parameters(self) -> int:
        """Weights of embeddings and output head together."""
        return self.head_parameters * (1 if self.tied else 2)

    @property
    def linear_parameters(self) -> int:
        """Weights that every token is multiplied with: the decoder's linear layers and the output head."""
        return self.layers * self.layer_parameters + self.head_parameters

    @property
    def largest_linear(self) -> int:
        """Weights of the largest linear layer of a decoder layer."""
        return max(inputs * outputs for inputs, outputs in self.linears.values())

    @property
    def joined_parameters(self) -> int:
        """Of one mirrored decoder layer: the Bs of adapted layers that read one input, held once more beside their joined weights."""
        found = 0
        for siblings in SHARED_INPUTS:
            adapted = sum(name in self.lora_targets for name in siblings)
            columns = self.hidden + adapted * self.lora_rank
            beside = -(-columns // JOINED_ALIGNED) * JOINED_ALIGNED - self.hidden
            found += beside * sum(self.linears[name][1] for name in siblings)
        return found

    @property
    def adapter_parameters(self) -> int:
        """Trainable weights: rank × (inputs + outputs) of every adapted layer whose size is known."""
        return self.layers * self.lora_rank * sum(sum(self.linears.get(target, (0, 0))) for target in self.lora_targets)


def _unusable(config: Mapping[str, Any]) -> list[str]:
    """The sizes that the config does not have, or not as whole numbers."""
    needed = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    optional = ("num_key_value_heads", "head_dim")
    wrong = [key for key in needed if not _positive(config.get(key))]
    return wrong + [key for key in optional if config.get(key) is not None and not _positive(config[key])]


def _not_understood(config: Mapping[str, Any], shape: ModelShape) -> str:
    """Why a model of these sizes is none whose steps can be predicted; "" where it is one."""
    if (kind := config.get("model_type")) not in KNOWN_MODELS:
        return f"model_type is {kind!r}, known are {', '.join(KNOWN_MODELS)}"
    if experts := [key for key in _EXPERTS if config.get(key)]:
        return f"config.json has {experts[0]}: a mixture of experts"
    if shape.head_dim < 1 or shape.heads % shape.kv_heads:
        return f"config.json has {shape.heads} heads and {shape.kv_heads} key heads for a hidden size of {shape.hidden}, which do not go together"
    if shape.layers > _MOST_LAYERS:
        return f"config.json has {shape.layers:,} layers"
    strange = [target for target in shape.lora_targets if target not in shape.linears]
    return f"train.lora_targets has {', '.join(strange)}, whose size is not known" if strange else ""


def _positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
