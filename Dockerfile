# srkit serve in a container, from the wheels of this checkout.
#
#   docker build -t srkit-server .                         on the CPU
#   docker build -t srkit-server --build-arg TORCH=cu128 . on NVIDIA GPUs: docker run --gpus all ...
#
# TORCH is a folder of https://download.pytorch.org/whl: cpu, cu126, cu128, ...

FROM python:3.12-slim AS wheels
WORKDIR /build
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . ./plugins/srkit-server

FROM python:3.12-slim
ARG TORCH=cpu
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/${TORCH} torch torchvision
COPY --from=wheels /wheels /wheels
RUN pip install --no-cache-dir /wheels/*.whl
RUN useradd --create-home --uid 10001 srkit
USER srkit
WORKDIR /home/srkit
# Uploads and results are in /tmp, and go when the server ends; nothing else is written.
ENV SRKIT_CACHE=/tmp/srkit-cache PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["srkit"]
# It listens on all addresses of the container, so it wants SRKIT_PASSWORD, of 12 characters at least.
CMD ["serve", "--host", "0.0.0.0"]
