"""Install the tools that bench/peers.py and bench/certify.py compare with, each in a virtual environment of its own under bench/.peers/.

python bench/make_peers.py [NAME ...]

Versions are pinned. What can't be installed is said in one line, and the others go on. About 5 GB in all: two of the tools
need torch; where pip's index has no build of it for the CPU alone, they bring gigabytes more, so leave them out by naming
the others. What is installed already stays.
"""

import argparse
import shutil
import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(__file__).with_name(".peers")
TORCH = ["torch==2.13.0"]
PEERS = {
    "bargain": [["bargain==0.1.3"]],
    "pyreqwest": [["pyreqwest==0.15.1", "uvloop==0.23.0"]],
    "openai": [["openai[aiohttp]==3.57.0"]],
    "litellm": [["litellm==1.110.2"]],
    "bespokelabs-curator": [["bespokelabs-curator==0.1.31"]],
    "chain-ensembles": [TORCH, ["chain-ensembles==0.1.0", *TORCH]],
    "refuel-autolabel": [
        TORCH,
        [
            "refuel-autolabel==0.0.16",
            "openai==0.28.1",  # the last of the form that langchain 0.0.226 calls
            "tiktoken==0.12.0",
            "datasets==2.14.7",
            "pandas==2.2.2",
            *TORCH,
        ],
    ],
}
"""What pip is given for each peer, step by step."""


def python_of(name: str) -> Path:
    """Return the interpreter of a peer's environment, which need not be there."""
    return FOLDER / name / "bin" / "python"


def installed(name: str) -> bool:
    """Tell whether a peer was installed to the end."""
    return (FOLDER / name / "done").exists()


def install(name: str) -> str:
    """Make a peer's environment; returns what to say about it."""
    if installed(name):
        return "is there already"
    shutil.rmtree(FOLDER / name, ignore_errors=True)
    venv.create(FOLDER / name, with_pip=True)
    for packages in PEERS[name]:
        command = [python_of(name), "-m", "pip", "install", "--quiet", *packages]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            return (
                f"can't be installed and is left out: {(errors or [f'pip ended with {done.returncode}'])[0]}"
            )
    (FOLDER / name / "done").touch()
    return "installed"


def main() -> None:
    """Install those named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PEERS)}; all unless said")
    names = parser.parse_args().names or list(PEERS)
    if unknown := [name for name in names if name not in PEERS]:
        sys.exit(f"error: {unknown[0]} is none of: {', '.join(PEERS)}.")
    for name in names:
        print(f"{name}: {install(name)}", flush=True)


if __name__ == "__main__":
    main()
