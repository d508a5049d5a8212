"""CleanModelLoader: the one way a base model and its tokenizer come into memory (SPEC §3).

No chat template, no special tokens added, safetensors only, nothing from the network, no code from the model's repository. It refuses
to go on with an instruction-tuned model, with a tokenizer that adds tokens of its own, and when the plain-completion sentinel fails.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import BitsAndBytesConfig
from transformers.utils import logging as transformers_logging

from engine import __version__
from engine.compute.device import choose_dtype, configure_torch, device_name
from engine.compute.libraries import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    bitsandbytes,
    libraries_loaded,
    peft,
    quieten,
    versions,
)
from engine.compute.memory import memory_now
from engine.compute.provenance import HashesUnderWay, git_sha, hashing, source_sha256
from engine.compute.quantized_cache import LEAST_BYTES, cached_weights, copied_files, damage, has_copies, keep_quantized
from engine.compute.sentinels import run_sentinels
from engine.core.out_of_memory import is_device_error, is_out_of_memory
from engine.core.planner import ModelShape, run_bytes
from engine.core.prompt import prompt_text
from engine.data.model_folder import ModelFolder, open_model_folder
from engine.protocol.config import Config
from engine.protocol.errors import ModelError, SentinelError
from engine.protocol.events import Event, ModelLoaded, ModelLoadProgressed, SentinelRun, Warned
from engine.protocol.provenance import LoaderProvenance, SentinelOutcome

Emit = Callable[[Event], None]
_PROBE = prompt_text("Name the largest of 3, 14 and 15.")
_PROGRESS_EVERY_S = 0.5
_UNLOADABLE = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError, RuntimeError, NotImplementedError, SafetensorError,
)  # fmt: skip
"""What the libraries raise for a folder whose files do not fit each other."""


@dataclass(frozen=True)
class LoadedModel:
    """A base model on its device, or a PeftModel around it where an adapter was asked for; in eval mode, gradients off.

    `end_id` is the document-end token that responses are trained with; `pad_id` may equal it, so mask padding by length.
    """

    model: Any
    tokenizer: Any
    device: torch.device
    compute_dtype: torch.dtype
    provenance: LoaderProvenance
    end_id: int
    pad_id: int


def load_clean_model(config: Config, *, emit: Emit, adapter: Path | None = None) -> LoadedModel:
    """Load the base model of `config.model`, and with `adapter` its LoRA adapter for inference (`disable_adapter()` gives the base).

    The sentinels always run on the base. Emits LibrariesLoaded, ModelLoadProgressed, ModelLoaded and SentinelRun.
    Raises: ModelError with every problem of the folder; SentinelError with the sentinel that failed.
    """
    quieten()
    emit(libraries_loaded())
    device = configure_torch(config)
    dtype = choose_dtype(config.model.compute_dtype, device)
    began_s = time.monotonic()
    folder = open_model_folder(config.model.path, allow_instruction_tuned=config.model.allow_instruction_tuned)
    tokenizer, template_found = load_tokenizer(folder)
    with hashing(folder.files) as hashes:
        model = _load_model(config, folder, hashes, device, dtype, emit)
        files = hashes.result()
    end_id, pad_id = _fix_special_tokens(model, tokenizer, folder)
    emit(_model_loaded(model, folder, device, dtype, config, time.monotonic() - began_s))
    sentinels = _run_sentinels(model, tokenizer, end_id, pad_id, emit)
    provenance = LoaderProvenance(
        package_version=__version__,
        source_sha256=source_sha256(),
        git_sha=git_sha(),
        model_name=folder.name,
        model_path=str(folder.path),
        files=files,
        quantization=_quantization(config, folder),
        compute_dtype=_dtype_name(dtype),
        device=device_name(device),
        template_disabled=tokenizer.chat_template is None,
        chat_template_found=template_found,
        add_special_tokens=False,
        looks_instruction_tuned=folder.instruction_tuned,
        end_token=tokenizer.convert_ids_to_tokens(end_id),
        end_id=end_id,
        pad_id=pad_id,
        versions=versions(),
        sentinels=sentinels,
    )
    return LoadedModel(_with_adapter(model, adapter, device), tokenizer, device, dtype, provenance, end_id, pad_id)


def load_tokenizer(folder: ModelFolder) -> tuple[Any, bool]:
    """The tokenizer without its chat template, and whether there was one.

    Raises: ModelError where it cannot be read or would add special tokens of its own.
    """
    try:
        # AutoTokenizer goes by the model's type and may rebuild another tokenizer than the one in the file (a Qwen2 config made it
        # ignore a word-level tokenizer.json, so every prompt came out empty); the gates read the file too
        kind = PreTrainedTokenizerFast if (folder.path / "tokenizer.json").is_file() else AutoTokenizer
        tokenizer = kind.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder.path}: the tokenizer cannot be loaded ({_first_line(error)}); copy its files again") from error
    template_found = bool(tokenizer.chat_template)
    tokenizer.chat_template = None
    tokenizer.padding_side = "left"
    plain = len(tokenizer.encode(_PROBE, add_special_tokens=False))
    if not plain:
        raise ModelError(f"{folder.path}: the tokenizer gives no token at all for {_PROBE!r}; copy the tokenizer's files again")
    added = len(tokenizer.encode(_PROBE, add_special_tokens=True)) - plain
    if added:
        raise ModelError(
            f"{folder.path}: the tokenizer adds {added} special tokens to a plain prompt; sluice needs prompts without any: "
            "take a base model whose tokenizer adds none, or set add_bos_token and add_eos_token to false in tokenizer_config.json"
        )
    return tokenizer, template_found


def _load_model(
    config: Config, folder: ModelFolder, hashes: HashesUnderWay, device: torch.device, dtype: torch.dtype, emit: Emit
) -> Any:
    """From the quantised copy in the workspace where there is one, else from the model's own files, whose copy is then kept."""
    quantizing = config.model.quantization == "nf4" and not folder.quantized
    keeps = quantizing and config.model.cache_quantized and folder.weight_bytes >= LEAST_BYTES
    if keeps and has_copies() and (copy := cached_weights(hashes.result(), dtype)).is_dir():
        try:
            return _prepared(_from_copy(copy, folder.weight_bytes, device, dtype, emit), dtype)
        except ModelError as error:
            emit(Warned(text=f"{error}; the model's own files are quantised again"))
            shutil.rmtree(copy, ignore_errors=True)
    wanted: dict[str, Any] = {}
    if quantizing:
        wanted["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
    model = _prepared(_from_folder(folder.path, folder.weight_bytes, device, dtype, emit, **wanted), dtype)
    if keeps and (
        problem := keep_quantized(model, cached_weights(hashes.result(), dtype), leave_bytes=_run_bytes(model, config))
    ):
        emit(Warned(text=f"the quantised weights are not kept for the next start: {problem}"))
    return model


def _run_bytes(model: Any, config: Config) -> int:
    """The room that the run itself needs on the disk."""
    return run_bytes(ModelShape.of_run(model.config.to_dict(), config), keep_checkpoints=config.train.keep_checkpoints)


def _from_copy(copy: Path, weight_bytes: int, device: torch.device, dtype: torch.dtype, emit: Emit) -> Any:
    """The model from its quantised copy. Raises: ModelError where that is not what was written."""
    try:
        paths = copied_files(copy)
    except OSError as error:
        raise ModelError(f"{copy}: cannot be read ({error.strerror})") from error
    with hashing(paths) as hashes:
        model = _from_folder(copy, weight_bytes, device, dtype, emit)
        if found := damage(copy, hashes.result()):
            raise ModelError(f"{copy}: {found}")
    return model


def _from_folder(path: Path, weight_bytes: int, device: torch.device, dtype: torch.dtype, emit: Emit, **wanted: Any) -> Any:
    try:
        with _progress(weight_bytes, emit):
            model, found = AutoModelForCausalLM.from_pretrained(
                path, dtype=dtype, device_map={"": str(device)}, attn_implementation="sdpa", use_safetensors=True,
                local_files_only=True, trust_remote_code=False, output_loading_info=True, **wanted,
            )  # fmt: skip
    except _UNLOADABLE as error:
        if is_out_of_memory(error) or is_device_error(error):
            raise
        raise ModelError(_unloadable(path, _first_line(error))) from error
    # what is missing is drawn at random, without a word
    problems = [f"no weights {_some(found['missing_keys'])}"] if found["missing_keys"] else []
    if found["mismatched_keys"]:
        problems.append(f"weights of another shape {_some(name for name, *_ in found['mismatched_keys'])}")
    if problems:
        raise ModelError(_unloadable(path, ", ".join(problems)))
    if found["unexpected_keys"]:
        emit(Warned(text=f"{path}: weights that config.json has no place for are left out: {_some(found['unexpected_keys'])}"))
    return model


def _unloadable(path: Path, reason: str) -> str:
    if not path.is_dir():
        return f"{path}: the folder is gone; put the model back, then start again"
    return f"{path}: the model cannot be loaded ({reason}); check that config.json and the weights belong together, or copy the folder again"


def _some(names: Iterable[str]) -> str:
    found = sorted(names)
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _prepared(model: Any, dtype: torch.dtype) -> Any:
    keep_quantized_layers_trainable(model, dtype)
    model.requires_grad_(False)
    return model.eval()


def keep_quantized_layers_trainable(model: Any, dtype: torch.dtype) -> int:
    """Stop every 4-bit layer from repacking itself for inference, and fix its arithmetic; returns how many there are.

    On processors with AVX512-BF16 the first forward in eval mode would replace the weights by a form whose backward pass fails or
    is wrong without a word; this must come before any forward.
    """
    layers = [module for module in model.modules() if isinstance(module, bitsandbytes.nn.Linear4bit)]
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
        layer.compute_dtype, layer.compute_type_is_set = dtype, True
    return len(layers)


def _fix_special_tokens(model: Any, tokenizer: Any, folder: ModelFolder) -> tuple[int, int]:
    """Set end, pad and no start token in every place that generation reads; returns (end_id, pad_id)."""
    ends = (folder.config.get("eos_token_id"), folder.generation.get("eos_token_id"), tokenizer.eos_token_id)
    known = [end[0] if isinstance(end, list) and end else end for end in ends]
    end_id = next((end for end in known if isinstance(end, int)), None)
    rows = model.get_input_embeddings().weight.shape[0]
    if end_id is None or not 0 <= end_id < rows:
        raise ModelError(f"{folder.path}: eos_token_id is {end_id}; expected an id below {rows}: set it in config.json")
    if len(tokenizer) > rows:
        raise ModelError(
            f"{folder.path}: the tokenizer has {len(tokenizer)} tokens, the model {rows}; they do not belong together"
        )
    pads = (tokenizer.pad_token_id, folder.config.get("pad_token_id"), end_id)
    pad_id = next(pad for pad in pads if isinstance(pad, int) and 0 <= pad < rows)
    tokenizer.eos_token, tokenizer.pad_token = tokenizer.convert_ids_to_tokens([end_id, pad_id])
    for settings in (model.config, model.generation_config):
        settings.eos_token_id, settings.pad_token_id, settings.bos_token_id = end_id, pad_id, None
    for sampling in ("temperature", "top_p", "top_k", "typical_p", "min_p", "repetition_penalty"):
        if hasattr(model.generation_config, sampling):
            setattr(model.generation_config, sampling, None)
    model.generation_config.do_sample = False
    return end_id, pad_id


def _run_sentinels(model: Any, tokenizer: Any, end_id: int, pad_id: int, emit: Emit) -> tuple[SentinelOutcome, ...]:
    outcomes = run_sentinels(model, tokenizer, end_id, pad_id)
    for found in outcomes:
        emit(SentinelRun(name=found.name, advisory=found.advisory, passed=found.passed, prompt=found.prompt, output=found.output))
        if not (found.passed or found.advisory):
            raise SentinelError(
                f"sentinel {found.name}: {found.reason}; the prompt {found.prompt!r} gave {found.output!r}; "
                "check that weights, tokenizer and config belong to one base model"
            )
    return outcomes


def _with_adapter(model: Any, adapter: Path | None, device: torch.device) -> Any:
    if adapter is None:
        return model
    missing = [name for name in ("adapter_config.json", "adapter_model.safetensors") if not (adapter / name).is_file()]
    if missing:
        raise ModelError(f"{adapter}: is no adapter folder (no {', '.join(missing)}); train first, or give the right folder")
    try:
        return peft.PeftModel.from_pretrained(
            model, str(adapter), is_trainable=False, torch_device=str(device), local_files_only=True
        ).eval()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"{adapter}: the adapter does not fit the model ({_first_line(error)})") from error


def _model_loaded(
    model: Any, folder: ModelFolder, device: torch.device, dtype: torch.dtype, config: Config, elapsed_s: float
) -> ModelLoaded:
    return ModelLoaded(
        name=folder.name,
        device=device_name(device),
        quantization=_quantization(config, folder),
        compute_dtype=_dtype_name(dtype),
        parameters=model.num_parameters(),
        memory=memory_now(device),
        elapsed_s=round(elapsed_s, 3),
    )


def _quantization(config: Config, folder: ModelFolder) -> str:
    if folder.quantized:
        return f"{folder.quantized.get('bnb_4bit_quant_type', '4-bit')} (checkpoint)"
    return config.model.quantization


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


class _LoadProgress:
    """Stands in for the loader's progress bar and tells as an event how far it has come."""

    def __init__(self, items: Iterable[Any], total_bytes: int, emit: Emit) -> None:
        self._items, self._total_bytes, self._emit = list(items), total_bytes, emit

    def __iter__(self) -> Iterator[Any]:
        told_s = time.monotonic()
        for done, item in enumerate(self._items, 1):
            yield item
            if time.monotonic() - told_s >= _PROGRESS_EVERY_S:
                told_s = time.monotonic()
                self._emit(
                    ModelLoadProgressed(done_bytes=self._total_bytes * done // len(self._items), total_bytes=self._total_bytes)
                )


@contextmanager
def _progress(total_bytes: int, emit: Emit) -> Iterator[None]:
    """Progress events while weights load, where the installed transformers lets its progress bar be replaced."""
    hook = getattr(transformers_logging, "set_tqdm_hook", None)
    emit(ModelLoadProgressed(done_bytes=0, total_bytes=total_bytes))
    before = hook(lambda factory, args, kwargs: _bar(factory, args, kwargs, total_bytes, emit)) if hook else None
    try:
        yield
    finally:
        if hook:
            hook(before)


def _bar(factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any], total_bytes: int, emit: Emit) -> Any:
    items = args[0] if args else kwargs.get("iterable")
    if items is not None and kwargs.get("desc") == "Loading weights":
        return _LoadProgress(items, total_bytes, emit)
    return factory(*args, **kwargs)
