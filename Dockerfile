# The suite on a CPU, in a container: docker build -t imagerefl-bench . && docker run --rm -v "$PWD/results:/work/results" imagerefl-bench run --method base,refl --limit 4
# With a GPU: docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 ..., and docker run --gpus all ...
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

WORKDIR /source
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY bench ./bench
COPY metrics ./metrics
COPY prompts ./prompts
# PyTorch's index has torch 2.x+cpu beside the plain one, which pip takes for the newer of the two.
RUN python -m pip install --extra-index-url "$TORCH_INDEX" -c constraints.txt .

# Results belong to the user who runs the container: docker run --user "$(id -u):$(id -g)" ...
WORKDIR /work
ENV BENCH_RESULTS=/work/results HF_HOME=/work/.cache/huggingface MPLCONFIGDIR=/tmp/matplotlib
RUN mkdir -p /work/results && chmod 777 /work /work/results

ENTRYPOINT ["bench"]
CMD ["--help"]
