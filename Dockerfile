# The serving image: ONNX Runtime and what answers over HTTP; nothing that trains, compiles or installs.
#
#   BASE ─┬─► build   wheels by their hashes ─► /opt/relevo, where Relevo's own wheel joins them
#         └─► image   /opt/relevo, a user without a name in your system, one folder it may write to: /data
#                     (and /shared, empty, for what the services of compose.yaml tell each other)
#
#   docker build -t relevo .
#   docker run --rm -p 127.0.0.1:5000:8000 -v relevo-home:/data relevo serve --insecure
#
# BASE needs Python 3.11 or newer with venv and pip. Name it with its digest where builds must repeat.
# REQUIREMENTS=console is the image of `relevo console` (service `ui` of compose.yaml).
# REQUIREMENTS=base leaves out the drivers of PostgreSQL and what makes certificates for --tls auto.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG REQUIREMENTS=container
WORKDIR /build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/relevo
COPY requirements/build.txt requirements/${REQUIREMENTS}.txt requirements/
RUN /tools/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements/build.txt \
 && /tools/bin/python -m pip --python /opt/relevo/bin/python install --quiet --require-hashes --only-binary :all: \
      -r requirements/${REQUIREMENTS}.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /tools/bin/python -m hatchling build -t wheel -d /wheel \
 && /tools/bin/python -m pip --python /opt/relevo/bin/python install --quiet --no-deps --no-index /wheel/*.whl \
 # Tests of libraries are a tenth of what they weigh, and nobody runs them here.
 && find /opt/relevo -type d -name tests -path '*/site-packages/*' -prune -exec rm -rf {} +

FROM ${BASE}
LABEL org.opencontainers.image.title="Relevo" \
      org.opencontainers.image.description="Serves packaged models over HTTP and on a web page, and records every answer." \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 relevo \
 && useradd --uid 10001 --gid relevo --home-dir /data --no-create-home --shell /usr/sbin/nologin relevo \
 && mkdir /data /shared && chown relevo:relevo /data /shared
COPY --from=build /opt/relevo /opt/relevo
# What another machine can reach is decided by the ports that are published. `serve` still wants to hear --insecure for it.
ENV PATH=/opt/relevo/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1 \
    RELEVO_HOME=/data \
    RELEVO_HOST=0.0.0.0
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000 8501
STOPSIGNAL SIGTERM
# Asks the server of the variables above, by https where they say so.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["relevo", "health"]
ENTRYPOINT ["relevo"]
CMD ["serve"]
