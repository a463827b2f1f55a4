"""The encoder of a run as an ONNX file, mean-pooled: input x [b, 3, S, S], output y [b, D].

    export_onnx.py encoder.safetensors OUT.onnx

Needs onnx and numpy. Layer norm and GELU are written as the operators that ONNX Runtime has kernels of its own for.
"""

import json
import math
import struct
import sys

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save


def read(path):
    """The tensors of a safetensors file below encoder., all float32, and its configuration."""
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    config = json.loads(header.pop("__metadata__")["config"])
    tensors = {}
    for name, t in header.items():
        if name.startswith("encoder."):
            begin, end = t["data_offsets"]
            tensors[name.removeprefix("encoder.")] = np.frombuffer(data[begin:end], "<f4").reshape(t["shape"])
    return tensors, config


def positions(dim, grid):
    """The fixed sine-cosine embedding [grid*grid, dim]: columns in the first half, rows in the second."""
    omega = 10000.0 ** (-np.arange(dim // 4) / (dim // 4))
    row, column = np.divmod(np.arange(grid * grid), grid)
    angles = [np.outer(p, omega) for p in (column, row)]
    return np.concatenate([f(a) for a in angles for f in (np.sin, np.cos)], axis=1).astype(np.float32)


class Graph:
    """A graph that grows by one node at a time; a node has the name of its output."""

    def __init__(self):
        self.nodes, self.constants, self.count = [], [], 0

    def constant(self, value, name=None):
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, op, *inputs, outputs=1, **attributes):
        names = [f"n{self.count + i}" for i in range(outputs)]
        self.count += outputs
        self.nodes.append(helper.make_node(op, inputs, names, name=names[0], **attributes))
        return names[0] if outputs == 1 else names

    def linear(self, x, weight, bias):
        return self.add("Add", self.add("MatMul", x, self.constant(weight.T)), self.constant(bias))


def build(w, c):
    g, dim, heads, grid = Graph(), c["dim"], c["heads"], c["image_size"] // c["patch_size"]
    tokens, width = grid * grid, dim // heads

    def norm(x, name):
        scale, shift = (g.constant(w[f"{name}.{part}"]) for part in ("weight", "bias"))
        return g.add("LayerNormalization", x, scale, shift, axis=-1, epsilon=c["norm_eps"])

    def linear(x, name):
        return g.linear(x, w[name + ".weight"], w[name + ".bias"])

    patches = g.add("Conv", "x", *(g.constant(w["patch_embed.proj." + part]) for part in ("weight", "bias")),
                    strides=[c["patch_size"]] * 2, kernel_shape=[c["patch_size"]] * 2)
    x = g.add("Transpose", g.add("Reshape", patches, g.constant(np.array([0, dim, tokens]))), perm=[0, 2, 1])
    x = g.add("Add", x, g.constant(positions(dim, grid)))
    for b in range(c["depth"]):
        name = f"blocks.{b}."
        qkv = g.add("Reshape", linear(norm(x, name + "norm1"), name + "attn.qkv"), g.constant(np.array([0, tokens, 3, heads, width])))
        q, k, v = g.add("Split", g.add("Transpose", qkv, perm=[2, 0, 3, 1, 4]), outputs=3, axis=0, num_outputs=3)
        q, k, v = (g.add("Squeeze", part, g.constant(np.array([0]))) for part in (q, k, v))
        scores = g.add("MatMul", g.add("Mul", q, g.constant(np.float32(1 / math.sqrt(width)))), g.add("Transpose", k, perm=[0, 1, 3, 2]))
        heads_out = g.add("MatMul", g.add("Softmax", scores, axis=-1), v)
        attended = g.add("Reshape", g.add("Transpose", heads_out, perm=[0, 2, 1, 3]), g.constant(np.array([0, tokens, dim])))
        x = g.add("Add", x, linear(attended, name + "attn.proj"))
        hidden = g.add("Gelu", linear(norm(x, name + "norm2"), name + "mlp.fc1"))
        x = g.add("Add", x, linear(hidden, name + "mlp.fc2"))
    mean = g.add("ReduceMean", norm(x, "norm"), g.constant(np.array([1])), keepdims=0)
    g.add("Identity", mean)
    g.nodes[-1].output[0] = "y"
    size = c["image_size"]
    graph = helper.make_graph(
        g.nodes, "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 3, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", dim])], g.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    model = build(*read(sys.argv[1]))
    checker.check_model(model, full_check=True)
    save(model, sys.argv[2])


if __name__ == "__main__":
    main()
