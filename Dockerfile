# syntax=docker/dockerfile:1
# The image of moderation-consumer: docs/docker.md says how to build it, and how to build it bit for bit again.

# What all is built on. Give it with its digest in releases: docker.io/library/python:3.13-slim-trixie@sha256:...
ARG BASE_IMAGE=docker.io/library/python:3.13-slim-trixie

FROM ${BASE_IMAGE} AS build
# Which of locks/ is installed: runtime, tracing (with OpenTelemetry) or demo (with what `demo` needs).
ARG LOCK=runtime
# What every file is dated, so that the same source gives the same image. BuildKit takes it for the image's date, too.
ARG SOURCE_DATE_EPOCH=1767225600
# Bytecode is made once, at the end; the order of sets in it must not depend on chance.
ENV DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0

# Any version does: it only takes away what debuggers read. Nothing of it gets into the image.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /build
COPY locks/build.txt locks/${LOCK}.txt locks/
RUN python3 -m venv tools \
    && tools/bin/pip install --require-hashes --no-deps --only-binary :all: -r locks/build.txt \
    && python3 -m venv --without-pip /opt/venv \
    && tools/bin/pip --python /opt/venv/bin/python3 install \
        --require-hashes --no-deps --only-binary :all: --no-compile -r "locks/${LOCK}.txt"

COPY pyproject.toml README.md LICENSE ./
COPY consumer consumer
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && tools/bin/pip --python /opt/venv/bin/python3 install --no-deps --no-index --no-compile wheels/*.whl

# Half of what wheels carry are debug symbols and the C and Cython sources of extensions.
COPY tools/image_bytecode.py tools/
RUN find /opt/venv -name '*.so*' -type f -exec strip --strip-unneeded {} + \
    && find /opt/venv -type f -regex '.*\.\(pyx\|pxd\|pxi\|pyi\|c\|h\|cpp\|hash\)' -delete \
    && /opt/venv/bin/python3 tools/image_bytecode.py /opt/bytecode \
    && find /opt/venv /opt/bytecode -exec touch --no-dereference --date "@${SOURCE_DATE_EPOCH}" {} +

# The base without what no container of ours needs: pip and its like, manuals, translations, character sets of old.
FROM ${BASE_IMAGE} AS trimmed
RUN rm -rf /usr/local/bin/pip* /usr/local/bin/idle* /usr/local/bin/pydoc* /usr/local/include \
        /usr/local/lib/python3*/site-packages /usr/lib/python3/dist-packages /usr/share/python-wheels \
        /usr/local/lib/python3*/ensurepip /usr/local/lib/python3*/idlelib /usr/local/lib/python3*/tkinter \
        /usr/local/lib/python3*/turtledemo /usr/local/lib/python3*/pydoc_data \
        /usr/lib/*-linux-gnu/gconv /usr/share/man /usr/share/info /usr/share/locale /root/.cache \
    && find /var/cache /var/log /var/lib/apt/lists /tmp -type f -delete

# One layer, or what was removed would still be in it. The list of Debian's packages stays, so that scanners see them.
FROM scratch
# hadolint ignore=DL3067
COPY --from=trimmed / /
LABEL org.opencontainers.image.title="moderation-consumer" \
      org.opencontainers.image.description="Has user-generated content from Kafka moderated, one verdict an event" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt /opt
# The bytecode of all that is imported, the standard library's too: the root is read-only and the user may not write.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONPYCACHEPREFIX=/opt/bytecode PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2
# A number, so that runAsNonRoot can be checked; it needs no entry in /etc/passwd.
USER 10001:10001
EXPOSE 9464 9465
ENTRYPOINT ["moderation-consumer"]
CMD ["--help"]
