# One image serves as API, worker and migration; the command decides.
FROM python:3.11-slim AS build

# Set it to an index with CPU builds of torch to keep the image small.
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL} \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /src
ARG EXTRAS="serve,engines"
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY automl_compress automl_compress
COPY agents agents
COPY envs envs
COPY api api
RUN python -m venv /opt/automl-compress \
    && /opt/automl-compress/bin/pip install -c constraints.txt ".[${EXTRAS}]"


FROM python:3.11-slim

# libgomp1: torch and onnxruntime link to it, the slim image lacks it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/automl-compress --create-home automl

COPY --from=build /opt/automl-compress /opt/automl-compress

ENV PATH=/opt/automl-compress/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    OMP_WAIT_POLICY=PASSIVE \
    AUTOML_COMPRESS_DATA_DIR=/var/lib/automl-compress

USER automl
WORKDIR /var/lib/automl-compress
VOLUME /var/lib/automl-compress
EXPOSE 8000

ENTRYPOINT ["automl-compress"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--no-worker"]
