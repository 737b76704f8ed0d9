"""Where a graph is cut, and what each part of it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import onnx
import onnx_ir as ir

from onnxbuild.errors import StageError
from onnxbuild.graph.load import proto_graphs
from onnxbuild.graph.select import matches, module_of
from onnxbuild.graph.weights import weights

WINDOW = 0.1
"""Share of a part by which a cut may be before or after the even one, for fewer values to pass."""

PASSED = frozenset(
    {
        ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BOOL,
        ir.DataType.INT8, ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64,
        ir.DataType.UINT8, ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64,
    }
)  # fmt: skip
"""Types of tensors that a caller can hand from one session to the next."""

SHOWN = 6
"""Names that a message lists."""


class Cutter:
    """A graph, with who makes and who takes each of its values."""

    def __init__(self, proto: onnx.ModelProto, model: ir.Model, typed: ir.Model) -> None:
        """Take the graph without its weights, the same with them, and the same with the type of each value."""
        self.proto = proto
        self.nodes = list(proto.graph.node)
        self._bytes = {
            value.name: value.const_value.nbytes
            for value in weights(model)
            if value.const_value is not None and value.const_value.dtype != ir.DataType.STRING
        }
        self._types = {
            value.name: value
            for value in (
                *typed.graph.inputs,
                *(out for node in typed.graph for out in node.outputs),
            )
        }
        self._takes = [_taken(node) for node in self.nodes]
        self._maker = {
            name: index for index, node in enumerate(self.nodes) for name in node.output if name
        }
        self._free = {
            index
            for index, node in enumerate(self.nodes)
            if node.op_type == "Constant" and not any(node.input)
        }
        """Nodes that every part that needs them has for itself."""

    def at(self, ends: Sequence[str]) -> list[int]:
        """Give the number of the part of each node, parts ending as `ends` say."""
        numbers = [len(ends)] * len(self.nodes)
        for number, end in enumerate(ends):
            inside = self._before(self._ending(end))
            new = [index for index in inside if numbers[index] == len(ends)]
            if not set(new) - self._free:
                raise StageError(
                    f"at: nothing is left for a part that ends at {end!r}",
                    hint="name the ends in the order in which the model computes them",
                )
            for index in new:
                numbers[index] = number
        if not any(
            number == len(ends) and index not in self._free for index, number in enumerate(numbers)
        ):
            raise StageError(
                f"at: nothing follows {ends[-1]!r}",
                hint="name where the last part begins to be needed",
            )
        for number in range(len(ends)):
            bad = [name for name in self._crossing(numbers, number) if not self._can_pass(name)]
            if bad:
                raise StageError(
                    f"at: {_first(bad)} would pass {ends[number]!r}, and no caller can hand on what is no plain tensor",
                    hint="cut before it is made, or after it is used",
                )
        return numbers

    def by_size(self, count: int) -> list[int]:
        """Give the number of the part of each node: parts of about the same bytes, in the order of the graph."""
        loads = self._loads()
        ends: list[int] = []
        position = 0
        reached = 0.0
        sums = []
        for load in loads:
            reached += load
            sums.append(reached)
        for number in range(1, count):
            aim = reached * number / count
            found = self._cut(sums, aim, reached / count * WINDOW, position)
            if found is None:
                raise StageError(
                    f"the graph cannot be cut into {count} parts: too few places where plain tensors pass",
                    hint="take fewer `parts`, or say where: `at: […]`",
                )
            ends.append(found)
            position = found
        return [sum(index >= end for end in ends) for index in range(len(self.nodes))]

    def part(self, numbers: Sequence[int], number: int) -> onnx.ModelProto:
        """Make the model of one part."""
        own = {index for index, other in enumerate(numbers) if other == number}
        own -= self._free
        last = max(numbers)
        needed = {name for index in own for name in self._takes[index]}
        graph = self.proto.graph
        ends = [value.name for value in graph.output]
        if number == last:
            # What no node makes: an input or a weight that is handed through.
            needed |= {name for name in ends if name not in self._maker}
        needed |= {name for name in ends if self._maker.get(name) in self._free and number == last}
        constants = {self._maker[name] for name in needed if self._maker.get(name) in self._free}
        made = {name for index in own | constants for name in self.nodes[index].output if name}
        later = {
            name
            for index, other in enumerate(numbers)
            if other > number and index not in self._free
            for name in self._takes[index]
        }
        result = onnx.ModelProto()
        result.CopyFrom(self.proto)
        for field in (
            "node",
            "input",
            "output",
            "initializer",
            "value_info",
            "quantization_annotation",
        ):
            result.graph.ClearField(field)
        result.graph.node.extend(self.nodes[index] for index in sorted(own | constants))
        result.graph.initializer.extend(item for item in graph.initializer if item.name in needed)
        held = {item.name for item in graph.initializer}
        inputs = {value.name: value for value in graph.input}
        unused = self._unused() if number == 0 else set()
        result.graph.input.extend(
            value for value in graph.input if value.name in needed or value.name in unused
        )
        passed = sorted(
            (name for name in needed - made if name in self._maker and name not in inputs),
            key=self._order,
        )
        result.graph.input.extend(self._describe(name) for name in passed)
        result.graph.output.extend(
            value
            for value in graph.output
            if value.name in made or (number == last and value.name not in self._maker)
        )
        handed = sorted((made & later) - set(ends) - held, key=self._order)
        handed = [name for name in handed if self._maker[name] not in self._free]
        result.graph.output.extend(self._describe(name) for name in handed)
        return result

    def _loads(self) -> list[float]:
        """Give the bytes of weights that each node is the first to take; of a graph without any, one a node."""
        seen: set[str] = set()
        loads = []
        for takes in self._takes:
            new = {name for name in takes if name in self._bytes} - seen
            seen |= new
            loads.append(float(sum(self._bytes[name] for name in new)))
        return loads if any(loads) else [1.0] * len(loads)

    def _cut(self, sums: Sequence[float], aim: float, window: float, after: int) -> int | None:
        """Give the first node of the next part: near the aim where the fewest values pass, else the nearest."""
        places: list[tuple[bool, int, float, int]] = []
        work = [index for index in range(len(self.nodes)) if index not in self._free]
        crossing = self._passing()
        for before, index in pairwise(work):
            # The part that ends here is not empty.
            if before < after:
                continue
            if not all(self._can_pass(name) for name in crossing[index]):
                continue
            distance = abs(sums[index - 1] - aim)
            is_near = distance <= window
            places.append((not is_near, len(crossing[index]) if is_near else 0, distance, index))
        return min(places)[-1] if places else None

    def _passing(self) -> list[set[str]]:
        """Give the values that pass each place between nodes, by the index of the node after it."""
        last: dict[str, int] = {}
        for index, takes in enumerate(self._takes):
            for name in takes:
                if name in self._maker and self._maker[name] not in self._free:
                    last[name] = index
        passing: list[set[str]] = [set() for _ in self.nodes]
        current: set[str] = set()
        ending: dict[int, list[str]] = {}
        for name, index in last.items():
            ending.setdefault(index, []).append(name)
        for index, node in enumerate(self.nodes):
            passing[index] = set(current)
            current -= set(ending.get(index, ()))
            current |= {name for name in node.output if last.get(name, -1) > index}
        return passing

    def _ending(self, end: str) -> list[int]:
        """List the nodes after which a part ends. Raises `StageError` for a name that nothing has."""
        if end in self._maker:
            return [self._maker[end]]
        found = [index for index, node in enumerate(self.nodes) if matches(node.name, end)]
        if found:
            return found
        tops = sorted({module_of(node.name) for node in self.nodes} - {""})
        raise StageError(
            f"at: {end!r} is no value and no module of this graph",
            hint=f"modules are {_first(tops)}; `onnxbuild inspect` lists values"
            if tops
            else "its nodes have no names of modules: name a value",
        )

    def _before(self, nodes: Sequence[int]) -> set[int]:
        """Give nodes with all that they depend on."""
        found = set(nodes)
        pending = list(nodes)
        while pending:
            for name in self._takes[pending.pop()]:
                index = self._maker.get(name)
                if index is not None and index not in found:
                    found.add(index)
                    pending.append(index)
        return found

    def _crossing(self, numbers: Sequence[int], number: int) -> list[str]:
        """List the values that pass the end of a part."""
        return sorted(
            {
                name
                for index, takes in enumerate(self._takes)
                if numbers[index] > number and index not in self._free
                for name in takes
                if name in self._maker
                and self._maker[name] not in self._free
                and numbers[self._maker[name]] <= number
            }
        )

    def _can_pass(self, name: str) -> bool:
        value = self._types.get(name)
        return value is not None and isinstance(value.type, ir.TensorType) and value.dtype in PASSED

    def _describe(self, name: str) -> onnx.ValueInfoProto:
        for value in self.proto.graph.output:
            if value.name == name:
                return value
        return ir.to_proto(self._types[name])

    def _order(self, name: str) -> tuple[int, str]:
        return self._maker[name], name

    def _unused(self) -> set[str]:
        """Name the inputs that no node takes: the first part keeps them, so that the interface stays."""
        taken = {name for takes in self._takes for name in takes}
        return {value.name for value in self.proto.graph.input} - taken - set(self._bytes)


def _taken(node: onnx.NodeProto) -> set[str]:
    """Give the names that a node takes, those that graphs inside it take from outside included."""
    return set(_names(node))


def _names(node: onnx.NodeProto) -> Iterator[str]:
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in proto_graphs(graph):
                # What a graph hands out may be a value from outside; names are unique across all of them.
                yield from (value.name for value in inner.output)
                for each in inner.node:
                    yield from filter(None, each.input)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")
