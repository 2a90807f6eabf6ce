"""A rollout worker without a tensor library: a "model" is one tensor of two skill levels.

An output is "right" or "wrong"; which one is a fixed function of the prompt and the level, so two levels differ on few
items, as two versions of one real model do. Level -1 dies, level -2 writes nonsense.
"""

import hashlib
import os
import struct
import sys

from evolvent.sandbox import isolate, read_frame, read_json, write_json


def answer(levels: dict[str, int], prompt: str) -> str:
    skill, _, item = prompt.partition(":")
    if levels[skill] == -1:
        os._exit(1)
    draw = int.from_bytes(hashlib.sha256(item.encode()).digest()[:4], "big") % 100
    return "right" if draw < levels[skill] else "wrong"


def main() -> None:
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    tier = isolate()
    write_json(answers, {"ready": True, "isolation": tier})
    models: dict[str, dict[str, int]] = {}
    while (request := read_json(requests)) is not None:
        match request["op"]:
            case "load":
                files = {name: read_frame(requests) for name in request["files"]}
                weights = files["model.safetensors"]
                assert isinstance(weights, bytes)
                single, chain = struct.unpack("<2i", weights[-8:])
                models[request["handle"]] = {"single": single, "chain": chain}
                write_json(answers, {"ok": True})
            case "rollout":
                levels = models[request["handle"]]
                outputs: object = [answer(levels, prompt) for prompt in request["prompts"]]
                if -2 in levels.values():
                    outputs = [1, 2, 3]
                write_json(answers, {"outputs": outputs, "tokens": len(request["prompts"])})
            case _:
                del models[request["handle"]]
                write_json(answers, {"ok": True})


if __name__ == "__main__":
    main()
