#!/usr/bin/env python3
"""Perplexity and windows a second of a model under transformers, in single precision.

The windows are those of `lathe eval MODEL --text FILE --window N`: one beginning of sequence before the whole text,
windows one after another, all tokens but a window's first scored. Loading and tokenizing are not timed.

usage: evaluate_speed.py MODEL TEXT [--window 512] [--limit 120] [--threads 2] [--batch 1]
needs: torch, transformers, sentencepiece
"""

import argparse
import math
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("text")
parser.add_argument("--window", type=int, default=512)
parser.add_argument("--limit", type=int, default=120)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batch", type=int, default=1)
arguments = parser.parse_args()

torch.set_num_threads(arguments.threads)
model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(arguments.model)
with open(arguments.text, encoding="utf-8", newline="") as file:
    text = file.read()
ids = [tokenizer.bos_token_id] + tokenizer(text, add_special_tokens=False).input_ids
count = min(len(ids) // arguments.window, arguments.limit)
windows = torch.tensor(ids[: count * arguments.window]).view(count, arguments.window)


def measure(windows):
    total = 0.0
    with torch.inference_mode():
        for batch in windows.split(arguments.batch):
            logits = model(batch, use_cache=False).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(
                logits.reshape(-1, logits.shape[-1]), batch[:, 1:].reshape(-1), reduction="sum"
            )
            total += loss.item()
    return math.exp(total / (windows.shape[0] * (arguments.window - 1)))


measure(windows[:2])
start = time.perf_counter()
perplexity = measure(windows)
seconds = time.perf_counter() - start
print(f"perplexity {perplexity:.4f}  {count} windows in {seconds:.2f} s  {count / seconds:.2f} windows/s")
