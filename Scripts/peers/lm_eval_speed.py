"""Items a second of `lathe eval --tasks` and of lm-evaluation-harness, in turns on one machine.

    LATHE_DATA=... python Scripts/peers/lm_eval_speed.py [--rounds 3] [--threads 2] [--model novella-6m]

Processor time is compared beside time by the clock: on a machine that others use too it is the steadier of the two.
Needs lm-eval 0.4.12 and `swift build -c release --product lathe`. Both read the same questions in float32; lm-eval's time is
that of its evaluation alone, the model and the data in memory, at its default batch size of 1 and at 16 and 64; lathe's is
that of the whole process, start, reading of model and data included. A ratio is taken within a round, and the median over rounds.
`--model wide` is a random LLaMA of 8 layers and width 512 with a context of 8,192 and novella's vocabulary, on which few-shot
prompts are not cut; `--model formula` the small random model of Scripts/fixtures/task_models.py, with LLaMA-3's vocabulary.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

package = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(package / "Scripts/fixtures"))

import lm_eval
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

import task_data
import task_models

data = pathlib.Path(os.environ.get("LATHE_DATA", package / "../shared/data"))
RUNS = {"novella-6m": [("piqa", 0, 300), ("hellaswag", 0, 150)], "wide": [("mmlu_anatomy", 5, 100)],
        "formula": [("mmlu_anatomy", 5, 100)]}


def wide(folder):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096, hidden_size=512, intermediate_size=1536, num_hidden_layers=8, num_attention_heads=8,
        num_key_value_heads=4, max_position_embeddings=8192, bos_token_id=1, eos_token_id=2, tie_word_embeddings=True)
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(package / "Models/novella-6m").save_pretrained(folder)
    (folder / "tokenizer.model").write_bytes((package / "Models/novella-6m/tokenizer.model").read_bytes())


def children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="novella-6m")
    parser.add_argument("--batches", default="1,16,64")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        task_data.write(data, folder / "tasks")
        place = package / "Models/novella-6m"
        if options.model == "wide":
            place = folder / "wide"
            place.mkdir()
            wide(place)
        if options.model == "formula":
            place = task_models.folder("random-llama3", data, package, folder)
            shutil.copy(data / "tokenizers/llama3/tokenizer.model", place)
        manager = TaskManager(include_path=str(folder / "tasks"), include_defaults=False)
        batches = [int(b) for b in options.batches.split(",")]
        models = {b: HFLM(pretrained=str(place), dtype="float32", device="cpu", batch_size=b) for b in batches}
        for task, shots, limit in RUNS[options.model]:
            rates = {b: [] for b in ["lathe", *batches]}
            costs = {b: [] for b in ["lathe", *batches]}
            for turn in range(options.rounds + 1):
                start, spent = time.perf_counter(), children()
                subprocess.run(
                    [str(package / ".build/release/lathe"), "eval", str(place), "--tasks", task, "--limit", str(limit),
                     "--num-fewshot", str(shots), "--threads", str(options.threads), "--data", str(data), "--json"],
                    check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                seconds = {"lathe": time.perf_counter() - start}
                processor = {"lathe": children() - spent}
                for b in batches:
                    start, spent = time.perf_counter(), time.process_time()
                    lm_eval.simple_evaluate(
                        models[b], tasks=[f"local_{task}"], num_fewshot=shots, limit=limit, task_manager=manager,
                        bootstrap_iters=0, log_samples=False)
                    seconds[b] = time.perf_counter() - start
                    processor[b] = time.process_time() - spent
                if turn:  # The first round warms up.
                    for name, value in seconds.items():
                        rates[name].append(limit / value)
                        costs[name].append(processor[name] / limit)
            line = {"model": options.model, "task": task, "shots": shots, "items": limit, "threads": options.threads}
            line["lathe_items_per_second"] = round(statistics.median(rates["lathe"]), 2)
            for b in batches:
                line[f"lm_eval_batch_{b}"] = round(statistics.median(rates[b]), 2)
                line[f"ratio_batch_{b}"] = round(
                    statistics.median(x / y for x, y in zip(rates["lathe"], rates[b])), 2)
                line[f"processor_ratio_batch_{b}"] = round(
                    statistics.median(y / x for x, y in zip(costs["lathe"], costs[b])), 2)
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
