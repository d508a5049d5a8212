"""The kernels against the plain forms. They run where there is Triton: on a GPU, or with TRITON_INTERPRET=1 on a CPU."""

import os

import pytest
import torch

from engine.compute import small_functions
from engine.compute.small_functions import KERNELS, PLAIN, over_storage, with_room

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
with_triton = pytest.mark.skipif(
    small_functions.kernels is None or not (GPU or os.environ.get("TRITON_INTERPRET")),
    reason="needs Triton, and a GPU or TRITON_INTERPRET=1",
)


def numbers(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    assert one.shape == other.shape and one.dtype == other.dtype
    exact = one.dtype == torch.float32
    return torch.allclose(one.float(), other.float(), atol=1e-5 if exact else 0.05, rtol=1e-5 if exact else 0.02)


@with_triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "width", "columns"), [(3, 64, 64), (5, 80, 128), (1, 160, 192)])
def test_norms(rows: int, width: int, columns: int, dtype: torch.dtype) -> None:
    x, more, grad, also = (numbers(rows, width, dtype=dtype, seed=seed) for seed in range(4))
    weight = numbers(width, dtype=dtype, seed=5)
    apart = with_room(grad, columns).copy_(grad)
    for given in (None, more):
        for found, wanted in zip(
            KERNELS.normalise(x, given, weight, 1e-5, columns), PLAIN.normalise(x, given, weight, 1e-5, columns), strict=True
        ):
            assert close(found, wanted) and found.stride() == wanted.stride()
    for given in (None, also):
        assert close(
            KERNELS.normalise_backward(apart, given, x, weight, 1e-5), PLAIN.normalise_backward(grad, given, x, weight, 1e-5)
        )


@with_triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("heads", "width"), [(1, 16), (5, 24), (8, 64), (11, 32)])
def test_rotation(heads: int, width: int, dtype: torch.dtype) -> None:
    x = numbers(4, 3 * heads * width, dtype=dtype)[:, heads * width : 2 * heads * width].view(4, heads, width)
    angles = numbers(4, width // 2).repeat(1, 2)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    heads_first = numbers(heads, 4, width, dtype=dtype, seed=1).transpose(0, 1)
    for sign in (1.0, -1.0):
        for given in (x, heads_first):
            assert close(KERNELS.rotate(given, cos, sin, sign), PLAIN.rotate(given, cos, sin, sign))


@with_triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [16, 1024, 1500])
@pytest.mark.parametrize("joined", [True, False])
def test_gate(width: int, joined: bool, dtype: torch.dtype) -> None:
    both = numbers(3, 2 * width, dtype=dtype)
    gate, up = both.chunk(2, dim=1) if joined else (both[:, :width].contiguous(), both[:, width:].contiguous())
    grad = numbers(3, width, dtype=dtype, seed=2)
    assert close(KERNELS.gate(gate, up), PLAIN.gate(gate, up))
    results = []
    for functions in (KERNELS, PLAIN):
        into = torch.full_like(both, 9.0)
        parts = into.chunk(2, dim=1) if joined else (torch.empty_like(gate), torch.empty_like(up))
        functions.gate_backward(grad, gate, up, *parts)
        results.append(parts)
    assert all(close(found, wanted) for found, wanted in zip(*results, strict=True))


@with_triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [8, 4096, 9000])
def test_loss(width: int, dtype: torch.dtype) -> None:
    logits = numbers(5, width, dtype=dtype) * 4
    logits[1, :5] += 60
    places = torch.tensor([[0], [3], [width - 1], [1], [0]], device=DEVICE)
    counts = torch.tensor([[True], [True], [True], [False], [True]], device=DEVICE)
    norms = PLAIN.log_norms(logits)
    assert close(KERNELS.log_norms(logits), norms)
    wanted = PLAIN.logit_gradients(logits.clone(), norms, places, counts)
    assert close(KERNELS.logit_gradients(logits.clone(), norms, places, counts), wanted)
    assert not wanted[3].any()


@with_triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("keys", [128, 200])
def test_weights_of_one_token(keys: int, dtype: torch.dtype) -> None:
    scores, visible = numbers(3, 2, 5, keys, dtype=dtype), numbers(3, keys + 7, seed=3)[:, None, None, :keys] > 0
    assert close(KERNELS.weigh(scores, visible, 0.2), PLAIN.weigh(scores, visible, 0.2))


def test_plain_gradients_are_autograds() -> None:
    x, weight = numbers(4, 48).requires_grad_(), numbers(48, seed=1)
    grad, also = numbers(4, 48, seed=2), numbers(4, 48, seed=3)
    (x + 0).backward(also)
    wanted = weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6))
    wanted.backward(grad)
    assert close(PLAIN.normalise_backward(grad, also, x.detach(), weight, 1e-6), x.grad)
    gate, up = numbers(4, 8, seed=4).requires_grad_(), numbers(4, 8, seed=5).requires_grad_()
    given = numbers(4, 8, seed=6)
    PLAIN.gate(gate, up).backward(given)
    into = torch.empty_like(gate), torch.empty_like(up)
    PLAIN.gate_backward(given, gate.detach(), up.detach(), *into)
    assert close(into[0], gate.grad) and close(into[1], up.grad)
    heads = numbers(4, 3, 16, seed=7).requires_grad_()
    angles = numbers(4, 8, seed=8).repeat(1, 2)
    given = numbers(4, 3, 16, seed=9)
    PLAIN.rotate(heads, angles.cos(), angles.sin(), 1.0).backward(given)
    assert close(PLAIN.rotate(given, angles.cos(), angles.sin(), -1.0), heads.grad)


def test_a_tensor_over_the_same_storage_shares_it_and_is_no_view() -> None:
    wide = torch.zeros(3, 8)
    part = over_storage(wide, (3, 2), (8, 1), 6)
    part.fill_(1.0)
    assert wide[:, 6:].eq(1.0).all() and not wide[:, :6].any()
    assert not part._is_view()
