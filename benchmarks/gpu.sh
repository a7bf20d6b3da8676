#!/usr/bin/env bash
# What only a GPU can tell, on a bare machine without a network: two parts of at most five minutes each.
#
#   benchmarks/gpu.sh wheels          on a machine with an index: fetches what a bare machine lacks into benchmarks/wheels
#   benchmarks/gpu.sh 1 [--tiny]      images per second at SD1.5's size, compilations, waits of the host; the GPU tests
#   benchmarks/gpu.sh 2 [--tiny]      the same at SDXL's size; FID's interval; scorers; HPSv2 against its package
#
# Run it from the root of the checkout. $PYTHON is the interpreter (default: python3), with a torch of its own, which is
# never replaced: wheels are installed with --no-deps into a folder of this script's own. Rows are appended to
# $OUT/gpu_table.md (default: .). --tiny tries every line on a processor; its figures mean nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} out=${OUT:-.} wheels=benchmarks/wheels
# Distribution, and the module by which it is known to be there.
lacking="diffusers:diffusers transformers:transformers tokenizers:tokenizers safetensors:safetensors
huggingface_hub:huggingface_hub accelerate:accelerate peft:peft open_clip_torch:open_clip timm:timm ftfy:ftfy
wcwidth:wcwidth torchmetrics:torchmetrics lightning_utilities:lightning_utilities lpips:lpips dreamsim:dreamsim
pydantic:pydantic pydantic_core:pydantic_core typing_inspection:typing_inspection annotated_types:annotated_types
typer:typer rich:rich click:click shellingham:shellingham httpx:httpx hf_xet:hf_xet pytest:pytest"

own="torch torchvision numpy scipy pandas pyarrow PIL"  # compiled, and together more than 40 MiB

fetch() {
    mkdir -p "$wheels"
    for one in $lacking; do
        "$python" -m pip download --quiet --no-deps --dest "$wheels" "${one%%:*}" || echo "no wheel of ${one%%:*}" >&2
    done
    local size; size=$(du -sm "$wheels" | cut -f1)
    echo "$wheels: $size MiB"
    [ "$size" -lt 40 ] || { echo "more than 40 MiB: remove what the machine has" >&2; return 1; }
}

install() {
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -c 'import sys; from importlib.util import find_spec
missing = [one for one in sys.argv[1:] if find_spec(one) is None]
sys.exit("gpu.sh: the machine must bring " + ", ".join(missing) if missing else 0)' $own || exit 4
    local missing
    missing=$("$python" -c 'import sys; from importlib.util import find_spec
print(*(one.split(":")[0] for one in sys.argv[1:] if find_spec(one.split(":")[1]) is None))' $lacking)
    for one in $missing; do
        "$python" -m pip install --quiet --no-deps --no-index --find-links "$wheels" --target "$site" "$one" ||
            echo "gpu.sh: $one is not here and has no wheel in $wheels" >&2
    done
    export PYTHONPATH="$PWD:$site${PYTHONPATH:+:$PYTHONPATH}"
}

part=${1:-}
case $part in
wheels) fetch ;;
1 | 2)
    shift
    install
    mkdir -p "$out"
    case " $* " in
    *" --tiny "*) measuring=900 testing=600 ;;  # a busy processor: no time is measured
    *) [ "$part" = 1 ] && measuring=210 testing=90 || measuring=300 testing=0 ;;
    esac
    timeout "$measuring" "$python" benchmarks/gpu.py "$part" --out "$out/gpu_table.md" "$@"
    if [ "$part" = 1 ]; then
        # Without a GPU they skip, which is what --tiny shows.
        timeout "$testing" "$python" -m pytest -q -p no:cacheprovider -m gpu tests/gpu || [ $? = 5 ]
    elif [ -n "${BENCH_OFFICIAL_PYTHON:-}" ]; then
        timeout 300 "$python" benchmarks/hpsv2_speed.py --images 8 --rounds 2
    else
        echo "| HPSv2 against its package | not measured: set BENCH_OFFICIAL_PYTHON | | |" | tee -a "$out/gpu_table.md"
    fi
    ;;
*) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
