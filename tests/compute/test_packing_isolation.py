"""Packed examples never see each other, and how a batch is cut into rows changes nothing but rounding."""

import dataclasses
import random
from typing import Any

import pytest
import torch

from engine.compute.batches import encode_pairs, examples_sha256, row_tensors, segment_ends
from engine.compute.loader import LoadedModel, load_clean_model
from engine.compute.lora import attach_lora, trainable
from engine.compute.losses import RowLoss
from engine.core.masking import IGNORED, Example
from engine.core.packing import RowPlan, plan_rows
from engine.core.prompt import prompt_text
from engine.protocol.config import Config

CPU = torch.device("cpu")
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-6, 1e-4


@pytest.fixture(scope="module")
def loaded(tiny_model_folder: Any, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    from engine.protocol.config import EngineTable, ModelTable

    config = Config(model=ModelTable(path=str(tiny_model_folder)), engine=EngineTable(device="cpu", threads=1))
    return load_clean_model(config, emit=lambda _: None)


@pytest.fixture(scope="module")
def model(loaded: LoadedModel) -> Any:
    from engine.protocol.config import TrainTable

    adapted = attach_lora(loaded.model, TrainTable(lora_dropout=0.0), seed=2)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, value in trainable(adapted).items():
            if "lora_B" in name:
                value.normal_(std=0.05, generator=generator)
    return adapted.train()


def examples(count: int = 8, seed: int = 4) -> list[Example]:
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        prompt, response = rng.randint(2, 20), rng.randint(1, 15)
        made.append(Example(tuple(rng.randrange(3, 512) for _ in range(prompt + response)), prompt))
    return made


def row_loss(model: Any) -> RowLoss:
    return RowLoss(model, device=CPU, pad_id=0)


def loss_and_gradients(model: Any, rows: tuple[RowPlan, ...], some: list[Example]) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    learnt = sum(row.response_tokens for row in rows)
    losses = [row_loss(model)(row, some) / learnt for row in rows]
    for loss in losses:
        loss.backward()
    return sum(loss.item() for loss in losses), {name: value.grad.clone() for name, value in trainable(model).items()}


def one_by_one(model: Any, some: list[Example]) -> tuple[float, dict[str, torch.Tensor]]:
    """The library's own forward on single examples: no mask, no positions, no packing."""
    model.zero_grad()
    learnt, total = sum(example.response_tokens for example in some), 0.0
    for example in some:
        logits = model(input_ids=torch.tensor([example.ids])).logits[0, :-1]
        labels = torch.tensor(example.labels[1:])
        loss = torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum") / learnt
        loss.backward()
        total += loss.item()
    return total, {name: value.grad.clone() for name, value in trainable(model).items()}


@pytest.mark.parametrize("row_tokens", [36, 64, 512])
def test_packed_equals_one_by_one(model: Any, row_tokens: int) -> None:
    some = examples()
    expected, expected_gradients = one_by_one(model, some)
    rows = plan_rows(range(len(some)), some, row_tokens)
    assert any(row.width > row.tokens for row in rows)
    loss, gradients = loss_and_gradients(model, rows, some)
    assert loss == pytest.approx(expected, rel=LOSS_TOLERANCE)
    for name, gradient in gradients.items():
        scale = expected_gradients[name].norm()
        assert scale > 0
        assert (gradient - expected_gradients[name]).norm() <= GRADIENT_TOLERANCE * scale, name


def test_a_planted_change_leaves_the_other_examples_logits_bit_identical(model: Any) -> None:
    some = examples()
    (row,) = plan_rows(range(len(some)), some, 512)
    loss = row_loss(model)
    place = 3
    planted = list(some)
    changed = row.examples[place]
    planted[changed] = Example(tuple(511 - token for token in some[changed].ids), some[changed].prompt_tokens)
    with torch.no_grad():
        before = loss.logits(row_tensors(row, some, pad_id=0, device=CPU))
        after = loss.logits(row_tensors(row, planted, pad_id=0, device=CPU))
        padded = loss.logits(row_tensors(row, some, pad_id=7, device=CPU))
    start = 0
    for segment, index in enumerate(row.examples):
        end = start + some[index].response_tokens
        assert torch.equal(before[start:end], after[start:end]) == (segment != place)
        start = end
    assert start == len(before)
    assert torch.equal(before, padded)


def test_a_model_without_logits_to_keep_gives_the_same_loss(model: Any) -> None:
    some = examples(4)
    (row,) = plan_rows(range(4), some, 512)
    keeping, whole = row_loss(model), row_loss(model)
    whole._keeps = False
    with torch.no_grad():
        assert keeping(row, some).item() == pytest.approx(whole(row, some).item(), rel=1e-6)


def test_the_dev_loss_is_without_dropout_and_leaves_the_mode(model: Any) -> None:
    some = examples(5)
    rows = plan_rows(range(5), some, 40)
    loss = row_loss(model)
    model.train()
    first = loss.mean(rows, some)
    assert first == loss.mean(rows, some)
    assert model.training
    assert first == pytest.approx(one_by_one(model, some)[0], rel=1e-6)


def test_masking_token_by_token_through_the_real_tokenizer(loaded: LoadedModel) -> None:
    pairs = [("Name three colours.", "red, green"), ("Naïve – 東京?", "  two spaces"), ("x", "\n")]
    encoded = encode_pairs(pairs, loaded.tokenizer, end_id=loaded.end_id, max_seq_len=256)
    assert encoded.dropped == encoded.truncated == 0
    for (instruction, response), example in zip(pairs, encoded.examples, strict=True):
        learnt = [token for token, label in zip(example.ids, example.labels, strict=True) if label != IGNORED]
        given = [token for token, label in zip(example.ids, example.labels, strict=True) if label == IGNORED]
        assert loaded.tokenizer.decode(given) == prompt_text(instruction)
        assert learnt[-1] == loaded.end_id
        assert loaded.tokenizer.decode(learnt[:-1]) == " " + response
        assert given == loaded.tokenizer.encode(prompt_text(instruction), add_special_tokens=False)


def test_what_each_position_is_asked_to_predict(loaded: LoadedModel) -> None:
    some = [Example((11, 12, 13, 14), 2), Example((21, 22, 23), 1)]
    (row,) = plan_rows([0, 1], some, 16)
    tensors = row_tensors(row, some, pad_id=9, device=CPU)
    assert tensors.ids_1t.tolist() == [[11, 12, 13, 14, 21, 22, 23, 9]]
    assert tensors.positions_1t.tolist() == [[0, 1, 2, 3, 0, 1, 2, 0]]
    assert tensors.predictors_k.tolist() == [1, 2, 4, 5]
    assert tensors.targets_k.tolist() == [13, 14, 22, 23]
    seen = [[column for column in range(8) if tensors.mask_11tt[0, 0, line, column]] for line in range(8)]
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [4], [4, 5], [4, 5, 6], [7]]


def test_the_hash_of_examples_sees_ids_order_and_masks() -> None:
    one, two = Example((1, 2, 3), 1), Example((4, 5), 1)
    found = {
        examples_sha256(some)
        for some in ([one, two], [two, one], [one], [Example((1, 2, 3), 2), two], [Example((1, 2, 3, 4), 1), Example((5,), 1)])
    }
    assert len(found) == 5


def test_the_padding_of_a_row_is_a_segment_of_its_own() -> None:
    # packed longest first
    some = [Example(tuple(range(10, 10 + tokens)), 2) for tokens in (5, 7, 4)]
    (full,) = plan_rows(range(3), some, 16)
    assert segment_ends(full, some) == [0, 7, 12, 16]
    (padded,) = plan_rows(range(3), some, 64)
    assert segment_ends(dataclasses.replace(padded, width=24), some) == [0, 7, 12, 16, 24]
