"""Everything the gates decide on, gathered: settings, both datasets, the manifests, and the token counts of the run's tokenizer.

It refuses to carry a figure without saying whether it is of all records or of a sample.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean, pstdev

from engine.core.batching import choose_subset
from engine.core.leakage import LeakageIndex
from engine.core.prompt import prompt_text, response_text
from engine.core.qc import median, quantile_bounds
from engine.data.gate_results import Draft, Found
from engine.data.held_out import HeldOut
from engine.data.manifests import Declared, QcSummary, SessionManifest
from engine.data.model_folder import TuningSigns
from engine.data.observers import Observed
from engine.data.problems import Findings
from engine.data.tokens import RunTokenizer, TextSample
from engine.protocol.config import Config
from engine.protocol.items import HeldOutItem

_BATCH_RECORDS = 2_000
_STANDARD_ERRORS = 4.0
"""How far a figure of a sample may be from that of the whole."""


@dataclass(frozen=True)
class Manifests:
    """What came with the data."""

    session: Declared[SessionManifest]
    pilot: Declared[QcSummary]
    scale: Declared[QcSummary]


@dataclass
class TokenCounts:
    """Tokens of the records looked at: final responses ascending, and the examples that `max_seq_len` cuts."""

    responses: list[int]
    sampled: bool
    label: str
    truncated: Found = field(default_factory=Found)
    without_response: int = 0
    control: Found = field(default_factory=Found)

    @property
    def count(self) -> int:
        """Records looked at."""
        return len(self.responses)

    @property
    def median(self) -> float:
        """Median tokens of a final response."""
        return median(self.responses)

    @property
    def mean(self) -> float:
        """Mean tokens of a final response."""
        return fmean(self.responses)

    def bounds(self, statistic: str) -> tuple[float, float]:
        """Where `median`, `mean` or `p95` of the whole dataset lies: the figure itself, or four standard errors about a sample's."""
        margin = _STANDARD_ERRORS if self.sampled else 0.0
        if statistic == "mean":
            slack = margin * pstdev(self.responses) / self.count**0.5
            return self.mean - slack, self.mean + slack
        return quantile_bounds(self.responses, 0.5 if statistic == "median" else 0.95, margin=margin)


@dataclass(frozen=True)
class Inputs:
    """What the gates look at. `tokens` is None where there is no tokenizer, and `no_tokenizer` says why; `held_out_control` has the
    held-out items whose prompts hold control tokens once they are tokenized."""

    config: Config
    draft: Draft
    manifests: Manifests
    held_out: HeldOut
    findings: Findings
    sha256: str
    observed: Observed
    leakage: LeakageIndex
    tokenizer: RunTokenizer | None
    no_tokenizer: str
    tokens: TokenCounts | None
    model_signs: TuningSigns
    held_out_control: Found

    @property
    def records(self) -> int:
        """Usable records."""
        return self.observed.records

    @cached_property
    def evaluated(self) -> tuple[HeldOutItem, ...]:
        """The held-out items that a run would evaluate: all, or those of `eval.subset`."""
        return choose_subset(self.held_out.items, self.config.eval.subset, self.config.run.seed)


def count_tokens(
    tokenizer: RunTokenizer, sample: TextSample, max_seq_len: int, progress: Callable[[int], None] = lambda done: None
) -> TokenCounts:
    """Token counts of the sampled records as training will see them: prompt, a space and the response, and the end token.

    `progress` is called with the records done.
    """
    texts = sample.texts
    counts = TokenCounts([], not sample.whole, sample.label)
    for start in range(0, len(texts), _BATCH_RECORDS):
        _count_batch(tokenizer, texts[start : start + _BATCH_RECORDS], max_seq_len, counts)
        progress(min(start + _BATCH_RECORDS, len(texts)))
    counts.responses.sort()
    return counts


def control_in_prompts(tokenizer: RunTokenizer | None, items: Sequence[HeldOutItem]) -> Found:
    """The items whose prompts hold control tokens once they are tokenized; none without a tokenizer."""
    found = Found()
    if tokenizer is not None:
        for item, ids in zip(items, tokenizer.token_ids([prompt_text(item.instruction) for item in items]), strict=True):
            if tokenizer.has_control(ids):
                found.add(f"held-out {item.id}", item.instruction)
    return found


def _count_batch(tokenizer: RunTokenizer, texts: Sequence[tuple[str, tuple[str, ...]]], size: int, counts: TokenCounts) -> None:
    prompts = tokenizer.token_ids([prompt_text(instruction) for _, (instruction, _) in texts])
    responses = tokenizer.token_ids([response_text(response) for _, (_, response) in texts])
    for (name, (instruction, response)), prompt, answer in zip(texts, prompts, responses, strict=True):
        counts.responses.append(len(answer))
        needed = len(prompt) + len(answer) + 1
        if needed > size:
            counts.truncated.add(name, f"{needed} tokens\n{prompt_text(instruction)}{response_text(response)}")
            counts.without_response += len(prompt) >= size
        if tokenizer.has_control(prompt) or tokenizer.has_control(answer):
            counts.control.add(name, f"{instruction}\n{response}")
