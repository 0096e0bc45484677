"""Tokens per second of a model of Llama's family, here and in other programs, side by side.

    python benchmarks/llama.py MODEL [--turns 5] [--tokens 60]

MODEL is a .gguf file, or a folder of Hugging Face's. The sides are this project, transformers
(float32) and, for a file, llama-cpp-python, as far as they are installed. Each is a process of its
own. They take turns; medians are printed, and the time to open the model and the peak memory.
llama.cpp rounds what enters a product with quantized weights to 8 bits: its text may differ.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))
PROMPT = "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n"


def tinygpt(path):
    import tinygpt

    model, tokenizer = tinygpt.load(path)
    ids = tokenizer.encode(PROMPT)
    return lambda n: tokenizer.decode(model.generate(ids, n, temperature=0)[len(ids) :].tolist())


def transformers(path):
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    where, file = (path.parent, dict(gguf_file=path.name)) if path.is_file() else (path, {})
    tokenizer = transformers.AutoTokenizer.from_pretrained(where, **file)
    load = transformers.AutoModelForCausalLM.from_pretrained
    model = load(where, dtype=torch.float32, **file).eval()
    ids = tokenizer(PROMPT, return_tensors="pt", add_special_tokens=False)

    def generate(n):
        with torch.inference_mode():
            out = model.generate(**ids, max_new_tokens=n, min_new_tokens=n, do_sample=False,
                                 pad_token_id=0)  # fmt: skip
        return tokenizer.decode(out[0, ids["input_ids"].shape[1] :])

    return generate


def llama_cpp(path):
    import llama_cpp

    model = llama_cpp.Llama(str(path), n_threads=int(os.environ["OMP_NUM_THREADS"]), verbose=False)
    ids = model.tokenize(PROMPT.encode(), add_bos=False, special=True)

    def generate(n):
        model.reset()
        new = []
        for token in model.generate(ids, temp=0, repeat_penalty=1.0):
            new.append(token)
            if len(new) == n:
                return model.detokenize(new, special=True).decode()

    return generate


SIDES = {"tinygpt": tinygpt, "transformers": transformers, "llama.cpp": llama_cpp}


def serve(side, path):
    """The process of a side: it reads numbers of tokens, and answers how long they took."""
    started = time.perf_counter()
    try:
        generate = SIDES[side](Path(path))
    except ImportError as error:
        return print("@", json.dumps(f"skipped: {error}"), flush=True)
    print("@", json.dumps(time.perf_counter() - started), flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        text = generate(int(line))
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print("@", json.dumps([seconds, peak, text]), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    options = parser.parse_args()
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    env = {**os.environ, **dict.fromkeys(names, str(options.threads))}
    running, opened = {}, {}
    for side in options.sides:
        process = subprocess.Popen(
            [sys.executable, __file__, "--serve", side, options.model], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env,
        )  # fmt: skip
        opened[side] = answer(process) or "skipped: it cannot open the model"
        if isinstance(opened[side], str):
            print(f"{side}: {opened[side]}")
        else:
            running[side] = process
    if not running:
        sys.exit("no side is left")
    times = {side: [] for side in running}
    for turn in range(options.turns + 1):
        for side, process in running.items():
            process.stdin.write(f"{options.tokens}\n")
            process.stdin.flush()
            seconds, peak, text = answer(process)
            if turn:  # the first warms up
                times[side].append((options.tokens / seconds, peak, text))
    first = next(iter(times))
    print(f"{options.tokens} tokens after a prompt, {options.threads} threads")
    for side, found in times.items():
        speed, (_, peak, text) = median(x[0] for x in found), found[-1]
        same = "the same text" if text == times[first][-1][2] else "another text"
        print(f"  {side:13}{speed:7.1f} tokens/s   opened in {opened[side]:5.2f} s   "
              f"{peak:6,.0f} MB   {same}")  # fmt: skip
    for process in running.values():
        process.stdin.close()


def answer(process):
    for line in process.stdout:
        if line.startswith("@"):
            return json.loads(line[1:])
    return None


if __name__ == "__main__":
    serve(*sys.argv[2:]) if sys.argv[1:2] == ["--serve"] else main()
