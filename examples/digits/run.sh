#!/usr/bin/env bash
# Compiles a trained digit classifier and runs it on handwritten digits it has not seen.
# Set OUT for another place than examples/digits/out.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=examples/digits
out=${OUT:-$here/out}

tests/setup_env.sh
PATH=$PWD/.venv/bin:$PATH

aicc compile $here/digits.onnx -o "$out" --dump-ir "$out/ir"
aicc run "$out" --input image=$here/samples.npy --output "$out/outputs"
python $here/show.py "$out/outputs"
echo
echo "the artifact:           $out"
echo "the IR after each pass: $out/ir"
