# SPDX-License-Identifier: Apache-2.0
# One image for every part: the command says which. Build in one stage, run without build tools in another.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv /opt/twinning
COPY requirements.lock ./
RUN /opt/twinning/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY twinning ./twinning
COPY services ./services
COPY migrations ./migrations
RUN /opt/twinning/bin/pip install --no-build-isolation --no-deps --no-index . \
    && /opt/twinning/bin/python -m services.matcher.engine.warming --bulk \
    && /opt/twinning/bin/pip uninstall --yes hatchling editables pip

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/twinning --create-home twinning
COPY --from=build /opt/twinning /opt/twinning
# Celery turns SIGQUIT into a soft shutdown: what runs may end, what waits goes back to the queue.
ENV PATH=/opt/twinning/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    REMAP_SIGTERM=SIGQUIT \
    TWINNING_DATA_DIR=/var/lib/twinning \
    TWINNING_LOG_FORMAT=json
USER 10001
WORKDIR /var/lib/twinning
EXPOSE 8000
ENTRYPOINT ["twinning"]
CMD ["--help"]
