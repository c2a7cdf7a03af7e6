#!/usr/bin/env bash
# One environment for each peer under PEERS_HOME (default ~/.cache/relevo-peers). Needs python3 with venv, and wrk for the measuring.
# Usage: install.sh [mosec|fastapi|flask|litserve …]      default: the first three
set -euo pipefail
home=${PEERS_HOME:-$HOME/.cache/relevo-peers}
declare -A wants=(
  [mosec]="mosec"
  [fastapi]="fastapi uvicorn httptools uvloop python-multipart orjson"
  [flask]="flask gunicorn scikit-learn"
  [litserve]="litserve python-multipart"
)
for peer in "${@:-mosec fastapi flask}"; do
  for name in $peer; do
    [ -x "$home/$name/bin/pip" ] || python3 -m venv "$home/$name"
    # shellcheck disable=SC2086  # the list is meant to be split
    "$home/$name/bin/python" -m pip install --quiet numpy onnxruntime opencv-python-headless pillow ${wants[$name]}
    echo "$name: $("$home/$name/bin/python" -m pip list --format=freeze | grep -iE '^(mosec|fastapi|uvicorn|flask|gunicorn|litserve|onnxruntime)=' | tr '\n' ' ')"
  done
done
