#!/usr/bin/env python3
"""Rotation before GPTQ by QuaRot's own code: is it better or worse on this model, at these widths?

usage: quarot_gptq.py QUAROT MODEL CALIBRATION_TEXT HELDOUT_TEXT [--bits 3,2] [--rotations none,folded,online]
       [--grids asym,asym-clip,sym-clip] [--samples 64] [--windows 120] [--seed 0] [--json OUT]

QUAROT is a checkout of github.com/spcl/QuaRot: `GPTQ` and `WeightQuantizer` of its fake_quant/ run as they are (act-order,
damping 0.01, a grid a row), in its order: block by block, each weight on the inputs that the quantized ones before it give.
"folded" turns the hidden state (random Hadamard) and the value heads; "online" turns the inputs of down too. Calibration and
measure are those of `lathe quantize --samples 64 --length 512` and `lathe eval --window 512 --bos first --limit 120`; ours is

    lathe quantize MODEL OUT --method [hadamard+]gptq --bits 2 --group-size 0 [--set online=false] --calibration TEXT ...

"error" is tr(E H E') / tr(W H W'), E = W - Q and H the second moment of the real inputs, averaged over all weights.

Needs: pip install torch transformers sentencepiece
"""
import argparse
import copy
import json
import sys
import time
import types

import sentencepiece
import torch
from transformers import AutoModelForCausalLM

ORDER = [["self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj"], ["self_attn.o_proj"],
         ["mlp.up_proj", "mlp.gate_proj"], ["mlp.down_proj"]]


def authors(path):
    """QuaRot's modules; what they need of an accelerator is stood in for."""
    for name in ("utils", "fast_hadamard_transform"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["fast_hadamard_transform"].hadamard_transform = None
    sys.modules["utils"].cleanup_memory = lambda **_: None
    torch.cuda.synchronize = lambda *_: None
    sys.path.insert(0, path + "/fake_quant")
    import gptq_utils
    import hadamard_utils
    import quant_utils
    return gptq_utils.GPTQ, quant_utils.WeightQuantizer, hadamard_utils


def tokens(model, path):
    processor = sentencepiece.SentencePieceProcessor(model_file=model + "/tokenizer.model")
    return [1] + processor.encode(open(path, encoding="utf-8").read())


def double(weight, change):
    weight.data = change(weight.data.double()).float()


def rotate(model, hadamard, online, seed):
    """Folds the norms, then the rotations, into the weights; returns the hook for the inputs of down, if any."""
    torch.manual_seed(seed)
    config = model.config
    q = hadamard.random_hadamard_matrix(config.hidden_size, "cpu")
    width = config.hidden_size // config.num_attention_heads
    head = hadamard.matmul_hadU(torch.eye(width, dtype=torch.float64))
    inner = hadamard.matmul_hadU(torch.eye(config.intermediate_size, dtype=torch.float64))
    double(model.model.embed_tokens.weight, lambda w: w @ q)
    double(model.lm_head.weight, lambda w: w * model.model.norm.weight.double() @ q)
    model.model.norm.weight.data.fill_(1)
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        for norm, readers in ((layer.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj)),
                              (layer.post_attention_layernorm, (mlp.gate_proj, mlp.up_proj))):
            for reader in readers:
                double(reader.weight, lambda w: w * norm.weight.double() @ q)
            norm.weight.data.fill_(1)
        for writer in (attention.o_proj, mlp.down_proj):
            double(writer.weight, lambda w: q.T @ w)
        double(attention.v_proj.weight, lambda w: (head.T @ w.reshape(-1, width, w.shape[1])).reshape(w.shape))
        double(attention.o_proj.weight, lambda w: (w.reshape(w.shape[0], -1, width) @ head).reshape(w.shape))
        if online:
            double(mlp.down_proj.weight, lambda w: w @ inner)
            mlp.down_proj.register_forward_pre_hook(lambda _, x: (x[0] @ inner.float(),))


@torch.no_grad()
def quantize(model, windows, method, quantizer, bits, symmetric, clip):
    """Rounds every weight of the blocks by the authors' GPTQ; returns the mean relative output error."""
    inputs, extras = [], {}

    class Caught(Exception):
        pass

    def catch(_, args, kwargs):
        inputs.append(args[0] if args else kwargs.pop("hidden_states"))
        extras.update(kwargs)
        raise Caught

    layers = model.model.layers
    handle = layers[0].register_forward_pre_hook(catch, with_kwargs=True)
    for window in windows:
        try:
            model(window)
        except Caught:
            pass
    handle.remove()
    extras.pop("past_key_values", None)
    run = lambda layer, x: (lambda out: out[0] if isinstance(out, tuple) else out)(layer(x, **extras))
    errors = []
    for layer in layers:
        for names in ORDER:
            modules = {name: layer.get_submodule(name) for name in names}
            solvers = {name: method(module) for name, module in modules.items()}
            handles = [module.register_forward_hook(lambda _, x, y, s=solvers[name]: s.add_batch(x[0], y))
                       for name, module in modules.items()]
            for x in inputs:
                run(layer, x)
            for handle in handles:
                handle.remove()
            for name, solver in solvers.items():
                solver.quantizer = quantizer()
                solver.quantizer.configure(bits, perchannel=True, sym=symmetric, mse=clip)
                exact, moment = modules[name].weight.data.clone(), solver.H.clone()
                solver.fasterquant(percdamp=0.01, groupsize=-1, actorder=True)
                lost = exact - modules[name].weight.data
                errors.append((((lost @ moment) * lost).sum() / ((exact @ moment) * exact).sum()).item())
        inputs = [run(layer, x) for x in inputs]
    return sum(errors) / len(errors)


@torch.no_grad()
def measure(model, ids, exact, windows, length=512):
    total, divergence, count = 0.0, 0.0, 0
    for i in range(windows):
        x = torch.tensor([ids[i * length:(i + 1) * length]])
        logits = model(x).logits[0, :-1].log_softmax(-1)
        if len(exact) <= i:
            exact.append(logits)
        total -= logits.gather(1, x[0, 1:, None]).sum().item()
        divergence += (exact[i].exp() * (exact[i] - logits)).sum().item()
        count += length - 1
    return float(torch.tensor(total / count).exp()), divergence / count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("quarot", "model", "calibration", "heldout"):
        parser.add_argument(name)
    parser.add_argument("--bits", default="3,2")
    parser.add_argument("--rotations", default="none,folded,online")
    parser.add_argument("--grids", default="asym,asym-clip,sym-clip")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--windows", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0, help="what the rotation's signs are drawn from")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    method, quantizer, hadamard = authors(arguments.quarot)
    original = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32).eval()
    original.lm_head.weight = torch.nn.Parameter(original.lm_head.weight.data.clone())
    calibration = tokens(arguments.model, arguments.calibration)
    windows = [torch.tensor([calibration[i * 512:(i + 1) * 512]]) for i in range(arguments.samples)]
    held, exact, results = tokens(arguments.model, arguments.heldout), [], []
    perplexity, _ = measure(original, held, exact, arguments.windows)
    print(f"original perplexity {perplexity:.3f}", flush=True)
    for bits in map(int, arguments.bits.split(",")):
        for grid in arguments.grids.split(","):
            for rotation in arguments.rotations.split(","):
                start, model = time.time(), copy.deepcopy(original)
                if rotation != "none":
                    rotate(model, hadamard, rotation == "online", arguments.seed)
                error = quantize(model, windows, method, quantizer, bits, grid.startswith("sym"), grid.endswith("clip"))
                perplexity, divergence = measure(model, held, exact, arguments.windows)
                results.append({"bits": bits, "grid": grid, "rotation": rotation, "error": error,
                                "perplexity": perplexity, "kl": divergence})
                print(f"{bits} bits {grid:10} {rotation:7} error {error:.5f}  perplexity {perplexity:.3f}  "
                      f"KL {divergence:.4f}  {time.time() - start:.0f} s", flush=True)
    if arguments.json:
        json.dump(results, open(arguments.json, "w"), indent=1)


if __name__ == "__main__":
    main()
