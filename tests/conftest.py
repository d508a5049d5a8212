"""What several test folders share: a tiny random base model in the transformers layout."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import settings

# the same examples in every run: a failure on one machine is a failure on all; no deadline, as a stalled machine is not a failure
settings.register_profile("seeded", derandomize=True, deadline=None)
settings.load_profile("seeded")

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

_TEXTS = (
    "Instruction: Name the largest of 3, 14 and 15.\nResponse: 15",
    "Instruction: Name three colours.\nResponse: red, green and blue",
    "Instruction: Write the word river backwards.\nResponse: revir",
    "The river runs through the town and the old bridge stands over the water where the boats come in.",
    "What is the capital of a small country? A list of towns, people, animals and things that they like to eat.",
)


def write_tiny_tokenizer(folder: Path, vocabulary: int = 512) -> None:
    """A byte-level BPE of `vocabulary` tokens; <|endoftext|> (0) ends a text, <|im_start|> (1) and <|im_end|> (2) control a chat."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(_TEXTS, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    wrapped.chat_template = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
    wrapped.save_pretrained(folder)


def write_tiny_model(folder: Path, *, seed: int = 3, vocabulary: int = 512, layers: int = 2) -> Path:
    """A random Qwen2 (hidden 64) with its tokenizer, the same bytes for the same arguments."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    write_tiny_tokenizer(folder, vocabulary)
    config = Qwen2Config(
        vocab_size=vocabulary, hidden_size=64, intermediate_size=128, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=False, initializer_range=0.2,
        eos_token_id=0, pad_token_id=0, bos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config).to(torch.bfloat16)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.02)
    model.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 0, "pad_token_id": 0}))
    return folder


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2 of two layers with 512 tokens; read only."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")
