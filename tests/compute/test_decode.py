"""Greedy decoding on a real tiny model: padding, stopping, fixed width."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.compute.decode import Decoder, answer_text
from engine.protocol.errors import EngineError

END = 0
FRESH_TOKENS = 12


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32, attn_implementation="sdpa").eval()


def prompts(count: int, seed: int = 1) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(3, 512) for _ in range(rng.randint(1, 40))] for _ in range(count)]


def decode(model: Any, some: list[list[int]], *, end_id: int = END, tokens: int = FRESH_TOKENS, pad_id: int = END) -> Any:
    return Decoder(model, pad_id=pad_id).decode(some, end_id=end_id, max_new_tokens=tokens)


def greedy_by_definition(model: Any, prompt: list[int], end_id: int, tokens: int) -> list[int]:
    """Without cache, padding or batch: the whole text through the model for every token."""
    ids = list(prompt)
    for _ in range(tokens):
        with torch.no_grad():
            ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        if ids[-1] == end_id:
            break
    return ids[len(prompt) :]


def test_a_left_padded_batch_answers_as_one_by_one_without_any_cache(model: Any) -> None:
    some = prompts(12)
    batch = decode(model, some)
    assert [list(answer.token_ids) for answer in batch] == [greedy_by_definition(model, p, END, FRESH_TOKENS) for p in some]
    assert len({len(p) for p in some}) > 6


def test_it_agrees_with_the_library(model: Any) -> None:
    some = prompts(6, seed=2)
    width = max(map(len, some))
    ids = torch.tensor([[END] * (width - len(p)) + p for p in some])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in some])
    theirs = model.generate(
        input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=FRESH_TOKENS, eos_token_id=511, pad_token_id=END
    )[:, width:]
    ours = decode(model, some, end_id=511)
    for answer, row in zip(ours, theirs.tolist(), strict=True):
        assert list(answer.token_ids) == row[: len(answer.token_ids)]


def test_rows_stop_at_their_own_end_and_the_others_go_on(model: Any) -> None:
    some = prompts(8, seed=3)
    free = decode(model, some, end_id=-1)
    assert {answer.stop for answer in free} == {"length"}
    end_id = free[0].token_ids[4]
    stopped = decode(model, some, end_id=end_id)
    for before, after in zip(free, stopped, strict=True):
        if end_id in before.token_ids:
            assert after.stop == "end"
            assert after.token_ids == before.token_ids[: before.token_ids.index(end_id) + 1]
        else:
            assert after == before
    assert {answer.stop for answer in stopped} == {"end", "length"}


def test_an_end_at_the_last_token_is_an_end_and_a_pad_that_equals_it_is_not(model: Any) -> None:
    some = prompts(1, seed=4)
    free = decode(model, some, end_id=-1)[0].token_ids
    last = next(place for place in range(1, len(free)) if free[place] not in free[:place])
    answer = decode(model, some, end_id=free[last], tokens=last + 1, pad_id=free[last])[0]
    assert (answer.stop, answer.token_ids) == ("end", free[: last + 1])
    cut = decode(model, some, end_id=free[last], tokens=last, pad_id=free[last])[0]
    assert (cut.stop, cut.token_ids) == ("length", free[:last])


class _Watched:
    """A model that notes the rows and positions of every call."""

    def __init__(self, model: Any) -> None:
        self.config, self.device, self._model = model.config, model.device, model
        self.rows: list[int] = []
        self.positions: list[list[list[int]]] = []

    def __call__(self, **arguments: Any) -> Any:
        self.rows.append(arguments["input_ids"].shape[0])
        self.positions.append(arguments["position_ids"].tolist())
        return self._model(**arguments)


def test_the_number_of_rows_never_changes_and_work_stops_when_all_have_ended(model: Any) -> None:
    some = prompts(5, seed=5)
    free = decode(model, some, end_id=-1)
    watched = _Watched(model)
    decode(watched, some, end_id=free[0].token_ids[1])
    assert set(watched.rows) == {5}
    alone = _Watched(model)
    answer = decode(alone, some[:1], end_id=free[0].token_ids[0])[0]
    assert (len(alone.rows), answer.stop, len(answer.token_ids)) == (1, "end", 1)


def test_every_row_counts_positions_from_its_own_first_token(model: Any) -> None:
    watched = _Watched(model)
    decode(watched, [[5, 6, 7, 8], [9, 10]], end_id=-1, tokens=3)
    first, second, third = watched.positions
    assert first[0] == [0, 1, 2, 3]
    assert first[1][2:] == [0, 1]
    assert (second, third) == ([[4], [2]], [[5], [3]])


def test_the_same_twice_is_the_same(model: Any) -> None:
    assert decode(model, prompts(7)) == decode(model, prompts(7))


def test_numbers_that_are_not_finite_are_an_error(tiny_model_folder: Path) -> None:
    broken = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32).eval()
    with torch.no_grad():
        broken.model.norm.weight[0] = float("nan")
    with pytest.raises(EngineError, match="not finite"):
        decode(broken, prompts(2))


def test_text_loses_special_tokens_and_one_space_only(tiny_model_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    for text, expected in ((" 15", "15"), ("  15 ", " 15 "), ("15", "15"), (" a .\n\nb , c", "a .\n\nb , c"), (" ", "")):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert answer_text(tokenizer, [*ids, END]) == expected
