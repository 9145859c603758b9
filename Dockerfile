FROM python:3.12-slim
WORKDIR /app
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY src ./src
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation . && useradd --create-home headgate \
    && mkdir -p /data && chown headgate /data
USER headgate
ENV HEADGATE_HOST=0.0.0.0 HEADGATE_DATA_DIR=/data HEADGATE_LOG_DIR=/data/debug_logs PATH=/venv/bin:$PATH
EXPOSE 8082
VOLUME /data
HEALTHCHECK CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8082/health', timeout=3)"]
ENTRYPOINT ["headgate"]
CMD ["serve"]
