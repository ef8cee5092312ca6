# Build and run:
#   docker build -t rplx .
#   docker run --rm -p 8088:8088 -p 127.0.0.1:10010:10010 rplx
# Options as environment variables (-e RPLX_WAIT_TIMEOUT=60) or in a file: -v ./rplx.toml:/etc/rplx/rplx.toml:ro

FROM python:3-slim AS build
COPY . /source
RUN python -m venv /opt/rplx && /opt/rplx/bin/pip install --no-cache-dir "/source[redis]"

FROM python:3-slim
COPY --from=build /opt/rplx /opt/rplx
COPY conf/rplx.toml /etc/rplx/rplx.toml
RUN useradd --system --user-group --no-create-home --home-dir /nonexistent rplx
USER rplx
ENV PATH=/opt/rplx/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 8088 10010
# Every address of the container, since its loopback cannot be reached from outside. Which machines may publish is a
# matter of the port's mapping above and of users.file; without one, in.guests_loopback_only lets none but this container.
ENTRYPOINT ["rplx", "serve", "--config", "/etc/rplx/rplx.toml", "--wait", "0.0.0.0:8088", "--in", "0.0.0.0:10010"]
