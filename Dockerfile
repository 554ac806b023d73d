# Targets: service (the default), sagemaker, lambda, sbom. How to use them: docs/deploy.md.
# Bases are arguments, so that a build pins them by digest (docs/decisions/0014):
#   --build-arg BASE=docker.io/library/python@sha256:...
ARG BASE=docker.io/library/python:3.13-slim-bookworm
ARG LAMBDA_BASE=public.ecr.aws/lambda/python:3.13


FROM ${BASE} AS build
# Without the embedded judge: --build-arg EXTRAS=aws,redis,service
ARG EXTRAS=aws,embedded,redis,service
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 ORT_DISABLE_TELEMETRY=1
WORKDIR /src
COPY deploy/image/ deploy/image/
COPY pyproject.toml requirements.lock README.md LICENSE ./

# What is needed of the lock, hashes checked, into an environment that has no pip of its own.
RUN python3 -m venv /build \
 && python3 -m venv --without-pip /opt/judge \
 && python3 deploy/image/pinned.py requirements.lock hatchling > /build/hatchling.txt \
 && python3 deploy/image/pinned.py requirements.lock --project pyproject.toml --extras "${EXTRAS}" > /build/judge.txt \
 && /build/bin/pip install --quiet --require-hashes --requirement /build/hatchling.txt \
 && /build/bin/pip --python /opt/judge/bin/python install --quiet --no-compile --require-hashes --requirement /build/judge.txt

COPY judge_service/ judge_service/
COPY lambda_adapter/ lambda_adapter/
RUN /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /build/wheel . \
 && /build/bin/pip --python /opt/judge/bin/python install --quiet --no-compile --no-deps /build/wheel/*.whl

# Left out: tests, onnxruntime's training tools, descriptions of AWS services that are never called, and
# what fetches models from a hub, which is never done.
RUN find /opt/judge/lib -depth -type d -name tests -exec rm -r {} + \
 && find /opt/judge/lib -depth -type d -path '*/onnxruntime/*' '(' -name transformers -o -name quantization -o -name tools ')' -exec rm -r {} + \
 && find /opt/judge/lib -depth -mindepth 5 -maxdepth 5 -type d -path '*/botocore/data/*' ! -name bedrock-runtime ! -name signin ! -name 'sso*' ! -name sts -exec rm -r {} + \
 && find /opt/judge/lib -depth -mindepth 3 -maxdepth 3 -type d -name 'hf_xet*' -exec rm -r {} + \
 && /opt/judge/bin/python deploy/image/warm.py "${EXTRAS}"


FROM build AS sbom-build
COPY deploy/tools.txt deploy/
RUN python3 deploy/image/pinned.py deploy/tools.txt cyclonedx-bom > /build/cyclonedx.txt \
 && python3 -m venv /sbom \
 && /sbom/bin/pip install --quiet --require-hashes --requirement /build/cyclonedx.txt \
 && /sbom/bin/cyclonedx-py environment /opt/judge/bin/python --output-reproducible --output-file /sbom.json


# A CycloneDX bill of materials: docker build --target sbom --output type=local,dest=. .
FROM scratch AS sbom
COPY --from=sbom-build /sbom.json /sbom.json


FROM ${LAMBDA_BASE} AS lambda
# The function's image. A judge of its own inside: --build-arg LAMBDA_EXTRAS=embedded,redis
ARG LAMBDA_EXTRAS=redis
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY deploy/image/pinned.py pyproject.toml requirements.lock /tmp/build/
RUN python3 /tmp/build/pinned.py /tmp/build/requirements.lock --project /tmp/build/pyproject.toml --extras "${LAMBDA_EXTRAS}" > /tmp/build/judge.txt \
 && python3 -m pip install --quiet --require-hashes --target "${LAMBDA_TASK_ROOT}" --requirement /tmp/build/judge.txt \
 && rm -r /tmp/build
COPY judge_service/ ${LAMBDA_TASK_ROOT}/judge_service/
COPY lambda_adapter/ ${LAMBDA_TASK_ROOT}/lambda_adapter/
RUN python3 -m compileall -q "${LAMBDA_TASK_ROOT}/judge_service" "${LAMBDA_TASK_ROOT}/lambda_adapter"
CMD ["lambda_adapter.handler.lambda_handler"]


FROM ${BASE} AS runtime
COPY --from=build /opt/judge /opt/judge
# Byte code is in the image; nothing is written but below /tmp and /var/lib/judge. Without its last
# variable onnxruntime tells its makers about every start.
ENV PATH=/opt/judge/bin:${PATH} PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
WORKDIR /tmp
EXPOSE 8080
ENTRYPOINT ["judge"]
CMD ["serve"]


# As SageMaker starts it: root, the argument `serve`, its own health check.
FROM runtime AS sagemaker
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true


FROM runtime AS service
RUN mkdir -p /var/lib/judge && chown 10001:10001 /var/lib/judge
USER 10001:10001
VOLUME /var/lib/judge
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["python3", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('JUDGE_SERVICE_PORT', '8080') + '/healthz/ready', timeout=2)"]
