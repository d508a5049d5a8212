"""The layers, losses and attention of the fast paths against peft's and the library's own, on a real tiny model in fp32."""

import copy
import random
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from engine.compute import attention, decode, fused, planned_model, small_functions
from engine.compute.adapter_bank import AdapterBank
from engine.compute.attention import NAME, use_sluice_attention
from engine.compute.decode import Decoder
from engine.compute.dropout import DropoutSeed, keep_mask
from engine.compute.gradients import BatchGradients
from engine.compute.joined_linears import JoinedLinears
from engine.compute.linears import FrozenLinear
from engine.compute.loader import load_clean_model
from engine.compute.lora import attach_lora, trainable
from engine.compute.losses import RowLoss
from engine.compute.planned_linears import frozen_linears, install_linears, mirror_layers
from engine.compute.planned_model import carry_out
from engine.compute.small_functions import PLAIN, SmallFunctions
from engine.core.masking import Example
from engine.core.packing import StepPlan, plan_rows
from engine.protocol.config import Config, EngineTable, ModelTable, TrainTable
from engine.protocol.events import FastPathFellBack
from engine.protocol.plans import ComputePlan

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(tiny_model_folder: Path) -> Any:
    config = Config(model=ModelTable(path=str(tiny_model_folder)), engine=EngineTable(device="cpu", threads=1))
    return load_clean_model(config, emit=lambda _: None).model


def adapted(base: Any, *, dropout: float = 0.0, targets: tuple[str, ...] = ()) -> Any:
    chosen = {"lora_targets": targets} if targets else {}
    model = attach_lora(copy.deepcopy(base), TrainTable(lora_dropout=dropout, lora_alpha=8.0, **chosen), seed=2)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, value in trainable(model).items():
            if "lora_B" in name:
                value.normal_(std=0.05, generator=generator)
    return model.train()


def examples(count: int = 8, seed: int = 4) -> list[Example]:
    rng = random.Random(seed)
    return [Example(tuple(rng.randrange(3, 512) for _ in range(rng.randint(12, 40))), rng.randint(2, 9)) for _ in range(count)]


def step_of(some: list[Example], row_tokens: int = 128) -> StepPlan:
    return StepPlan(plan_rows(range(len(some)), some, row_tokens))


def peft_gradients(model: Any, some: list[Example]) -> tuple[float, dict[str, torch.Tensor]]:
    step, loss = step_of(some), RowLoss(model, device=CPU, pad_id=0)
    total = sum((loss(row, some) for row in step.rows), torch.zeros(())) / step.response_tokens
    total.backward()
    return total.item(), {name: value.grad.clone() for name, value in trainable(model).items()}


def our_gradients(model: Any, some: list[Example], plan: ComputePlan, step: int = 1) -> tuple[float, dict[str, torch.Tensor]]:
    planned = carry_out(plan, model, compute_dtype=torch.float32, emit=lambda _: None)
    bank = AdapterBank(model, adapter_dtype=planned.adapter_dtype)
    gradients = BatchGradients(planned, bank, device=CPU, pad_id=0, seed=3)
    loss = gradients.of(step_of(some, plan.row_tokens), some, step)
    return loss.item(), {name: value.clone() for name, value in bank.gradients().items()}


def far_apart(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> float:
    ours, theirs = (torch.cat([tensors[name].flatten() for name in sorted(tensors)]) for tensors in (found, wanted))
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.mark.parametrize(
    "plan",
    [
        ComputePlan(row_tokens=128),
        ComputePlan(row_tokens=48),
        ComputePlan(row_tokens=128, mirrored_layers=1),
        ComputePlan(row_tokens=128, mirrored_layers=99, recomputed_layers=1),
        ComputePlan(row_tokens=128, recomputed_layers=99),
    ],
    ids=["plain", "cut", "some mirrored", "mirrored and recomputed", "recomputed"],
)
def test_every_plan_has_pefts_loss_and_gradients(base: Any, plan: ComputePlan) -> None:
    some = examples()
    loss, wanted = peft_gradients(adapted(base), some)
    ours, found = our_gradients(adapted(base), some, plan)
    assert sorted(found) == sorted(wanted)
    assert ours == pytest.approx(loss, rel=1e-6)
    assert far_apart(found, wanted) < 1e-4


def test_bf16_adapters_keep_the_direction_of_the_gradient(base: Any) -> None:
    some = examples()
    loss, wanted = peft_gradients(adapted(base), some)
    ours, found = our_gradients(adapted(base), some, ComputePlan(row_tokens=128, adapter_dtype="bfloat16"))
    assert ours == pytest.approx(loss, rel=1e-3)
    assert torch.cosine_similarity(*(torch.cat([t[n].flatten() for n in sorted(t)]) for t in (found, wanted)), dim=0) > 0.999


def test_recomputation_and_mirror_see_the_same_dropout(base: Any) -> None:
    some = examples()
    plain = our_gradients(adapted(base, dropout=0.3), some, ComputePlan(row_tokens=128))
    other = our_gradients(adapted(base, dropout=0.3), some, ComputePlan(row_tokens=128, recomputed_layers=99, mirrored_layers=99))
    assert other[0] == pytest.approx(plain[0], rel=1e-6)
    assert far_apart(other[1], plain[1]) < 1e-5
    elsewhere = our_gradients(adapted(base, dropout=0.3), some, ComputePlan(row_tokens=128), step=2)
    assert elsewhere[0] != plain[0]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_micro_steps_of_one_step_draw_masks_of_their_own(base: Any, dropout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = examples(1)
    model, losses, real = adapted(base, dropout=dropout), [], BatchGradients._row

    def row(self: Any, tensors: Any, scale: torch.Tensor) -> torch.Tensor:
        losses.append(real(self, tensors, scale).item())
        return torch.tensor(losses[-1])

    monkeypatch.setattr(BatchGradients, "_row", row)
    our_gradients(model, [one, one], ComputePlan(row_tokens=len(one.ids)))
    assert len(losses) == 2
    assert (losses[0] == losses[1]) == (not dropout)


def test_gradients_under_dropout_are_those_of_the_formula(base: Any) -> None:
    model = adapted(base, dropout=0.4)
    switches = install_linears(model, compute_dtype=torch.float32, adapter_dtype=torch.float32)
    bank, layer = AdapterBank(model, adapter_dtype=torch.float32), next(iter(frozen_linears(model).values()))
    name = next(iter(frozen_linears(model)))
    switches.seed.set(77)
    x = torch.randn(1, 9, layer.in_features, generator=torch.Generator().manual_seed(5))
    upstream = torch.randn(1, 9, layer.out_features, generator=torch.Generator().manual_seed(6))
    ours = x.clone().requires_grad_()
    out = layer(ours)
    out.backward(upstream)
    bank.collect()
    mask = keep_mask(x[0], switches.seed, layer.stream, 0.4)
    theirs, a, b = (tensor.detach().clone().requires_grad_() for tensor in (x, layer.adapter.a_ri, layer.adapter.b_or))
    right = theirs @ layer.frozen.dense().t() + layer.adapter.scaling * ((theirs * mask) @ a.t()) @ b.t()
    right = right if layer.frozen.bias is None else right + layer.frozen.bias
    right.backward(upstream)
    assert torch.allclose(out, right, atol=1e-5)
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-5)
    for part, wanted in (("lora_A", a.grad), ("lora_B", b.grad)):
        assert torch.allclose(bank.gradients()[f"{name}.{part}.weight"], wanted, atol=1e-5)


def test_layers_of_one_step_have_masks_of_their_own() -> None:
    seed = DropoutSeed(CPU)
    seed.set(5)
    one, same, other = (keep_mask(torch.ones(64, 64), seed, stream, 0.5) for stream in (0, 0, 1))
    assert torch.equal(one, same)
    assert 0.4 < (one == other).float().mean() < 0.6


def test_so_many_layers_are_computed_again(base: Any) -> None:
    some, model = examples(), adapted(base)
    runs = dict.fromkeys(range(base.config.num_hidden_layers), 0)
    for index, layer in enumerate(model.get_base_model().model.layers):
        layer.mlp.register_forward_pre_hook(lambda *_, index=index: runs.__setitem__(index, runs[index] + 1))
    our_gradients(model, some, ComputePlan(row_tokens=4096, recomputed_layers=1))
    assert runs == {index: 2 if index < 1 else 1 for index in runs}


def test_dropout_drops_its_share_and_keeps_the_mean(base: Any) -> None:
    model = adapted(base, dropout=0.3)
    install_linears(model, compute_dtype=torch.float32, adapter_dtype=torch.float32)
    layer = next(iter(frozen_linears(model).values()))
    AdapterBank(model, adapter_dtype=torch.float32)
    with torch.no_grad():
        layer.adapter.a_ri.fill_(1.0 / layer.in_features)
        layer.adapter.b_or.fill_(1.0)
    x = torch.ones(400, layer.in_features)
    with layer.switches.adapters_off():
        plain = layer(x)
    inner = (layer(x) - plain)[:, 0] / layer.adapter.scaling / layer.adapter.a_ri.shape[0]
    kept = inner * 0.7
    assert kept.mean().item() == pytest.approx(0.7, abs=0.01)
    # the variance of a mean of independent keeps: more would mean that they hang together
    assert kept.var().item() == pytest.approx(0.7 * 0.3 / layer.in_features, rel=0.3)


def test_a_mirror_is_the_same_weights_to_the_bit(base: Any) -> None:
    model = copy.deepcopy(base)
    install_linears(model, compute_dtype=torch.float32, adapter_dtype=torch.float32)
    ids = torch.arange(3, 40).unsqueeze(0)
    with torch.no_grad():
        theirs, ours = base(input_ids=ids).logits, model(input_ids=ids).logits
        before = {name: layer.frozen.dense() for name, layer in frozen_linears(model).items()}
        mirror_layers(model, 99)
        mirrored = model(input_ids=ids).logits
    assert torch.equal(ours, theirs)
    assert all(torch.equal(layer.frozen.dense(), before[name]) for name, layer in frozen_linears(model).items())
    # joined layers are one product, which may add in another order
    assert torch.allclose(ours, mirrored, atol=1e-5)


@pytest.mark.parametrize(
    "targets", [("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"), ("q_proj", "v_proj", "up_proj"), ("k_proj",)]
)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_layers_that_read_one_input_are_one_product_with_the_same_gradients(
    base: Any, targets: tuple[str, ...], dropout: float
) -> None:
    some = examples()
    alone, joined = (adapted(base, dropout=dropout, targets=targets) for _ in range(2))
    loss, wanted = our_gradients(alone, some, ComputePlan(row_tokens=128))
    ours, found = our_gradients(joined, some, ComputePlan(row_tokens=128, mirrored_layers=99, recomputed_layers=1))
    attention = joined.get_base_model().model.layers[0].self_attn
    assert attention.q_proj.joined is attention.v_proj.joined is not None
    assert attention.o_proj.joined is None
    assert (
        attention.q_proj.frozen.dense().untyped_storage().data_ptr()
        == attention.v_proj.frozen.dense().untyped_storage().data_ptr()
    )
    assert ours == pytest.approx(loss, rel=1e-6)
    assert far_apart(found, wanted) < 1e-5


def test_a_joined_product_serves_its_layers_in_any_order_and_each_input_once(base: Any) -> None:
    model = adapted(base).eval()
    switches = install_linears(model, compute_dtype=torch.float32, adapter_dtype=torch.float32)
    layers = model.get_base_model().model.layers[0].self_attn
    one, other = (torch.randn(2, 5, layers.q_proj.in_features, generator=torch.Generator().manual_seed(n)) for n in (1, 2))
    with torch.no_grad():
        wanted = {
            (name, index): getattr(layers, name)(x)
            for name in ("q_proj", "k_proj", "v_proj")
            for index, x in enumerate((one, other))
        }
        mirror_layers(model, 99)
        for name, index in zip("vqkqkkvq", (0, 0, 0, 0, 1, 1, 1, 1), strict=True):
            x, wished = (one, other)[index], wanted[f"{name}_proj", index]
            assert torch.allclose(getattr(layers, f"{name}_proj")(x), wished, atol=1e-5), (name, index)
        assert switches.held is None, "each of the last input's was taken"
        layers.v_proj(one)
        with switches.adapters_off():
            assert switches.held is None, "what was made with adapters is not the base model's"
            assert not torch.allclose(layers.q_proj(one), wanted["q_proj", 0], atol=1e-3)


def test_layers_whose_adapters_scale_differently_are_not_joined(base: Any) -> None:
    model = adapted(base)
    install_linears(model, compute_dtype=torch.float32, adapter_dtype=torch.float32)
    layers = frozen_linears(model)
    next(layer for name, layer in layers.items() if name.endswith("layers.0.self_attn.k_proj")).adapter.scaling = 7.0
    mirror_layers(model, 99)
    joined = {name for name, layer in frozen_linears(model).items() if layer.joined is not None}
    assert all(layer.frozen.mirrored for layer in layers.values())
    assert any("layers.1.self_attn.q_proj" in name for name in joined)
    assert not any("layers.0.self_attn" in name for name in joined)


def test_only_the_layers_asked_for_are_mirrored(base: Any) -> None:
    model = copy.deepcopy(base)
    install_linears(model, compute_dtype=torch.float32, adapter_dtype=torch.float32)
    assert not any(isinstance(module, torch.nn.Linear) and "lm_head" not in name for name, module in model.named_modules())
    mirror_layers(model, 1)
    layers = frozen_linears(model).values()
    assert {layer.decoder_layer for layer in layers if layer.frozen.mirrored} == {0}
    assert {layer.decoder_layer for layer in layers if not layer.frozen.mirrored} == set(range(1, base.config.num_hidden_layers))


def test_the_base_answers_with_adapters_off(base: Any) -> None:
    model = adapted(base).eval()
    switches = install_linears(model, compute_dtype=torch.float32, adapter_dtype=torch.float32)
    ids = torch.arange(3, 40).unsqueeze(0)
    with torch.no_grad():
        on = model(input_ids=ids).logits
        with switches.adapters_off():
            off = model(input_ids=ids).logits
        assert torch.equal(off, base(input_ids=ids).logits)
    assert (on - off).abs().max() > 0.1


def test_the_bank_gives_and_takes_the_adapters_of_a_file(base: Any) -> None:
    model = adapted(base)
    before = {name: value.detach().clone() for name, value in trainable(model).items()}
    install_linears(model, compute_dtype=torch.float32, adapter_dtype=torch.bfloat16)
    # the bf16 copy is what layers compute with; the master keeps every bit that came in
    bank = AdapterBank(model, adapter_dtype=torch.bfloat16)
    bank.restore(before)
    assert {name: value.shape for name, value in bank.tensors().items()} == {name: value.shape for name, value in before.items()}
    assert all(torch.equal(value, before[name]) for name, value in bank.tensors().items())
    layer = next(layer for layer in frozen_linears(model).values() if layer.adapter is not None)
    assert layer.adapter.a_ri.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="names and shapes"):
        bank.restore(dict(list(before.items())[:-1]))


@pytest.mark.parametrize("chunk_tokens", [1, 7, 64, 4096])
def test_the_loss_in_chunks_is_the_loss(base: Any, chunk_tokens: int) -> None:
    some = examples()
    (row, *_) = step_of(some, 512).rows
    results = []
    for chunk in (0, chunk_tokens):
        loss = RowLoss(base, device=CPU, pad_id=0, chunk_tokens=chunk)
        tensors = loss.tensors(row, some)
        embedded = base.get_input_embeddings()(tensors.ids_1t).detach().requires_grad_()
        hook = base.get_input_embeddings().register_forward_hook(lambda *_, given=embedded: given)
        total = loss.of(tensors) / row.response_tokens
        total.backward()
        hook.remove()
        results.append((total.item(), embedded.grad.clone()))
    (plain, wanted), (chunked, found) = results
    assert chunked == pytest.approx(plain, rel=1e-6)
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-7)


def test_an_unlearnt_place_of_a_fixed_size_row_counts_nothing(base: Any) -> None:
    some = examples(1)
    (row,) = step_of(some).rows
    loss = RowLoss(base, device=CPU, pad_id=0, chunk_tokens=8)
    tensors = loss.tensors(row, some)
    padded = type(tensors)(
        tensors.ids_1t,
        tensors.positions_1t,
        tensors.mask_11tt,
        torch.cat([tensors.predictors_k, torch.zeros(5, dtype=torch.long)]),
        torch.cat([tensors.targets_k, torch.full((5,), -100)]),
    )
    results = []
    for given in (tensors, padded):
        embedded = base.get_input_embeddings()(tensors.ids_1t).detach().requires_grad_()
        hook = base.get_input_embeddings().register_forward_hook(lambda *_, given=embedded: given)
        total = loss.of(given)
        total.backward()
        hook.remove()
        results.append((total.item(), embedded.grad.clone()))
    (exact, wanted), (found, gradient) = results
    assert found == pytest.approx(exact, rel=1e-6)
    assert torch.allclose(gradient, wanted, rtol=1e-5, atol=1e-7)


def test_decoding_in_buffers_of_fixed_size_gives_the_librarys_ids(base: Any) -> None:
    rng = random.Random(8)
    prompts = [[rng.randrange(3, 512) for _ in range(rng.randint(1, 40))] for _ in range(12)]
    ours = copy.deepcopy(base)
    install_linears(ours, compute_dtype=torch.float32, adapter_dtype=torch.float32)
    mirror_layers(ours, 99)
    assert use_sluice_attention(ours)
    decoder = Decoder(ours, pad_id=0)
    found = decoder.decode(prompts, end_id=511, max_new_tokens=12)
    assert found == Decoder(base, pad_id=0).decode(prompts, end_id=511, max_new_tokens=12)
    # the buffers are used again, by a batch of the same shape and by a narrow one
    assert decoder.decode(prompts, end_id=511, max_new_tokens=12) == found
    single = [[5], [9]]
    assert decoder.decode(single, end_id=511, max_new_tokens=6) == Decoder(base, pad_id=0).decode(
        single, end_id=511, max_new_tokens=6
    )
    more = prompts + [[rng.randrange(3, 512) for _ in range(90)] for _ in range(5)]
    assert decoder.decode(more, end_id=511, max_new_tokens=12) == Decoder(base, pad_id=0).decode(
        more, end_id=511, max_new_tokens=12
    )
    assert decoder.decode(prompts, end_id=511, max_new_tokens=12) == found
    assert ours.config._attn_implementation == NAME


def of_family(kind: Any, **more: Any) -> Any:
    torch.manual_seed(6)
    config = kind(
        vocab_size=512, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        pad_token_id=0, tie_word_embeddings=False, **more,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval().requires_grad_(False)


@pytest.mark.parametrize("kind", [LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config])
def test_every_known_family_decodes_and_learns_as_with_the_librarys_attention(kind: Any) -> None:
    plain = of_family(kind, **({"sliding_window": None} if kind is MistralConfig else {}))
    ours, rng = copy.deepcopy(plain), random.Random(9)
    assert use_sluice_attention(ours)
    for count in (1, 5):
        prompts = [[rng.randrange(3, 512) for _ in range(rng.randint(1, 30))] for _ in range(count)]
        found, wanted = (Decoder(model, pad_id=0).decode(prompts, end_id=511, max_new_tokens=10) for model in (ours, plain))
        assert found == wanted
        alone = plain.generate(torch.tensor(prompts[:1]), do_sample=False, max_new_tokens=10, eos_token_id=511)[
            0, len(prompts[0]) :
        ]
        assert list(found[0].token_ids) == alone.tolist()
    some = examples()
    (row,) = step_of(some, 512).rows
    losses = [
        RowLoss(model, device=CPU, pad_id=0, chunk_tokens=chunk)(row, some).item() for model, chunk in ((ours, 16), (plain, 0))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_family_with_a_sliding_window_keeps_the_librarys_attention() -> None:
    assert not use_sluice_attention(of_family(MistralConfig, sliding_window=16))
    assert not use_sluice_attention(of_family(Qwen2Config, use_sliding_window=True, sliding_window=16, max_window_layers=1))


def test_a_family_that_is_not_known_keeps_the_librarys_attention(base: Any) -> None:
    model = copy.deepcopy(base)
    model.config.model_type = "invented"
    assert not use_sluice_attention(model)
    assert model.config._attn_implementation == "sdpa"


def test_a_fast_path_that_is_not_there_is_told_and_replaced(base: Any) -> None:
    told: list[Any] = []
    plan = ComputePlan(row_tokens=128, attention="varlen")
    planned = carry_out(plan, copy.deepcopy(base), compute_dtype=torch.float32, emit=told.append)
    assert not planned.segments
    assert planned.plan == msgspec.structs.replace(plan, attention="masked"), "what is recorded is what is done"
    assert [event.path for event in told if isinstance(event, FastPathFellBack)] == ["attention by segments"]
    assert isinstance(planned.model.get_submodule("model.layers.0.self_attn.q_proj"), FrozenLinear)


def test_a_step_that_cannot_be_captured_is_told_and_goes_on_kernel_by_kernel(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, told = copy.deepcopy(base), []
    assert use_sluice_attention(model)
    prompts = [[5, 6, 7], [9, 8]]
    wanted = Decoder(model, pad_id=0).decode(prompts, end_id=511, max_new_tokens=9)

    def cannot(self: Any) -> None:
        self._step()
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(decode._FixedStep, "_capture", cannot)
    decoder = Decoder(model, pad_id=0, graphs=True, emit=told.append)
    assert [decoder.decode(prompts, end_id=511, max_new_tokens=9) for _ in range(2)] == [wanted] * 2
    assert [(event.path, "\n" in event.reason) for event in told] == [("CUDA graph", False)]
    monkeypatch.setattr(
        decode._FixedStep, "_capture", lambda self: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory"))
    )
    with pytest.raises(torch.OutOfMemoryError):
        Decoder(model, pad_id=0, graphs=True).decode(prompts, end_id=511, max_new_tokens=9)


def test_without_the_dropout_kernel_nothing_is_captured(base: Any) -> None:
    told: list[Any] = []
    plan = ComputePlan(row_tokens=128, graph=True)
    planned = carry_out(plan, adapted(base, dropout=0.1), compute_dtype=torch.float32, emit=told.append)
    assert not planned.graph
    assert [event.path for event in told] == ["CUDA graph"]
    assert carry_out(plan, adapted(base), compute_dtype=torch.float32, emit=told.append).graph


def kernels_of(monkeypatch: pytest.MonkeyPatch, functions: SmallFunctions, fuse: Any = fused.fuse) -> None:
    """As if these were kernels and could run here."""
    monkeypatch.setattr(planned_model, "kernels_available", lambda _: True)
    monkeypatch.setattr(planned_model, "KERNELS", functions)
    monkeypatch.setattr(planned_model, "fuse", lambda model: fuse(model, functions))


def test_without_kernels_nothing_is_fused_and_that_is_told(base: Any) -> None:
    told: list[Any] = []
    planned = carry_out(
        ComputePlan(row_tokens=128, compiled=True), copy.deepcopy(base), compute_dtype=torch.float32, emit=told.append
    )
    assert not planned.plan.compiled and planned.functions is PLAIN
    assert [(event.path, event.reason) for event in told] == [("fused kernels", "they need Triton, which is not installed")]


@pytest.mark.parametrize("broken", SmallFunctions._fields)
def test_a_kernel_that_is_wrong_is_told_and_leaves_the_model_as_it_was(
    base: Any, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def wrong(*given: Any) -> Any:
        result = getattr(PLAIN, broken)(*given)
        if broken == "normalise":
            return result[0], result[1] * 1.1
        if broken == "gate_backward":
            return given[3].mul_(1.1)
        return result * 1.1

    kernels_of(monkeypatch, PLAIN._replace(**{broken: wrong}))
    model, told = copy.deepcopy(base), []
    planned = carry_out(ComputePlan(row_tokens=128, compiled=True), model, compute_dtype=torch.float32, emit=told.append)
    assert not planned.plan.compiled
    assert [event.path for event in told] == ["fused kernels"] and "differs from the plain one" in told[0].reason
    ids = torch.arange(3, 40).unsqueeze(0)
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, base(input_ids=ids).logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_loss_kernel_that_is_wrong_about_the_softmax_alone_is_noticed(dtype: torch.dtype) -> None:
    def wrong(logits: torch.Tensor, norms: torch.Tensor, *given: Any) -> torch.Tensor:
        return PLAIN.logit_gradients(logits, norms + 0.1, *given)

    model = of_family(Qwen2Config).to(dtype)
    with pytest.raises(ValueError, match="gradient of logits"):
        fused.fuse(model, PLAIN._replace(logit_gradients=wrong))


def test_what_lies_behind_the_rows_of_an_input_is_written_to_only_where_it_was_offered(base: Any) -> None:
    """An input may be a slice of something that somebody needs, with rows just as far apart."""
    model = adapted(base).eval()
    switches = install_linears(model, compute_dtype=torch.float32, adapter_dtype=torch.float32)
    mirror_layers(model, 99)
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    wide = torch.randn(1, 5, layer.joined.columns_read, generator=torch.Generator().manual_seed(1))
    before, x = wide.clone(), wide[..., : layer.in_features]
    with torch.no_grad():
        wanted = layer(x.clone())
        switches.held = None
        assert torch.allclose(layer(x), wanted, atol=1e-6)
        assert torch.equal(wide, before)
        switches.held, switches.roomy = None, x
        assert torch.allclose(layer(x), wanted, atol=1e-6)
    assert not torch.equal(wide, before) and torch.equal(x, before[..., : layer.in_features])


def test_a_kernel_that_cannot_run_is_told_by_its_first_line(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no C compiler\nand more")

    kernels_of(monkeypatch, PLAIN._replace(rotate=broken))
    told: list[Any] = []
    carry_out(ComputePlan(row_tokens=128, compiled=True), copy.deepcopy(base), compute_dtype=torch.float32, emit=told.append)
    assert [(event.path, event.reason) for event in told] == [("fused kernels", "no C compiler")]


def test_memory_that_runs_out_while_kernels_are_tried_is_no_fall_back(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    kernels_of(monkeypatch, PLAIN._replace(gate=full))
    with pytest.raises(torch.OutOfMemoryError):
        carry_out(
            ComputePlan(row_tokens=128, compiled=True), copy.deepcopy(base), compute_dtype=torch.float32, emit=lambda _: None
        )


@pytest.mark.parametrize("mirrored", [0, 99])
def test_the_fused_functions_are_the_librarys(base: Any, monkeypatch: pytest.MonkeyPatch, mirrored: int) -> None:
    """The plain forms stand in for the kernels, whose own test is beside them: what is tried here is where they are put and their gradients."""
    kernels_of(monkeypatch, PLAIN)
    home = sys.modules[type(base.model.layers[0].self_attn).__module__]
    monkeypatch.setattr(home, "apply_rotary_pos_emb", home.apply_rotary_pos_emb)
    some = examples()
    loss, wanted = peft_gradients(adapted(base), some)
    plan = ComputePlan(row_tokens=128, compiled=True, mirrored_layers=mirrored, recomputed_layers=1)
    model = adapted(base)
    ours, found = our_gradients(model, some, plan)
    assert ours == pytest.approx(loss, rel=1e-6)
    assert far_apart(found, wanted) < 1e-4
    assert use_sluice_attention(model.get_base_model())
    prompts = [list(example.ids[:9]) for example in some]
    found_ids, wanted_ids = (
        Decoder(each.eval(), pad_id=0).decode(prompts, end_id=511, max_new_tokens=8) for each in (model, adapted(base))
    )
    assert found_ids == wanted_ids


class Laid(TorchDispatchMode):
    """Notes what is copied or made of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        name = function.name().partition("::")[2]
        if name.partition(".")[0] in (
            "clone",
            "copy_",
            "_to_copy",
            "zero_",
            "new_zeros",
            "zeros",
            "zeros_like",
            "select_backward",
            "cat",
        ):
            self.calls.append(name)
        return function(*arguments, **named or {})


def test_nothing_is_laid_out_anew_between_a_projection_and_the_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each such copy costs as much as a norm, and nothing but a profile would show it."""

    class Mixed(torch.autograd.Function):
        """Stands in for the segment kernel: takes and gives tokens, heads, width."""

        @staticmethod
        def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
            assert query.is_contiguous() and key.is_contiguous() and value.is_contiguous()
            ctx.shapes = query.shape, key.shape, value.shape
            return torch.empty(query.shape)

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> Any:
            assert grad.is_contiguous()
            return (*(torch.empty(shape) for shape in ctx.shapes), None, None, None, None)

    monkeypatch.setattr(attention, "varlen_attn", lambda *given, **_: Mixed.apply(*given))
    monkeypatch.setattr(attention, "_segment_options", lambda _: {})
    tokens, heads, width = 12, 4, 8
    projected = torch.randn(1, tokens, 3 * heads * width, requires_grad=True)
    cos, sin = torch.randn(1, tokens, width), torch.randn(1, tokens, width)
    rotate = PLAIN._replace(rotate=lambda x, *_: torch.empty(x.shape))
    with Laid() as laid:
        parts = projected.split(heads * width, dim=-1)
        query, key, value = (part.view(1, tokens, heads, width).transpose(1, 2) for part in parts)
        query, key = fused._rotated(rotate)(query, key, cos, sin)
        out, _ = attention.attend(None, query, key, value, None, cu_seq_lens_q=torch.tensor([0, tokens]), max_length_q=tokens)
        out.reshape(1, tokens, heads * width).backward(torch.empty(1, tokens, heads * width))
    # the values, which would keep queries and keys alive; and the three gradients put beside each other
    assert laid.calls == ["clone", "cat"]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_norms_leave_room_that_the_joined_product_uses(base: Any, monkeypatch: pytest.MonkeyPatch, dropout: float) -> None:
    """Nothing but speed would show that the rows are copied after all."""
    kernels_of(monkeypatch, PLAIN)
    home = sys.modules[type(base.model.layers[0].self_attn).__module__]
    monkeypatch.setattr(home, "apply_rotary_pos_emb", home.apply_rotary_pos_emb)
    some, plan = examples(), ComputePlan(row_tokens=128, compiled=True, mirrored_layers=99)
    model = adapted(base, dropout=dropout)
    copied, spaced = [], []
    compute, backward = JoinedLinears.compute, small_functions.normalise_backward

    def computed(self: Any, rows: torch.Tensor, **more: Any) -> Any:
        out, saved = compute(self, rows, **more)
        copied.append(saved.inner_nr.untyped_storage().data_ptr() != rows.untyped_storage().data_ptr())
        return out, saved

    def noted(grad: torch.Tensor, *given: Any) -> torch.Tensor:
        spaced.append(grad.stride(0) > grad.shape[1])
        return backward(grad, *given)

    monkeypatch.setattr(JoinedLinears, "compute", computed)
    kernels_of(monkeypatch, PLAIN._replace(normalise_backward=noted))
    planned = carry_out(plan, model, compute_dtype=torch.float32, emit=lambda _: None)
    bank = AdapterBank(model, adapter_dtype=planned.adapter_dtype)
    gradients = BatchGradients(planned, bank, device=CPU, pad_id=0, seed=3)
    copied.clear()
    spaced.clear()
    loss = gradients.of(step_of(some), some, 1)
    layers = base.config.num_hidden_layers
    assert copied == [False] * (2 * layers * len(step_of(some).rows))
    # all but the last norm, before the head, and the first, whose input is not trained
    assert sum(spaced) == (2 * layers - 1) * len(step_of(some).rows)
    alone = adapted(base, dropout=dropout)
    wanted_loss, wanted = our_gradients(alone, some, ComputePlan(row_tokens=128))
    assert loss.item() == pytest.approx(wanted_loss, rel=1e-6)
    assert far_apart(bank.gradients(), wanted) < 1e-4
