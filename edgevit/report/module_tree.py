"""The size ledger as a tree of modules, for the treemap."""

from __future__ import annotations

from dataclasses import dataclass

from edgevit.report.model import SizeReport, SizeRow

ROOT = "file"
STRUCTURE = "structure of the file"
NO_MODULE = "no module"
MAX_DEPTH = 12


@dataclass
class Node:
    """A module with all that is in it. ``id`` is unique, ``parent`` the id of its parent ("" for the root), ``path``
    the dotted module path; sizes in bytes, children included.
    """

    id: str
    parent: str
    label: str
    path: str
    weights_bytes: int = 0
    scales_bytes: int = 0
    other_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """Sum of the three."""
        return self.weights_bytes + self.scales_bytes + self.other_bytes


def module_tree(size: SizeReport) -> list[Node]:
    """Nodes in the order in which the rows first need them, the root first; it holds the whole file."""
    root = Node("0", "", ROOT, ROOT)
    nodes: dict[tuple[str, ...], Node] = {(): root}
    for row in size.rows:
        _add(root, row)
        parts = _parts(row.loc)
        for depth in range(1, len(parts) + 1):
            key = parts[:depth]
            if key not in nodes:
                nodes[key] = Node(str(len(nodes)), nodes[key[:-1]].id, key[-1], ".".join(key))
            _add(nodes[key], row)
    if size.structure_bytes:
        root.other_bytes += size.structure_bytes
        nodes[STRUCTURE, ""] = Node(str(len(nodes)), root.id, STRUCTURE, STRUCTURE, other_bytes=size.structure_bytes)
    return [node for node in nodes.values() if node.total_bytes or node is root]


def _parts(loc: str) -> tuple[str, ...]:
    """Names along a module path; what lies deeper than ``MAX_DEPTH`` is one name."""
    if not loc:
        return (NO_MODULE,)
    return tuple(loc.split(".", MAX_DEPTH - 1))


def _add(node: Node, row: SizeRow) -> None:
    node.weights_bytes += row.weights_bytes
    node.scales_bytes += row.scales_bytes
    node.other_bytes += row.other_bytes
