#!/usr/bin/env python3
"""Quantizes novella-6m with llm-compressor and measures it as `lathe eval` does: the figures beside ours.

usage: llmcompressor_quality.py MODEL CALIBRATION_TEXT HELDOUT_TEXT [--recipes awq-w4g128,...] [--samples 16] [--json OUT]

Calibration is the text's first SAMPLES x 512 tokens, as `lathe quantize --calibration TEXT --samples 16 --length 512`
takes them (AWQ's search costs them about four seconds a sample here); perplexity that of 120 windows of 512 tokens with one BOS before the stream, KL to the float model. Weights are
rounded by llm-compressor itself and run by transformers in single precision.

Needs: pip install llmcompressor (tried with 0.14, transformers 5.17, torch 2.14)
"""
import argparse
import json
import time

import sentencepiece
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier

try:
    from llmcompressor.modifiers.transform.awq import AWQModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier
except ImportError:
    from llmcompressor.modifiers.awq import AWQModifier
    from llmcompressor.modifiers.smoothquant import SmoothQuantModifier


if not torch.cuda.is_available():
    # Caches are pinned for a copy to the accelerator that is not there.
    torch.Tensor.pin_memory = lambda self, *_: self


def scheme(bits, group, symmetric, activations=None):
    weights = {"num_bits": bits, "type": "int", "symmetric": symmetric, "dynamic": False,
               "strategy": "group" if group else "channel"}
    if group:
        weights["group_size"] = group
    entry = {"targets": ["Linear"], "weights": weights}
    if activations:
        entry["input_activations"] = {"num_bits": activations, "type": "int", "symmetric": True, "dynamic": True,
                                      "strategy": "token"}
    return {"group_0": entry}


def recipes():
    table = {}
    for bits in (4, 3):
        table[f"awq-w{bits}g128"] = lambda bits=bits: [
            AWQModifier(), QuantizationModifier(config_groups=scheme(bits, 128, False), ignore=["lm_head"])]
        table[f"gptq-w{bits}g128"] = lambda bits=bits: [
            GPTQModifier(config_groups=scheme(bits, 128, False), ignore=["lm_head"])]
        table[f"rtn-w{bits}g128"] = lambda bits=bits: [
            QuantizationModifier(config_groups=scheme(bits, 128, False), ignore=["lm_head"])]
    for bits, alpha in ((8, 0.5), (6, 0.5), (4, 0.5), (8, 0.85), (6, 0.85), (4, 0.85)):
        table[f"smoothquant-w{bits}a{bits}-{alpha}"] = lambda bits=bits, alpha=alpha: [
            SmoothQuantModifier(smoothing_strength=alpha),
            QuantizationModifier(config_groups=scheme(bits, None, True, bits), ignore=["lm_head"])]
    return table


def tokens(model, path):
    processor = sentencepiece.SentencePieceProcessor(model_file=model + "/tokenizer.model")
    return [1] + processor.encode(open(path, encoding="utf-8").read())


@torch.no_grad()
def measure(model, reference, ids, windows=120, length=512):
    total, count, divergence = 0.0, 0, 0.0
    for i in range(windows):
        x = torch.tensor([ids[i * length:(i + 1) * length]])
        logits = model(x).logits[0, :-1].float().log_softmax(-1)
        exact = reference(x).logits[0, :-1].float().log_softmax(-1)
        total -= logits.gather(1, x[0, 1:, None]).sum().item()
        divergence += (exact.exp() * (exact - logits)).sum().item()
        count += length - 1
    return float(torch.tensor(total / count).exp()), divergence / count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("calibration")
    parser.add_argument("heldout")
    parser.add_argument("--recipes", default=",".join(recipes()))
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--windows", type=int, default=120)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    load = lambda: AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    reference = load()
    calibration = tokens(arguments.model, arguments.calibration)[: arguments.samples * 512]
    data = Dataset.from_dict({
        "input_ids": [calibration[i * 512:(i + 1) * 512] for i in range(arguments.samples)],
        "attention_mask": [[1] * 512] * arguments.samples})
    held = tokens(arguments.model, arguments.heldout)
    results = {}
    for name in arguments.recipes.split(","):
        model = load()
        start = time.time()
        oneshot(model=model, tokenizer=AutoTokenizer.from_pretrained(arguments.model), dataset=data,
                recipe=recipes()[name](), max_seq_length=512, num_calibration_samples=arguments.samples)
        seconds = time.time() - start
        perplexity, divergence = measure(model, reference, held, arguments.windows)
        results[name] = {"perplexity": perplexity, "kl": divergence, "seconds": seconds}
        print(f"{name:20} perplexity {perplexity:.3f}  KL {divergence:.5f}  {seconds:.0f} s", flush=True)
    if arguments.json:
        json.dump(results, open(arguments.json, "w"), indent=1)


if __name__ == "__main__":
    main()
