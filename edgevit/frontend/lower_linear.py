"""Lowerings of matrix products: linear layers, matmul in its many spellings, einsum, attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgevit.frontend.lower_layout import transposed
from edgevit.frontend.registry import MASKED, Node, lowers
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Attention, Broadcast, Linear, MatMul, Mul, ReduceSum, Reshape, broadcast_shapes


@lowers("linear.default")
def linear(node: Node, x: Any, weight: Any, bias: Any) -> Op:
    """x @ weight.T + bias with a constant weight; otherwise a product of two activations."""
    if isinstance(weight, Op):
        product: Op = MatMul(node.op(x), transposed(weight, -2, -1, node.loc), loc=node.loc)
        return product if bias is None else Add(product, node.op(bias), loc=node.loc)
    return Linear(node.op(x), node.op(weight), node.optional(bias), loc=node.loc)


@lowers("addmm.default")
def addmm(node: Node, bias: Any, x: Any, weight: Any, beta: float, alpha: float) -> Op:
    """beta * bias + alpha * x @ weight: a linear layer as decompositions write it."""
    if beta == 1 and alpha == 1 and not isinstance(weight, Op) and not isinstance(bias, Op) and bias.ndim == 1:
        return Linear(node.op(x), node.const(node.array(weight, "weight").T), node.op(bias), loc=node.loc)
    return _scaled_sum(node, bias, matmul(node, x, weight), beta, alpha)


@lowers("baddbmm.default")
def baddbmm(node: Node, bias: Any, x: Any, y: Any, beta: float, alpha: float) -> Op:
    """beta * bias + alpha * x @ y for each leading index."""
    return _scaled_sum(node, bias, matmul(node, x, y), beta, alpha)


@lowers("mm.default", "bmm.default", "matmul.default")
def matmul(node: Node, x: Any, y: Any) -> Op:
    """numpy's matmul; a linear layer where the right-hand side is one constant matrix."""
    if not isinstance(y, Op) and y.ndim >= 2 and isinstance(x, Op) and x.shape[:-1] == node.shape[:-1]:
        weight = node.array(y, "right-hand side")
        if all(n == 1 or stride == 0 for n, stride in zip(weight.shape[:-2], weight.strides[:-2], strict=True)):
            return Linear(x, node.const(weight[(0,) * (weight.ndim - 2)].T), loc=node.loc)
    lhs, rhs = node.op(x), node.op(y)
    left_rank, right_rank = lhs.type.rank, rhs.type.rank
    if left_rank == 1:
        lhs = Reshape(lhs, (1, *lhs.shape), loc=node.loc)
    if right_rank == 1:
        rhs = Reshape(rhs, (*rhs.shape, 1), loc=node.loc)
    product: Op = MatMul(lhs, rhs, loc=node.loc)
    if 1 in (left_rank, right_rank):
        shape = product.shape[:-2] + product.shape[-2:-1] * (left_rank > 1) + product.shape[-1:] * (right_rank > 1)
        product = Reshape(product, shape, loc=node.loc)
    return product


@lowers("scaled_dot_product_attention.default")
def attention(
    node: Node, q: Any, k: Any, v: Any, mask: Any, dropout: float, causal: bool, scale: float | None, grouped: bool
) -> Op:
    """softmax(scale * q @ k.T + mask) @ v; dropout is off in evaluation mode."""
    if grouped:
        raise node.cannot("grouped-query attention (enable_gqa=True)")
    query, key, value = node.op(q), node.op(k), node.op(v)
    lead = query.shape[:-2]
    for other in (key, value):
        lead = broadcast_shapes(lead, other.shape[:-2]) or lead
    query, key, value = (_with_lead(x, lead, node.loc) for x in (query, key, value))
    bias = _causal_mask(query.shape[-2], key.shape[-2], node) if causal else _additive_mask(mask, node)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    return Attention(query, key, value, bias, factor, loc=node.loc)


@lowers("_scaled_dot_product_flash_attention_for_cpu.default")
def flash_attention(
    node: Node, q: Any, k: Any, v: Any, dropout: float, causal: bool, mask: Any, scale: float | None
) -> tuple[Op, None]:
    """The CPU kernel's operator; its second result, the log of the sums, only serves the gradient."""
    return attention(node, q, k, v, mask, dropout, causal, scale, False), None


@lowers("einsum.default")
def einsum(node: Node, equation: str, operands: list[Any], path: Any) -> Op:
    """An Einstein sum, two operands at a time from the left."""
    inputs, _, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if "." in equation or "->" not in equation or any(len(set(term)) < len(term) for term in terms):
        raise node.cannot(f"einsum {equation!r}: an ellipsis, an implicit result or a repeated index")
    term, x = terms[0], node.op(operands[0])
    for i, (other_term, other) in enumerate(zip(terms[1:], operands[1:], strict=True)):
        kept = set(output).union(*terms[i + 2 :])
        term, x = _contract(term, x, other_term, node.op(other), kept, node.loc)
    summed = tuple(i for i, label in enumerate(term) if label not in output)
    if summed:
        x = ReduceSum(x, summed, loc=node.loc)
        term = "".join(label for label in term if label in output)
    return transposed_to(x, tuple(term.index(label) for label in output), node.loc)


def transposed_to(x: Op, perm: tuple[int, ...], loc: str) -> Op:
    """``x`` with its axes permuted; itself where they stay."""
    from edgevit.ir.ops import Transpose

    return x if perm == tuple(range(x.type.rank)) else Transpose(x, perm, loc=loc)


def _contract(a: str, x: Op, b: str, y: Op, kept: set[str], loc: str) -> tuple[str, Op]:
    """The product of two labelled operands, summed over the labels that both have and nobody needs later."""
    for_both = [label for label in a if label in b]
    batch = [label for label in for_both if label in kept]
    inner = [label for label in for_both if label not in kept]
    left = [label for label in a if label not in b]
    right = [label for label in b if label not in a]
    sizes = {**dict(zip(a, x.shape, strict=True)), **dict(zip(b, y.shape, strict=True))}

    def matrix(term: str, value: Op, rows: list[str], columns: list[str]) -> Op:
        value = transposed_to(value, tuple(term.index(label) for label in (*batch, *rows, *columns)), loc)
        shape = (*(sizes[n] for n in batch), math.prod(sizes[n] for n in rows), math.prod(sizes[n] for n in columns))
        return value if value.shape == shape else Reshape(value, shape, loc=loc)

    product: Op = MatMul(matrix(a, x, left, inner), matrix(b, y, inner, right), loc=loc)
    term = "".join((*batch, *left, *right))
    shape = tuple(sizes[label] for label in term)
    return term, product if product.shape == shape else Reshape(product, shape, loc=loc)


def _scaled_sum(node: Node, bias: Any, product: Op, beta: float, alpha: float) -> Op:
    scaled = product if alpha == 1 else Mul(product, node.op(float(alpha)), loc=node.loc)
    if beta == 0:
        return scaled
    offset = node.op(bias)
    return Add(scaled, offset if beta == 1 else Mul(offset, node.op(float(beta)), loc=node.loc), loc=node.loc)


def _with_lead(x: Op, lead: tuple[int, ...], loc: str) -> Op:
    shape = (*lead, *x.shape[-2:])
    return x if x.shape == shape else Broadcast(x, shape, loc=loc)


def _causal_mask(queries: int, keys: int, node: Node) -> Op:
    return node.const(np.where(np.tri(queries, keys, dtype=bool), np.float32(0), np.float32(MASKED)))


def _additive_mask(mask: Any, node: Node) -> Op | None:
    """A boolean mask says where to look, a float mask is added."""
    if mask is None or isinstance(mask, Op):
        return mask
    array = node.array(mask, "mask")
    if array.dtype == np.bool_:
        return node.const(np.where(array, np.float32(0), np.float32(MASKED)))
    return node.op(mask)
