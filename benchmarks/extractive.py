"""How good the answers of `builtin/extractive` are: on the demo's documents, and on Cranfield's questions.

    python benchmarks/extractive.py [--shared ../shared] [--show]

Demo: the documents are parsed, split and embedded as the server does it, and the best eight passages of each question
go to the assistant. "quoted" is the share of the questions whose expected sentence stands in the answer, "retrieved"
the share whose expected sentence was among the passages at all, "abstained" the share of the questions without an
answer on which it abstained.

Cranfield (a classical collection of abstracts on aerodynamics, from the shared data): the best eight abstracts of each
question. "relevant" is the share of cited documents that the collection's judges found relevant, beside the same share
of the eight presented; "answered" the share of its questions that were answered, and "off-topic abstained" the share of
the demo's questions, put to Cranfield, on which it abstained.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import numpy as np
import numpy.typing as npt

from headwater_server.assistant.extractive.answering import Found, find
from headwater_server.assistant.extractive.words import Words
from headwater_server.assistant.protocol import Source
from headwater_server.retrieval.embedding import MiniLmEmbedder
from headwater_server.retrieval.splitting import parse_and_split

ROOT = Path(__file__).resolve().parent.parent
TOP = 8
_K1, _B, _RRF = 1.2, 0.75, 60

OFF_TOPIC = (
    "Who won the football World Cup in 1998?",
    "What is the capital of Mongolia?",
    "How do I bake sourdough bread?",
    "When did the Berlin wall fall?",
    "Which vitamins are in oranges?",
    "What is the plot of Hamlet?",
    "How tall is Mount Everest?",
    "What should I plant in my garden in March?",
)

NEAR_TOPIC = (
    "Can I bring my dog to the office?",
    "What is the dress code?",
    "How do I request a standing desk?",
    "What is the starting salary of a software engineer?",
    "How do I enroll in the dental insurance plan?",
    "Who is the chief executive of the company?",
    "What is the wifi password of the meeting room?",
    "How many parking spaces does the headquarters have?",
    "Which gym membership is subsidized?",
    "How do I report a broken coffee machine?",
)
"""Questions that staff might ask, and that the demo's documents do not answer."""


@dataclass(frozen=True)
class Passage:
    document: str
    title: str
    heading: str
    text: str


class Collection:
    """Passages with a small hybrid search: BM25 and the dense cosine, fused by reciprocal rank."""

    def __init__(self, passages: Sequence[Passage], embedder: MiniLmEmbedder, cache: Path | None = None) -> None:
        self._passages = passages
        self._embedder = embedder
        self._words = Words()
        self._vectors = self._embedded(cache)
        self._counts = [Counter(self._words.content(f"{p.title} {p.heading} {p.text}")) for p in passages]
        self._lengths = np.array([sum(count.values()) for count in self._counts], dtype=np.float64)
        self._frequency = Counter(word for count in self._counts for word in count)

    def _embedded(self, cache: Path | None) -> npt.NDArray[np.float32]:
        if cache and cache.exists():
            stored: npt.NDArray[np.float32] = np.load(cache)
            if len(stored) == len(self._passages):
                return stored
        vectors = self._embedder.embed_documents([p.text for p in self._passages])
        if cache:
            np.save(cache, vectors)
        return vectors

    def search(self, question: str, top: int = TOP) -> list[Source]:
        cosines = self._vectors @ self._embedder.embed_query(question)
        lexical = self._bm25(question)
        fused = sum(1.0 / (_RRF + np.argsort(np.argsort(-scores)) + 1) for scores in (cosines, lexical))
        best = np.argsort(-np.asarray(fused))[:top]
        return [
            Source(
                id=str(rank),
                text=self._passages[index].text,
                title=self._passages[index].title,
                heading=self._passages[index].heading,
                document=self._passages[index].document,
                rank=rank,
                cosine=float(cosines[index]),
            )
            for rank, index in enumerate(best, start=1)
        ]

    def _bm25(self, question: str) -> npt.NDArray[np.float64]:
        scores = np.zeros(len(self._passages))
        mean_length = float(self._lengths.mean())
        for word in set(self._words.content(question)):
            there = self._frequency[word]
            weight = np.log1p((len(self._passages) - there + 0.5) / (there + 0.5))
            times = np.array([count[word] for count in self._counts], dtype=np.float64)
            scores += weight * times * (_K1 + 1) / (times + _K1 * (1 - _B + _B * self._lengths / mean_length))
        return scores


def demo_passages() -> list[Passage]:
    passages = []
    for path in sorted((ROOT / "docs/demo/handbook").iterdir()):
        document = parse_and_split(path)
        passages += [
            Passage(path.name, document.title or path.name, passage.heading, passage.text)
            for passage in document.passages
        ]
    return passages


def plain(text: str) -> str:
    return " ".join(text.split())


def answered(found: Found) -> bool:
    return bool(found.sentences) and found.relevance.enough


def show(question: str, found: Found) -> None:
    print(f"\nQ {question}\n  relevance {found.relevance}")
    for sentence in found.sentences:
        print(f"  {'·' if answered(found) else 'x'} [{sentence.source + 1}] {sentence.text}")


def judge_demo(embedder: MiniLmEmbedder, *, verbose: bool) -> None:
    collection = Collection(demo_passages(), embedder)
    questions = json.loads((ROOT / "docs/demo/questions.json").read_text(encoding="utf-8"))
    quoted: list[bool] = []
    retrieved: list[bool] = []
    abstained: list[bool] = []
    off_topic: list[bool] = []
    sizes: list[int] = []
    for entry in questions:
        sources = collection.search(entry["question"])
        found = find(entry["question"], sources)
        if verbose:
            show(entry["question"], found)
        if entry["quote"]:
            wanted = plain(entry["quote"])
            retrieved.append(any(wanted in plain(source.text) for source in sources))
            quoted.append(answered(found) and any(wanted in sentence.text for sentence in found.sentences))
            sizes.append(len(found.sentences))
            if verbose and not quoted[-1]:
                print(f"  !! wanted: {wanted}")
        else:
            abstained.append(not answered(found))
    for question in (*NEAR_TOPIC, *OFF_TOPIC):
        found = find(question, collection.search(question))
        (abstained if question in NEAR_TOPIC else off_topic).append(not answered(found))
        if verbose:
            show(question, found)
    print(
        f"\ndemo: quoted {mean(quoted):.2f} of {len(quoted)}, retrieved {mean(retrieved):.2f}, "
        f"abstained {mean(abstained):.2f} of {len(abstained)}, off-topic abstained {mean(off_topic):.2f} of "
        f"{len(off_topic)}, sentences an answer {mean(sizes):.1f}"
    )


def judge_cranfield(folder: Path, embedder: MiniLmEmbedder, *, verbose: bool, cache: Path | None) -> None:
    documents = [json.loads(line) for line in (folder / "corpus.jsonl").open(encoding="utf-8")]
    queries = [json.loads(line) for line in (folder / "queries.jsonl").open(encoding="utf-8")]
    relevant: dict[str, set[str]] = defaultdict(set)
    for line in (folder / "qrels/test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        if int(grade) > 0:
            relevant[query].add(document)
    passages = [Passage(d["_id"], d["title"], "", d["text"]) for d in documents if d["text"].strip()]
    collection = Collection(passages, embedder, cache)
    cited, presented, first, taken, done = [], [], [], [], []
    for query in queries:
        sources = collection.search(query["text"])
        start = time.thread_time()
        found = find(query["text"], sources)
        taken.append(time.thread_time() - start)
        done.append(answered(found))
        if verbose and len(done) % 15 == 1:
            show(query["text"], found)
        judged = relevant[query["_id"]]
        names = list(dict.fromkeys(sources[sentence.source].document for sentence in found.sentences))
        cited += [name in judged for name in names]
        first += [names[0] in judged] if names else []
        presented += [source.document in judged for source in sources]
    off_topic = [entry["question"] for entry in json.loads((ROOT / "docs/demo/questions.json").read_text())]
    off_topic += OFF_TOPIC
    abstained = [not answered(find(question, collection.search(question))) for question in off_topic]
    print(
        f"cranfield: relevant {mean(cited):.3f} of cited (first cited {mean(first):.3f}, presented "
        f"{mean(presented):.3f}), answered {mean(done):.2f} of {len(done)}, off-topic abstained "
        f"{mean(abstained):.2f} of {len(abstained)}; "
        f"{median(taken) * 1000:.1f} ms CPU an answer, most {max(taken) * 1000:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("HEADWATER_SHARED", ROOT / "../shared")))
    parser.add_argument("--show", action="store_true", help="print the answers")
    parser.add_argument("--cache", type=Path, help="a file to keep Cranfield's vectors in")
    arguments = parser.parse_args()
    embedder = MiniLmEmbedder()
    judge_demo(embedder, verbose=arguments.show)
    folder = arguments.shared / "data/cranfield"
    if folder.exists():
        judge_cranfield(folder, embedder, verbose=arguments.show, cache=arguments.cache)
    else:
        print(f"cranfield: left out, {folder} is not there")


if __name__ == "__main__":
    main()
