#!/usr/bin/env bash
# Installs a package that extends aicc, and uses its pass, its operator and its target.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=examples/extending
out=${OUT:-$here/out}

tests/setup_env.sh test
PATH=$PWD/.venv/bin:$PATH
python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation \
    --upgrade --target "$out/packages" $here
export PYTHONPATH=$PWD/$out/packages

echo "== a pass: aicc opt -p double-to-add"
aicc opt $here/twice.mlir -p double-to-add
python $here/make_model.py "$out/model.onnx"
echo "== an operator of another domain, fused into a kernel with its neighbours"
aicc compile "$out/model.onnx" --target cpp --verify --print-ir-after fuse -o "$out/artifact"
echo "== a target: plain C"
aicc compile $here/twice.mlir --target plain-c -o "$out/plain"
cat "$out/plain/model.c"
