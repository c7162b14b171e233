#!/usr/bin/env python3
"""Load time and encoding speed of tiktoken, sentencepiece and tokenizers on one thread.

usage: tokenizer_speed.py TEXT --llama3 tokenizer.model --llama2 tokenizer.model --phi3 tokenizer.json
needs: tiktoken, sentencepiece, tokenizers
"""

import argparse
import base64
import os
import statistics
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import sentencepiece
import tiktoken
import tokenizers

parser = argparse.ArgumentParser()
parser.add_argument("text")
parser.add_argument("--llama3")
parser.add_argument("--llama2")
parser.add_argument("--phi3")
arguments = parser.parse_args()
with open(arguments.text, encoding="utf-8", newline="") as file:
    text = file.read()
megabytes = len(text.encode()) / 1e6
pattern = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)


def llama3():
    with open(arguments.llama3, "rb") as file:
        ranks = {base64.b64decode(piece): int(rank) for piece, rank in (line.split() for line in file if line.strip())}
    return tiktoken.Encoding("llama3", pat_str=pattern, mergeable_ranks=ranks, special_tokens={}).encode_ordinary


def llama2():
    return sentencepiece.SentencePieceProcessor(model_file=arguments.llama2).encode


def phi3():
    tokenizer = tokenizers.Tokenizer.from_file(arguments.phi3)
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


for name, load, given in [("tiktoken, LLaMA-3", llama3, arguments.llama3), ("sentencepiece, LLaMA-2", llama2, arguments.llama2), ("tokenizers, Phi-3", phi3, arguments.phi3)]:
    if not given:
        continue
    start = time.perf_counter()
    encode = load()
    loaded = time.perf_counter() - start
    times = []
    for _ in range(5):
        start = time.perf_counter()
        count = len(encode(text))
        times.append(time.perf_counter() - start)
    print(f"{name}: load {loaded * 1000:.0f} ms, encode {megabytes / statistics.median(times):.1f} MB/s ({count} tokens)")
