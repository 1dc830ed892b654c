FROM python:3.11-slim AS build

# pip's extra package index, empty by default. With the index that PyTorch's "Get started" page names
# for CPU, torch comes in its CPU build, without several GB of CUDA libraries.
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

WORKDIR /src
RUN python -m venv /opt/labelstream
ENV PATH=/opt/labelstream/bin:$PATH

# The dependencies first: a layer that stays while only the code changes.
COPY pyproject.toml constraints.txt README.md LICENSE ./
# With the page, and the driver for a registry, and for sources, in an object store.
RUN pip install --constraint constraints.txt '.[dashboard,s3]'

COPY db db
COPY worker worker
COPY producer producer
COPY training training
COPY dashboard dashboard
RUN pip install --no-deps --force-reinstall .


FROM python:3.11-slim

# The folders exist with their owner before a volume is mounted there, so that it takes them over.
RUN groupadd --gid 10001 labelstream \
    && useradd --uid 10001 --gid 10001 --create-home labelstream \
    && install --directory --owner=labelstream --group=labelstream --mode=0700 \
        /var/lib/labelstream/home /var/lib/labelstream/registry

COPY --from=build /opt/labelstream /opt/labelstream
ENV PATH=/opt/labelstream/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LABELSTREAM_HOME_DIR=/var/lib/labelstream/home \
    LABELSTREAM_REGISTRY_DIR=/var/lib/labelstream/registry

WORKDIR /home/labelstream
USER 10001:10001
CMD ["celery", "-A", "worker", "worker"]
