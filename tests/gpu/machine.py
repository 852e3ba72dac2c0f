"""Print what the machine and the code are, as JSON: by a process of its own, as a look takes memory."""

import json
import os
import platform
import sys

import torch

from benchmark.runs import provenance


def main(device: str) -> None:
    cuda = torch.cuda.is_available()
    found = {"cuda": cuda, "torch": torch.__version__, "python": platform.python_version()}
    found["cores"] = os.cpu_count() or 1
    if cuda or device == "cpu":
        said = provenance.environment(device, threads=1)
        found |= {key: said[key] for key in ("commit", "dirty", "code", "device")}
    if cuda and device != "cpu":
        free, total = torch.cuda.mem_get_info()
        found |= {"free_gib": free / 2**30, "total_gib": total / 2**30, "toolkit": torch.version.cuda}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
