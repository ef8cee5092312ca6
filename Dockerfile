# Build, and run for the sites on this machine:
#   docker build -t rplx .
#   docker run --rm -p 8088:8088 -p 127.0.0.1:10010:10010 -e RPLX_IN_GUESTS_LOOPBACK_ONLY=false rplx
# Back-ends on the machine come from the container network's address, not from a loopback one, so the last option lets them
# send without a password; other containers of the same network may then send too. Where that is not wanted, logins:
#   docker run --rm -p 8088:8088 -p 10010:10010 -v ./users:/etc/rplx/users:ro -e RPLX_USERS_FILE=/etc/rplx/users rplx
#
# History is in the volume /var/lib/rplx, which outlives a container that has a name for it: -v rplx:/var/lib/rplx
#
# Options as environment variables (-e RPLX_WAIT_TIMEOUT=60) or in a file: -v ./rplx.toml:/etc/rplx/rplx.toml:ro. Either
# wins over what the image sets. The health check knows both, but not flags behind the image's name. Files must be readable
# by user 10088.

FROM python:3-slim AS build
COPY . /source
RUN python -m venv /opt/rplx && /opt/rplx/bin/pip install --no-cache-dir "/source[redis]"

FROM python:3-slim
COPY --from=build /opt/rplx /opt/rplx
COPY conf/container.toml conf/rplx.toml /etc/rplx/
RUN groupadd --system --gid 10088 rplx && \
    useradd --system --uid 10088 --gid 10088 --no-create-home --home-dir /nonexistent rplx && \
    install -d -m 750 -o 10088 -g 10088 /var/lib/rplx
# A number, so that an orchestrator can see that it is not root.
USER 10088:10088
ENV PATH=/opt/rplx/bin:$PATH PYTHONUNBUFFERED=1 RPLX_CONFIG=/etc/rplx/rplx.toml
VOLUME /var/lib/rplx
EXPOSE 8088 10010
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["rplx", "health", "--defaults", "/etc/rplx/container.toml"]
ENTRYPOINT ["rplx", "serve", "--defaults", "/etc/rplx/container.toml"]
