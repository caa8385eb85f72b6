# One image for every process; the command says which: `services.routing api`, `relaisctl topics`.
# It holds the packages of requirements-runtime.lock and our code: no engines, no tests, no compiler.
FROM python:3.11.14-slim-trixie AS packages
COPY requirements-runtime.lock .
RUN python -m venv /opt/relais \
    && /opt/relais/bin/pip install --no-cache-dir --disable-pip-version-check \
        --only-binary=:all: --require-hashes -r requirements-runtime.lock

FROM python:3.11.14-slim-trixie
ENV PATH=/opt/relais/bin:$PATH \
    PYTHONPATH=/srv/relais:/srv/relais/proto \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=packages /opt/relais /opt/relais
WORKDIR /srv/relais
COPY . .
# Compiled here, because at run time the file system is read-only.
RUN python -m compileall -q .
USER 10001:10001
ENTRYPOINT ["python", "-m"]
CMD ["relaisctl", "--help"]
