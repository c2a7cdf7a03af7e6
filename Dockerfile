# The serving image: ONNX Runtime and the HTTP server; no training libraries, compiler or installer.
#
#   BASE ─┬─► build   wheels with verified hashes, and Relevo's own wheel ─► /opt/relevo
#         └─► image   /opt/relevo, a numeric user, one writable folder: /data
#                     (and /shared, empty, for files shared by the services of compose.yaml)
#
#   docker build -t relevo .
#   docker run --rm -p 127.0.0.1:5000:8000 -v relevo-home:/data relevo serve --insecure
#
# BASE needs Python 3.11 or newer with venv and pip. Specify it by digest for reproducible builds.
# REQUIREMENTS=console is the image of `relevo console` (service `ui` of compose.yaml).
# REQUIREMENTS=base omits the PostgreSQL driver and the library for --tls auto.
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
 # The tests of the libraries are a tenth of their size and are not needed.
 && find /opt/relevo -type d -name tests -path '*/site-packages/*' -prune -exec rm -rf {} +

FROM ${BASE}
LABEL org.opencontainers.image.title="Relevo" \
      org.opencontainers.image.description="Serves packaged models over HTTP and on a web page, and records every answer." \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 relevo \
 && useradd --uid 10001 --gid relevo --home-dir /data --no-create-home --shell /usr/sbin/nologin relevo \
 && mkdir /data /shared && chown relevo:relevo /data /shared
COPY --from=build /opt/relevo /opt/relevo
# The published ports decide which machines can reach the server; `serve` requires --insecure for it.
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
# Checks the server configured by the variables above, over https if they say so.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["relevo", "health"]
ENTRYPOINT ["relevo"]
CMD ["serve"]
