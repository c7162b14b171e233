#!/usr/bin/env python3
"""Writes a llama2.c checkpoint (version 0, .bin) as a Hugging Face folder, for peers that read nothing else.

usage: llama2c_to_hf.py MODEL.bin TOKENIZER.model OUT

Needs: pip install numpy torch transformers
"""
import os
import shutil
import struct
import sys

import numpy
import torch
from transformers import LlamaConfig, LlamaForCausalLM


def main():
    source, tokenizer, out = sys.argv[1:]
    data = open(source, "rb").read()
    width, inner, layers, heads, key_heads, vocabulary, context = struct.unpack("7i", data[:28])
    tied, vocabulary = vocabulary > 0, abs(vocabulary)
    values, at = torch.from_numpy(numpy.frombuffer(data, numpy.float32, offset=28).copy()), 0

    def take(*shape):
        nonlocal at
        count = int(numpy.prod(shape))
        at += count
        return values[at - count:at].reshape(shape)

    def halves(weight, count):
        """Pairs of neighbours, which llama2.c rotates, become pairs of halves."""
        return weight.reshape(count, -1, 2, width).transpose(1, 2).reshape(weight.shape)

    keys = width // heads * key_heads
    embedding = take(vocabulary, width)
    parts = [take(layers, *shape) for shape in (
        (width,), (width, width), (keys, width), (keys, width), (width, width),
        (width,), (inner, width), (width, inner), (inner, width))]
    norm = take(width)
    state = {"model.embed_tokens.weight": embedding, "model.norm.weight": norm}
    names = ["input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
             "post_attention_layernorm", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj"]
    for i in range(layers):
        for name, part in zip(names, parts):
            count = {"self_attn.q_proj": heads, "self_attn.k_proj": key_heads}.get(name)
            state[f"model.layers.{i}.{name}.weight"] = halves(part[i], count) if count else part[i]
    take(2, context, width // heads // 2)
    state["lm_head.weight"] = embedding if tied else take(vocabulary, width)
    model = LlamaForCausalLM(LlamaConfig(
        hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=key_heads, vocab_size=vocabulary, max_position_embeddings=context, rms_norm_eps=1e-5,
        tie_word_embeddings=tied, bos_token_id=1, eos_token_id=2))
    model.load_state_dict(state)
    model.save_pretrained(out)
    shutil.copy(tokenizer, os.path.join(out, "tokenizer.model"))


if __name__ == "__main__":
    main()
