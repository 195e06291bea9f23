"""From an exported program to the float IR: evaluate what does not depend on the image, lower the rest op by op."""

from __future__ import annotations

import operator
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevit.data.preprocess import Preprocess
from edgevit.errors import FrontendError, IRError
from edgevit.frontend import (  # noqa: F401  (importing them registers the lowerings)
    lower_conv,
    lower_elementwise,
    lower_layout,
    lower_linear,
    lower_norm,
    lower_reduce,
)
from edgevit.frontend.capture import SHOWN, ImageInput, check_finite, decompose, image_input, logits_output
from edgevit.frontend.registry import LOWERINGS, SHAPE_ONLY, CannotLower, Constants, Node
from edgevit.frontend.safe_softmax import safe_softmaxes
from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Const, Input, Linear, Mul, Transpose
from edgevit.ir.types import TensorType
from edgevit.ir.verify import verify

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

MAX_CONSTANT = 2**28
"""Elements of the largest constant that is worked out; a file could ask for more than there is memory."""

MAX_DECOMPOSITIONS = 4
LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in the grey value (ITU-R BT.601), for models that take grey images."""


def lower_program(program: ExportedProgram, preprocess: Preprocess, name: str) -> Graph:
    """The verified float graph of ``program``: raw pixels f32[1,H,W,3] in 0..255 to logits f32[1,classes].

    Normalization by ``preprocess`` is part of the graph. Raises FrontendError for a program that does not take one
    image, for weights that are not finite, and for operators without a lowering, all of which it lists.
    """
    image = image_input(program, name)
    logits_output(program, name)
    check_finite(program, name)
    if not all(_is_functional(node) for node in program.graph.nodes):
        program = decompose(program, {})
    for _ in range(MAX_DECOMPOSITIONS):
        walk = _Walk(program, image, preprocess, name)
        if not walk.problems:
            graph = Graph.of(name, [walk.result], inputs=[walk.input])
            verify(graph)
            return graph
        helpful = _decompositions(walk.unknown)
        if not helpful:
            break
        program = decompose(program, helpful)
    raise _unsupported(name, walk.problems)


class _Walk:
    """One walk over the graph. ``problems`` tells what could not be lowered, and for each the places."""

    def __init__(self, program: ExportedProgram, image: ImageInput, preprocess: Preprocess, name: str) -> None:
        self.problems: dict[str, list[str]] = defaultdict(list)
        self.unknown: set[Any] = set()
        self._constants = Constants()
        self._values: dict[torch.fx.Node, Any] = {}
        self._aliases = safe_softmaxes(program.graph)
        result, _ = logits_output(program, name)
        live = self._live(result)
        signature = program.graph_signature
        named = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        for node in program.graph.nodes:
            if node not in live:
                continue
            if node.op == "placeholder" and node.name == image.name:
                self.input, self._values[node] = _normalized(image, preprocess)
            elif node.op == "placeholder":
                self._values[node] = self._stored(program, named[node.name])
            elif node.op == "call_function":
                self._values[node] = self._call(node)
            else:
                self.problems[f"a graph node of kind {node.op}"].append(module_path(node))
                self._values[node] = None
        if not isinstance(self._values[result], Op):
            raise FrontendError("the logits do not depend on the image", where=name, hint="look at the model's forward")
        self.result: Op = self._values[result]

    def _live(self, result: torch.fx.Node) -> set[torch.fx.Node]:
        """Everything that the result needs; a pattern that stands for one of its operands is skipped."""
        live: set[torch.fx.Node] = set()
        stack = [result]
        while stack:
            node = stack.pop()
            if node not in live:
                live.add(node)
                stack.extend([self._aliases[node]] if node in self._aliases else node.all_input_nodes)
        return live

    def _stored(self, program: ExportedProgram, name: str) -> torch.Tensor:
        tensor: torch.Tensor = program.state_dict[name] if name in program.state_dict else program.constants[name]
        self._constants.names[id(tensor)] = name
        return tensor

    def _call(self, node: torch.fx.Node) -> Any:
        """The value of one call: an Op, a constant tensor, or several of them."""
        import torch

        if node in self._aliases:
            return self._values[self._aliases[node]]
        arguments: Any = torch.fx.node.map_arg((node.args, node.kwargs), self._values.__getitem__)
        args, kwargs = arguments
        if node.target is operator.getitem:
            return args[0][args[1]]
        target, loc = _functional_name(node), module_path(node)
        if target in SHAPE_ONLY:
            args = (torch.empty(args[0].shape), *args[1:]) if isinstance(args[0], Op) else args
        try:
            if not _has_op((args, kwargs)):
                return self._evaluate(node, args, kwargs, loc)
            lowering = LOWERINGS.get(target)
            if lowering is not None:
                value = lowering(Node(loc, _shape(node), self._constants), *_bound(node.target, args, kwargs))
                _check_shape(node, value)
                return value
            self.unknown.add(node.target)
            self.problems[target].append(loc)
        except CannotLower as error:
            self.problems[f"{target}: {error.what}"].append(loc)
        except IRError as error:
            self.problems[f"{target}: {error.what}"].append(loc)
        return _placeholder(node)

    def _evaluate(self, node: torch.fx.Node, args: Any, kwargs: Any, loc: str) -> Any:
        """What torch makes of constants."""
        import torch

        overload = node.target
        if not isinstance(overload, torch._ops.OpOverload) or overload.namespace != "aten":
            raise CannotLower("not an operator of torch itself")
        if torch.Tag.nondeterministic_seeded in overload.tags:
            raise CannotLower("a random number")
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and value.numel() > MAX_CONSTANT:
            raise CannotLower(f"a constant of {value.numel()} elements")
        with torch.no_grad():
            return overload(*args, **{key: item for key, item in kwargs.items() if key not in ("device", "pin_memory")})


def module_path(node: torch.fx.Node) -> str:
    """The dotted path of the innermost module of a node (``blocks.3.attn.qkv``); empty for the model itself."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return ""
    path = str(list(stack.values())[-1][0])
    path = re.sub(r"^L\['self'\]\.?|^L__self__\.?", "", path)
    path = re.sub(r"\[['\"]?([^\]'\"]+)['\"]?\]", r".\1", path)
    return re.sub(r"@\d+$", "", path).replace("_modules.", "").strip(".")


def _normalized(image: ImageInput, preprocess: Preprocess) -> tuple[Input, Op]:
    """The graph's input and the NCHW value that the model sees: (pixel / 255 - mean) / std."""
    source = Input(name="image", type=TensorType((1, image.height, image.width, 3)))
    pixels: Op = source
    if image.channels == 1:
        pixels = Linear(pixels, Const(np.array([LUMA], np.float32)))
    mean = np.array(preprocess.mean[: image.channels], np.float64)
    std = np.array(preprocess.std[: image.channels], np.float64)
    scaled = Mul(pixels, Const((1 / (255 * std)).astype(np.float32)))
    return source, Transpose(Add(scaled, Const((-mean / std).astype(np.float32))), lower_conv.TO_CHANNELS_FIRST)


def _bound(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """All arguments of the operator's schema in order, defaults filled in."""
    rest = target._schema.arguments[len(args) :]
    return [*args, *(kwargs.get(argument.name, argument.default_value) for argument in rest)]


def _has_op(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_op, value.values()))
    if isinstance(value, (tuple, list)):
        return any(map(_has_op, value))
    return isinstance(value, Op)


def _is_mutable(node: torch.fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _is_functional(node: torch.fx.Node) -> bool:
    """Whether a node can be read as a pure operator: it calls no subgraph, and overwrites at most a fresh value that
    nobody else reads.
    """
    if node.op == "get_attr":
        return False
    if not _is_mutable(node):
        return True
    written = node.args[0]
    schema = getattr(getattr(written, "target", None), "_schema", None)
    if schema is None or schema.is_mutable:
        fresh = schema is not None and _is_functional(written)  # type: ignore[arg-type]
    else:
        fresh = all(result.alias_info is None for result in schema.returns)
    return fresh and len(written.users) == 1  # type: ignore[union-attr]


def _functional_name(node: torch.fx.Node) -> str:
    """The operator's name; that of an in-place one (``aten.relu_.default``) without the underscore."""
    name = str(node.target)
    return name.replace("_.", ".") if _is_mutable(node) else name


def _shape(node: torch.fx.Node) -> tuple[int, ...]:
    """The shape of the result, of the first one where there are several."""
    value: Any = node.meta.get("val")
    shape = getattr(value[0] if isinstance(value, (tuple, list)) else value, "shape", ())
    if any(not isinstance(size, int) for size in shape):
        raise CannotLower("a result whose shape depends on the image")
    return tuple(shape)


def _check_shape(node: torch.fx.Node, value: Any) -> None:
    expected: Any = node.meta.get("val")
    several = isinstance(value, (tuple, list))
    # A lowering may leave out the trailing results, which only serve the gradient.
    for op, fake in zip(value, expected, strict=False) if several else [(value, expected)]:
        if isinstance(op, Op) and op.shape != tuple(fake.shape):
            raise CannotLower(f"its lowering gives {list(op.shape)} where torch gives {list(fake.shape)}")


def _placeholder(node: torch.fx.Node) -> Any:
    """A stand-in for a value that could not be lowered, so that the walk goes on and finds what else is wrong."""
    value: Any = node.meta.get("val")
    parts = value if isinstance(value, (tuple, list)) else [value]
    inputs = [Input(name=node.name, type=TensorType(tuple(getattr(part, "shape", ())))) for part in parts]
    return inputs if isinstance(value, (tuple, list)) else inputs[0]


def _decompositions(unknown: set[Any]) -> dict[Any, Any]:
    """torch's own decompositions of unknown operators: from its table, or by what they are composed of."""
    import torch

    table = torch.export.default_decompositions()
    overloads = [target for target in unknown if isinstance(target, torch._ops.OpOverload)]
    composed = {target: target.decompose for target in overloads if target not in table and target._can_decompose()}
    return {**{target: table[target] for target in overloads if target in table}, **composed}


def _unsupported(name: str, problems: dict[str, list[str]]) -> FrontendError:
    lines = []
    for problem, places in sorted(problems.items()):
        distinct = list(dict.fromkeys(place or "(top level)" for place in places))
        more = f" and {len(distinct) - SHOWN} more" if len(distinct) > SHOWN else ""
        lines.append(f"  {problem}, {len(places)} times, in {', '.join(distinct[:SHOWN])}{more}")
    count = f"{len(problems)} operators have" if len(problems) > 1 else "1 operator has"
    return FrontendError(
        "\n".join([f"{count} no lowering", *lines]),
        where=name,
        hint="write these modules with other operators, or add a lowering in edgevit/frontend",
    )
