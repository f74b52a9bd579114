# Two stages of one family: the first builds a virtual environment from the lock file, the second only carries it.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/gateway
RUN /opt/gateway/bin/python -m pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY pyproject.toml setup.cfg README.md ./
COPY gateway ./gateway
RUN /opt/gateway/bin/python -m pip install --no-cache-dir --no-deps .

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="sagemaker-gateway" \
      org.opencontainers.image.description="A permit per instance, a fair queue and metrics in front of SageMaker endpoints"
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that Kubernetes can see that it is not root. Nothing is written: the root may be read-only.
USER 65532:65532
EXPOSE 8080
# For the default port in plain HTTP; a config with listen.tls, admin.port or another port needs another check.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8080, timeout=2); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["sagemaker-gateway"]
# Mount a config there; it has to listen on 0.0.0.0 to be reached from outside of the container, with a keys_file or
# `open: true`.
CMD ["serve", "--config", "/etc/sagemaker-gateway/config.yaml"]
