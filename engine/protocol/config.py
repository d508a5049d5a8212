"""`sluice.toml`: every setting of a run with its type, range, default and meaning.

One annotated struct a table is the single source of the defaults, of the checks and of the commented file that `sluice init` writes.
It refuses to guess: an unknown key or a wrong value is a problem, never ignored. Reading and writing files: `config_file`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine.protocol.gates import Severity

Share = Annotated[float, Meta(ge=0, le=1)]
LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,31}$"


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file."""


class RunTable(Table, frozen=True):
    """The run as a whole."""

    name: Annotated[str, Meta(pattern=NAME_PATTERN, description="short name; becomes part of the run's folder name")] = "sft"
    profile: Annotated[
        Literal["stage1", "external"],
        Meta(
            description="which gates are hard: stage1 (data made by the documented pipeline) or external (your own "
            "instruction/response file; shown as RELAXED in the verdict)"
        ),
    ] = "stage1"
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1, description="seed of order, dropout, splits and subsets")] = 0
    price_per_hour: Annotated[float, Meta(ge=0, description="price of the pod per hour, for the cost shown; 0 shows none")] = 0.0
    currency: Annotated[str, Meta(max_length=8, description="currency of the price, shown as it is")] = "USD"


class ModelTable(Table, frozen=True):
    """The base model."""

    path: Annotated[
        str, Meta(description="folder with config.json, safetensors and tokenizer; or a hub name already in the cache")
    ] = ""
    quantization: Annotated[
        Literal["nf4", "none"], Meta(description="nf4 with double quantization, or none (small models and comparisons only)")
    ] = "nf4"
    compute_dtype: Annotated[
        Literal["auto", "bfloat16", "float32"],
        Meta(description="dtype of the arithmetic; auto is bfloat16 on a GPU that has it and float32 on the CPU"),
    ] = "auto"
    cache_quantized: Annotated[
        bool, Meta(description="keep the quantised weights of models of 1 GB or more in the workspace, for a faster next start")
    ] = True
    allow_instruction_tuned: Annotated[
        bool, Meta(description="go on although the model looks instruction-tuned; listed as RELAXED in the verdict")
    ] = False


class DataTable(Table, frozen=True):
    """The datasets and what came with them. Paths are relative to this file."""

    train: Annotated[str, Meta(description="SFT dataset, .jsonl or .parquet, with instruction and response")] = ""
    held_out: Annotated[str, Meta(description="held-out items with checks, .jsonl")] = ""
    qc_pilot: Annotated[str, Meta(description="QC summary of the pilot run, JSON; empty where there is none")] = ""
    qc_scale: Annotated[str, Meta(description="QC summary of the scale run, JSON; empty where there is none")] = ""
    session_manifest: Annotated[
        str, Meta(description="session manifest of the data generation, JSON; empty where there is none")
    ] = ""


class TrainTable(Table, frozen=True):
    """QLoRA training."""

    lora_rank: Annotated[int, Meta(ge=1, le=1024, description="rank r of the adapters")] = 16
    lora_alpha: Annotated[float, Meta(gt=0, description="scale of the adapters is alpha / r")] = 16.0
    lora_dropout: Annotated[float, Meta(ge=0, lt=1, description="dropout before each adapter")] = 0.1
    lora_targets: Annotated[
        tuple[str, ...], Meta(min_length=1, description='adapted layers; ["q_proj", "v_proj"] is the small choice')
    ] = LINEAR_LAYERS
    optimizer: Annotated[Literal["adamw", "paged_adamw_8bit"], Meta(description="paged_adamw_8bit needs a GPU")] = "adamw"
    lr: Annotated[float, Meta(gt=0, lt=1, description="peak learning rate", examples=[2e-4])] = 2e-4
    warmup_share: Annotated[float, Meta(ge=0, lt=1, description="share of the steps spent warming up linearly")] = 0.03
    weight_decay: Annotated[float, Meta(ge=0, lt=1, description="decoupled weight decay of the adapters")] = 0.01
    max_grad_norm: Annotated[float, Meta(gt=0, description="gradients are clipped to this norm")] = 1.0
    batch_examples: Annotated[int, Meta(ge=1, description="examples behind one optimizer step, however they are cut")] = 8
    epochs: Annotated[int, Meta(ge=1, le=100, description="passes over the training split")] = 3
    max_seq_len: Annotated[
        int, Meta(ge=16, description="tokens an example may have; longer ones lose the end of the response")
    ] = 1024
    row_tokens: Annotated[
        int,
        Meta(
            ge=0,
            description="tokens of one packed row (a micro-step), never below max_seq_len; 0 takes max_seq_len on a CPU, on a GPU what the planner finds best",
        ),
    ] = 0
    dev_share: Annotated[
        float, Meta(ge=0, lt=0.5, description="share of the records held back for the dev loss, chosen by hash")
    ] = 0.05
    dev_every_steps: Annotated[int, Meta(ge=0, description="steps between dev evaluations; 0 means four an epoch, evenly")] = 0
    patience: Annotated[
        int, Meta(ge=0, description="dev evaluations without a better loss before training stops early; 0 never stops early")
    ] = 3
    checkpoint_every_s: Annotated[
        float, Meta(ge=0, description="seconds between checkpoints, which are written beside the training; 0 goes by steps alone")
    ] = 300.0
    checkpoint_every_steps: Annotated[int, Meta(ge=0, description="steps between checkpoints; 0 goes by the clock alone")] = 0
    keep_checkpoints: Annotated[
        int, Meta(ge=1, description="newest checkpoints kept, besides the one with the best dev loss")
    ] = 2


class EvalTable(Table, frozen=True):
    """Paired evaluation."""

    subset: Annotated[int, Meta(ge=0, description="items taken, stratified by type; 0 takes all; never below 300")] = 0
    max_new_tokens: Annotated[int, Meta(ge=1, description="longest answer, in tokens, for both arms")] = 256
    batch_items: Annotated[int, Meta(ge=1, description="items decoded together; the same batches for both arms")] = 32
    repeat_batches: Annotated[
        int, Meta(ge=0, description="first batches decoded twice for the noise floor (expected flips: 0)")
    ] = 1
    rebatch_items: Annotated[
        int, Meta(ge=0, description="items decoded again in other batches, for the arithmetic's uncertainty")
    ] = 32
    unpadded_items: Annotated[
        int, Meta(ge=0, description="padded items decoded again without padding, to measure what padding changes")
    ] = 16


class VerdictTable(Table, frozen=True):
    """The statistics and the rules of the verdict. Loosening any of these is listed as RELAXED."""

    alpha: Annotated[float, Meta(gt=0, lt=0.5, description="level of the overall test")] = 0.01
    confidence_level: Annotated[float, Meta(gt=0.5, lt=1, description="of every interval")] = 0.95
    fdr: Annotated[float, Meta(gt=0, lt=1, description="false discovery rate over the types (Benjamini-Hochberg)")] = 0.10
    min_lift: Annotated[float, Meta(ge=0, lt=1, description="a lift that cannot reach this is too small to matter")] = 0.05
    guarded: Annotated[
        tuple[str, ...],
        Meta(description='types that must not regress; "auto" is safety and format, for IFEval detectable_format'),
    ] = ("auto",)
    guard: Annotated[
        Literal["test", "strict"], Meta(description="test: a regression must be shown; strict: non-inferiority must be shown")
    ] = "test"
    guard_alpha: Annotated[float, Meta(gt=0, lt=0.5, description="level of the guarded types' tests, after Holm")] = 0.05
    margin: Annotated[float, Meta(gt=0, lt=1, description="non-inferiority margin of a guarded type")] = 0.05
    max_unscored: Annotated[Share, Meta(description="share of unscored items an arm or guarded type may have")] = 0.01
    max_arm_width: Annotated[float, Meta(gt=0, le=1, description="widest Wilson interval of an arm")] = 0.12
    max_lift_width: Annotated[float, Meta(gt=0, le=1, description="widest interval of the lift")] = 0.15
    min_items: Annotated[int, Meta(ge=1, description="items (clusters, where given) a verdict needs")] = 300
    require_beyond_stopping: Annotated[
        bool, Meta(description="a lift that is only learning to stop is no GO, instead of a GO that wants a signature")
    ] = False
    min_kappa: Annotated[
        float, Meta(ge=0, le=1, description="agreement of the scorer with a blinded review that a GO needs; 0 asks for none")
    ] = 0.0
    review_items: Annotated[
        int, Meta(ge=1, description="responses that a blinded review samples, and min_kappa needs judged, at least")
    ] = 50


class GatesTable(Table, frozen=True):
    """Thresholds and severities of the dataset gates. Loosening any of these is listed as RELAXED."""

    min_provenance: Annotated[Share, Meta(description="share of records with full metadata, at least")] = 0.99
    max_runaway: Annotated[Share, Meta(description="share of responses that go on into a new prompt, below")] = 0.05
    max_token_limit: Annotated[Share, Meta(description="share of raw generations cut at the token limit, below")] = 0.10
    max_median_tokens: Annotated[float, Meta(gt=0, description="median response tokens, below (profile stage1)")] = 40.0
    max_median_share: Annotated[
        float,
        Meta(gt=0, le=1, description="median response tokens as a share of eval.max_new_tokens, at most (profile external)"),
    ] = 0.5
    max_delimiters: Annotated[
        int, Meta(ge=0, description="responses with a delimiter or evaluator's marker left in, at most")
    ] = 0
    token_tolerance: Annotated[
        Share, Meta(description="share by which declared token statistics may differ from the measured")
    ] = 0.01
    min_acceptance: Annotated[Share, Meta(description="declared share of good among judged, at least")] = 0.50
    max_leaked_items: Annotated[int, Meta(ge=0, description="held-out items found in train, at most")] = 0
    leak_containment: Annotated[
        Share, Meta(description="share of a held-out item's 8-grams in one train record that is a leak")
    ] = 0.6
    max_duplicate_share: Annotated[Share, Meta(description="share of near-duplicate instructions in train, at most")] = 0.05
    max_truncated: Annotated[Share, Meta(description="share of examples cut at max_seq_len, at most")] = 0.01
    min_held_out: Annotated[int, Meta(ge=1, description="held-out items (clusters, where given)")] = 300
    min_guarded_items: Annotated[int, Meta(ge=1, description="items of a guarded type; with fewer it is WEAK")] = 50
    severity: Annotated[dict[str, Severity], Meta(description='severity by gate id, e.g. { duplicates = "hard" }')] = {}


class PlanTable(Table, frozen=True):
    """How the GPU's memory is spent on speed. Changes speed and rounding, never what is learnt; the CPU has one plan only."""

    checkpointing: Annotated[
        Literal["auto", "none", "selective", "full"],
        Meta(description="layers that compute their activations again in the backward pass: none, as few as fit, or all"),
    ] = "auto"
    mirror: Annotated[
        Literal["auto", "none", "full"] | Annotated[int, Meta(ge=0)],
        Meta(description="layers that hold their nf4 weights dequantised to bf16: none, full (all), or how many"),
    ] = "auto"
    compile: Annotated[
        Literal["auto", "on", "off"], Meta(description="one kernel (Triton) each for what lies between a layer's matrix products")
    ] = "auto"
    graph: Annotated[
        Literal["auto", "on", "off"], Meta(description="forward and backward as one CUDA graph for each width of row")
    ] = "auto"
    attention: Annotated[
        Literal["auto", "varlen", "masked"],
        Meta(description="packed examples kept apart by their lengths in one kernel (varlen), or by a block mask"),
    ] = "auto"
    adapters: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Meta(description="what adapters compute in; their master weights are float32 always"),
    ] = "auto"
    margin: Annotated[float, Meta(ge=0, le=0.5, description="share of the GPU's memory that the plan leaves free")] = 0.04


class EngineTable(Table, frozen=True):
    """Where and how the engine runs."""

    device: Annotated[Literal["auto", "cpu", "cuda"], Meta(description="auto takes a GPU where one is visible")] = "auto"
    threads: Annotated[
        int, Meta(ge=0, description="CPU threads, fixed because it changes the last bits; 0 takes the physical cores, at most 8")
    ] = 0
    share_gpu: Annotated[bool, Meta(description="start although another run holds this GPU")] = False
    preflight: Annotated[
        Literal["auto", "on", "off"],
        Meta(description="try the longest row and the largest batch before they count; auto does so on a GPU"),
    ] = "auto"
    deterministic: Annotated[
        bool,
        Meta(description="on a GPU bit-identical repetition, attention included, for some speed; a CPU always repeats itself"),
    ] = False
    max_restarts: Annotated[
        int, Meta(ge=0, le=10, description="restarts of a lost worker without progress before the run fails")
    ] = 3


class Config(Table, frozen=True):
    """All tables of `sluice.toml`."""

    run: RunTable = RunTable()
    model: ModelTable = ModelTable()
    data: DataTable = DataTable()
    train: TrainTable = TrainTable()
    eval: EvalTable = EvalTable()
    verdict: VerdictTable = VerdictTable()
    gates: GatesTable = GatesTable()
    plan: PlanTable = PlanTable()
    engine: EngineTable = EngineTable()
