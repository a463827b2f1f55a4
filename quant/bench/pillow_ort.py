"""Pillow and ONNX Runtime, as one would use them in Python: what edge-embed is measured against.

    pillow_ort.py quantize MODEL.onnx OUT_FOLDER PICTURES     writes dynamic.onnx and static.onnx, its two kinds of int8
    pillow_ort.py embed    MODEL.onnx SIZE PICTURES [--threads N] [--draft] > vectors.f32
    pillow_ort.py serve    MODEL.onnx SIZE [--threads N]      times the network alone; see serve

MODEL has an input x [b, 3, SIZE, SIZE], normalised as for ImageNet, and an output y [b, D]: export_onnx.py writes one.
Needs numpy, pillow and onnxruntime; quantize needs onnx too.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
from PIL import Image

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def pictures(folder):
    """The files below a folder in the order of their names, or a file itself."""
    if os.path.isfile(folder):
        return [folder]
    return [os.path.join(at, name) for at, folders, names in os.walk(folder) for name in sorted(names) if not folders.sort()]


def load(path, size, draft=False):
    """A picture as the network's input [1, 3, size, size]: shorter side scaled to size, the square in the middle."""
    with Image.open(path) as im:
        if draft:  # libjpeg's reduced decoding, no smaller than twice what is needed
            im.draft("RGB", (2 * size, 2 * size))
        im = im.convert("RGB")
    scale = size / min(im.size)
    im = im.resize((round(im.width * scale), round(im.height * scale)), Image.BICUBIC)
    x, y = (im.width - size) // 2, (im.height - size) // 2
    pixels = np.asarray(im.crop((x, y, x + size, y + size)), np.float32)
    return ((pixels / 255 - MEAN) / STD).transpose(2, 0, 1)[None]


def session(model, threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def embed(a):
    """Each thread takes picture after picture, which is faster than threads within one picture: Pillow and ONNX Runtime
    both let go of the interpreter's lock."""
    network = session(a.model, 1)

    def vector(path):
        try:
            x = load(path, a.size, a.draft)
        except OSError as problem:
            print(f"skipping {path}: {problem}", file=sys.stderr)
            return b""
        v = network.run(None, {"x": x})[0][0]
        return (v / np.linalg.norm(v)).astype("<f4").tobytes()

    if a.threads == 1:
        rows = map(vector, pictures(a.pictures))
    else:
        rows = ThreadPoolExecutor(a.threads).map(vector, pictures(a.pictures))
    for row in rows:
        sys.stdout.buffer.write(row)


def quantize(a):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    size = session(a.model, 1).get_inputs()[0].shape[-1]

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.inputs = iter([{"x": load(path, size)} for path in pictures(a.pictures)[:16]])

        def get_next(self):
            return next(self.inputs, None)

    os.makedirs(a.out, exist_ok=True)
    prepared, dynamic, static = (os.path.join(a.out, name + ".onnx") for name in ("prepared", "dynamic", "static"))
    quant_pre_process(a.model, prepared, skip_symbolic_shape=True)
    quantize_dynamic(prepared, dynamic, per_channel=True, weight_type=QuantType.QInt8)
    quantize_static(prepared, static, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)


def serve(a):
    """Prints a line with its name, then for each number n on standard input the seconds that n runs of one picture took."""
    network = session(a.model, a.threads)
    x = np.random.default_rng(1).standard_normal((1, 3, a.size, a.size), np.float32)
    print(f"onnxruntime {ort.__version__}", flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        for _ in range(int(line)):
            network.run(None, {"x": x})
        print(time.perf_counter() - begin, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for run, arguments in (quantize, ("out", "pictures")), (embed, ("size", "pictures")), (serve, ("size",)):
        command = commands.add_parser(run.__name__)
        command.set_defaults(run=run)
        for name in ("model", *arguments):
            command.add_argument(name, type=int if name == "size" else str)
        command.add_argument("--threads", type=int, default=1)
        command.add_argument("--draft", action="store_true")
    a = parser.parse_args()
    a.run(a)


if __name__ == "__main__":
    main()
