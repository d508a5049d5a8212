"""The files of a base model, checked before any library touches them.

All problems are found at once. It refuses weights that are not safetensors (pickles run code), models that bring Python code of
their own, files that were never fetched or are cut short, and, unless allowed, models that look instruction-tuned.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from engine.protocol.errors import ModelError

_POINTERS = (b"version https://git-lfs", b"# xet version", b"/annex/objects/")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_BESIDES = (
    "config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", *_TOKENIZERS, "merges.txt",
)  # fmt: skip
"""What the libraries read of a folder besides weights; other files may come and go."""
_TUNED_NAME = re.compile(r"(?:^|[-_./])(instruct|instruction|chat|it|rlhf|dpo|sft|assistant)(?=$|[-_./\d])", re.IGNORECASE)
CHAT_TOKENS = (
    "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|start_header_id|>", "<|end_header_id|>", "<start_of_turn>",
    "<end_of_turn>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "[INST]", "[/INST]",
)  # fmt: skip


@dataclass(frozen=True)
class ModelFolder:
    """A folder that passed. `name` is what the user called it; `files` are config, tokenizer and weights, sorted by name; `weight_bytes` is
    the size of the latter."""

    path: Path
    name: str
    config: dict[str, Any]
    generation: dict[str, Any]
    weights: tuple[Path, ...]
    weight_bytes: int
    files: tuple[Path, ...]
    instruction_tuned: str = field(default="")

    @property
    def quantized(self) -> dict[str, Any]:
        """The checkpoint's own quantization settings; empty where its weights are plain."""
        found = self.config.get("quantization_config")
        return found if isinstance(found, dict) else {}


def open_model_folder(name: str, *, allow_instruction_tuned: bool) -> ModelFolder:
    """The folder that `model.path` means: a local folder, or a hub name whose snapshot is in the local cache.

    Raises: ModelError with every problem found.
    """
    found, problems = examine_model_folder(resolve_model(name), name)
    if found.instruction_tuned and not allow_instruction_tuned:
        problems.append(
            f"{found.path}: looks instruction-tuned ({found.instruction_tuned}); sluice trains base models: take the base model, "
            "or set model.allow_instruction_tuned = true (shown as RELAXED in the verdict)"
        )
    if problems:
        raise ModelError(*problems)
    return found


def examine_model_folder(path: Path, name: str) -> tuple[ModelFolder, list[str]]:
    """What is in the folder, usable or not, and everything that speaks against using it but for being instruction-tuned."""
    problems: list[str] = []
    config = _read_json(path / "config.json", problems, required=True)
    generation = _read_json(path / "generation_config.json", problems, required=False)
    weights = _weights(path, problems)
    _check_code(path, config, problems)
    _check_quantized(path, config, problems)
    if (path / "adapter_config.json").is_file():
        # the libraries would put it on the model unasked
        problems.append(
            f"{path}: holds an adapter (adapter_config.json), expected a base model alone; move the adapter's files to another folder"
        )
    if not any((path / file).is_file() for file in _TOKENIZERS):
        problems.append(f"{path}: no tokenizer ({', '.join(_TOKENIZERS)}); copy it from the model's snapshot")
    files = sorted({*weights, *path.glob("*.index.json"), *(path / file for file in _BESIDES if (path / file).is_file())})
    problems += [problem for file in files if (problem := _unfetched(file) or _cut_short(file))]
    tuned = _looks_tuned(path, name, config, generation)
    size = sum(file.stat().st_size for file in weights if file.is_file())
    return ModelFolder(path, name, config, generation, tuple(weights), size, tuple(files), tuned), problems


def read_model_config(name: str) -> dict[str, Any]:
    """config.json of the folder that `model.path` means, without a look at anything else in it.

    Raises: ModelError where there is none that can be read.
    """
    problems: list[str] = []
    config = _read_json(resolve_model(name) / "config.json", problems, required=True)
    if problems:
        raise ModelError(*problems)
    return config


@dataclass(frozen=True)
class TuningSigns:
    """Why a base model looks instruction-tuned (empty where it does not), and whether it brings a chat template, which many base models do."""

    instruction_tuned: str = ""
    chat_template: bool = False


def tuning_signs(name: str) -> TuningSigns:
    """The signs in the folder that `model.path` means; by the name alone where there is no folder. Problems are left to `open_model_folder`."""
    try:
        path = resolve_model(name)
    except ModelError:
        return TuningSigns(tuned_name(name))
    config, generation, tokenizer = (
        _read_json(path / f"{file}.json", [], required=False) for file in ("config", "generation_config", "tokenizer_config")
    )
    template = bool(tokenizer.get("chat_template")) or any(path.glob("chat_template.*"))
    return TuningSigns(_looks_tuned(path, name, config, generation), template)


def tuned_name(name: str) -> str:
    """Why the name of a model is that of an instruction-tuned one; empty where it is not."""
    called = Path(name).name
    match = _TUNED_NAME.search(called)
    return f"the name {called!r} says {match.group(1)!r}" if match else ""


def resolve_model(name: str) -> Path:
    """The folder that a name means, whatever is in it.

    Raises: ModelError where there is none.
    """
    if not name:
        raise ModelError("model.path is empty; set it to the folder of a base model (config.json, *.safetensors, tokenizer)")
    path = Path(name).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.exists():
        raise ModelError(f"{path}: is a file; model.path must be a folder with config.json, *.safetensors and a tokenizer")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return _cached_snapshot(name)
    raise ModelError(f"{path}: no such folder; set model.path to a folder with config.json, *.safetensors and a tokenizer")


def _cached_snapshot(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model.path is {name!r}: no such folder, and no snapshot of that hub name is in the local cache "
            f"({type(error).__name__}); nothing is downloaded: fetch it first with `hf download {name}`, or give a local folder"
        ) from None


def _read_json(path: Path, problems: list[str], *, required: bool) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        if required:
            problems.append(f"{path.parent}: no {path.name}; this is not a model folder in the transformers layout")
    except (OSError, msgspec.DecodeError) as error:
        problems += [] if _unfetched(path) else [f"{path}: cannot be read as JSON ({error}); copy it again"]
    return {}


def _weights(path: Path, problems: list[str]) -> list[Path]:
    index = path / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(_read_json(index, problems, required=True).get("weight_map", {}).values()))
        missing = [shard for shard in shards if not (path / shard).is_file()]
        if missing:
            listed = ", ".join(missing[:12]) + (f" and {len(missing) - 12} more" if len(missing) > 12 else "")
            problems.append(
                f"{path}: {len(missing)} of {len(shards)} weight files are missing: {listed}; copy them into the folder"
            )
        return [path / shard for shard in shards if shard not in missing]
    if (path / "model.safetensors").is_file():
        return [path / "model.safetensors"]
    pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
    found = (
        f"only {', '.join(pickles[:4])}, which is pickled and could run code" if pickles else "no model.safetensors and no index"
    )
    problems.append(
        f"{path}: no safetensors weights ({found}); sluice loads safetensors only: convert the model or fetch that form"
    )
    return []


def _check_code(path: Path, config: dict[str, Any], problems: list[str]) -> None:
    tokenizer = _read_json(path / "tokenizer_config.json", [], required=False)
    for file, found in (("config.json", config), ("tokenizer_config.json", tokenizer)):
        if found.get("auto_map"):
            problems.append(
                f"{path / file}: auto_map asks for Python code from the model's repository ({found['auto_map']}); sluice never runs it: "
                "use a model whose architecture transformers has built in"
            )


def _check_quantized(path: Path, config: dict[str, Any], problems: list[str]) -> None:
    found = config.get("quantization_config")
    if not isinstance(found, dict) or (found.get("quant_method") == "bitsandbytes" and found.get("load_in_4bit")):
        return
    problems.append(
        f"{path / 'config.json'}: the weights are quantised already with {found.get('quant_method', 'an unknown method')}; "
        "only bitsandbytes 4-bit checkpoints can be trained as they are: take the unquantised model"
    )


def _unfetched(path: Path) -> str:
    """A message where the file is only a pointer to its content (Git LFS, xet, git-annex); empty otherwise."""
    try:
        with path.open("rb") as stream:
            head = stream.read(256)
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror}); let this user read it, or copy it again"
    if any(mark in head for mark in _POINTERS) and path.stat().st_size < 4096:
        return f"{path}: is a pointer to a file that was never fetched ({path.stat().st_size} bytes); run `git lfs pull` or copy the file"
    return ""


def _cut_short(path: Path) -> str:
    """A message where a safetensors file is shorter or longer than its header says; empty otherwise."""
    if path.suffix != ".safetensors":
        return ""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = stream.read(length) if length < min(size, 1 << 28) else b""
    try:
        tensors = msgspec.json.decode(header, type=dict[str, dict[str, Any]])
        ends = [entry["data_offsets"][1] for name, entry in tensors.items() if name != "__metadata__"]
    except (msgspec.DecodeError, KeyError, IndexError, TypeError):
        return f"{path}: is no whole safetensors file ({size} bytes); copy it again"
    expected = 8 + length + max(ends, default=0)
    return (
        "" if size == expected else f"{path}: has {size} bytes where its header says {expected}; it was cut short, copy it again"
    )


def _looks_tuned(path: Path, name: str, config: dict[str, Any], generation: dict[str, Any]) -> str:
    """Why the model looks instruction-tuned; empty where it does not."""
    if said := tuned_name(name):
        return said
    texts = _added_tokens(path)
    for file, found in (("generation_config.json", generation), ("config.json", config)):
        ends = found.get("eos_token_id")
        for end in ends if isinstance(ends, list) else [ends]:
            if texts.get(end) in CHAT_TOKENS:
                return f"{file} ends a text with the chat token {texts[end]}"
    return ""


def _added_tokens(path: Path) -> dict[Any, str]:
    """Literals of the added tokens by id, from tokenizer.json."""
    added = _read_json(path / "tokenizer.json", [], required=False).get("added_tokens", [])
    return {token["id"]: token["content"] for token in added if isinstance(token, dict) and {"id", "content"} <= token.keys()}
