"""The lines that mend a finding, by its name and by the program in whose configuration they stand.

Each line stands in docs/proxies.md as well, where whole configurations are; a test holds the two together.
"""

from __future__ import annotations

NGINX, HAPROXY, APACHE, CADDY, VARNISH = "nginx", "HAProxy", "Apache", "Caddy", "Varnish"
CLOUDFLARE, AWS, RPLX = "Cloudflare", "AWS", "rplx"

_UNCACHED: dict[str, tuple[str, ...]] = {
    NGINX: ("proxy_cache off;",),
    VARNISH: ("return (pipe);",),
    CLOUDFLARE: ("Cache Rules: bypass the cache for the path of rplx",),
}
CURES: dict[str, dict[str, tuple[str, ...]]] = {
    "buffering": {
        NGINX: ("proxy_buffering off;", "proxy_http_version 1.1;", 'proxy_set_header Connection "";'),
        APACHE: ("ProxyPass /rpl/ http://127.0.0.1:8088/ timeout=320 flushpackets=on",),
        VARNISH: ("return (pipe);",),
    },
    "message": {
        NGINX: ("proxy_buffering off;", "gzip off;"),
        APACHE: ("ProxyPass /rpl/ http://127.0.0.1:8088/ timeout=320 flushpackets=on",),
        VARNISH: ("return (pipe);",),
    },
    "cut": {
        NGINX: ("proxy_read_timeout 320s;",),
        HAPROXY: ("timeout client 320s", "timeout server 320s"),
        APACHE: ("ProxyPass /rpl/ http://127.0.0.1:8088/ timeout=320 flushpackets=on",),
        CADDY: ("no read_timeout, no response_header_timeout in `transport http`",),
        VARNISH: ("varnishd -f rplx.vcl -a :80 -p pipe_timeout=320",),
        CLOUDFLARE: ("rplx serve --set wait.timeout=90",),
        AWS: ("rplx serve --set wait.timeout=55",),
    },
    "hang-up": {
        NGINX: ("proxy_ignore_client_abort off;",),
        HAPROXY: ("option abortonclose", "in `defaults` or in the frontend: in a backend alone it has no effect"),
        APACHE: ("rplx serve --set wait.timeout=10",),
        CADDY: ("no `flush_interval -1`",),
        VARNISH: ("return (pipe);",),
    },
    "compression": {
        NGINX: ("gzip off;",),
        HAPROXY: ("no `compression algo` where rplx is behind",),
        APACHE: ("SetEnvIf Request_URI ^/rpl/ no-gzip",),
        CADDY: ("no `encode` where rplx is behind",),
        CLOUDFLARE: ("Compression Rules: no compression for the path of rplx",),
    },
    "headers": {
        NGINX: ("no `proxy_hide_header` and no `expires` where rplx is behind",),
        HAPROXY: ("no `http-response del-header` where rplx is behind",),
        APACHE: ("no `Header unset` and no `ExpiresActive` where rplx is behind",),
        CADDY: ("no `header_down -NAME` where rplx is behind",),
    },
    "keep-alive": {
        NGINX: ("keepalive_timeout 320s;",),
        HAPROXY: ("no `option httpclose`",),
        APACHE: ("KeepAlive On",),
    },
    "upstream": {
        NGINX: ("keepalive 64;", "proxy_http_version 1.1;", 'proxy_set_header Connection "";'),
        HAPROXY: ("no `option http-server-close`",),
        APACHE: ("no `SetEnv proxy-nokeepalive`, no `disablereuse=on`",),
    },
    "HTTP/2": {
        NGINX: ("listen 443 ssl http2;",),
        HAPROXY: ("bind :443 ssl crt /etc/haproxy/site.pem alpn h2,http/1.1",),
        APACHE: ("Protocols h2 http/1.1",),
        CADDY: ("the site's name in place of `:80`",),
    },
    "CORS": {
        RPLX: ('allowed_origins = ["https://example.com"]',),
        NGINX: ("no `add_header Access-Control-Allow-Origin`",),
    },
    "cache": _UNCACHED,
    "POST": {},
    "client": {
        NGINX: ("proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;", 'proxy_set_header Forwarded "";'),
        HAPROXY: ("option forwardfor", "http-request del-header Forwarded"),
        APACHE: ("RequestHeader unset Forwarded",),
        CADDY: ("header_up -Forwarded",),
        RPLX: ('trusted_proxies = ["127.0.0.1"]',),
    },
    "trusted proxies": {RPLX: ('trusted_proxies = ["127.0.0.1"]',)},
    "PROXY header": {RPLX: ("proxy_protocol = true",)},
    "no PROXY header": {HAPROXY: ("send-proxy-v2",)},
    "IN from outside": {RPLX: ('listen = ["127.0.0.1:10010"]',)},
    "descriptors": {"systemd": ("LimitNOFILE=100000",), "shell": ("ulimit -n 100000",)},
    "net.core.somaxconn": {"sysctl": ("sysctl -w net.core.somaxconn=4096",)},
    "net.ipv4.tcp_max_syn_backlog": {"sysctl": ("sysctl -w net.ipv4.tcp_max_syn_backlog=8192",)},
    "fs.file-max": {"sysctl": ("sysctl -w fs.file-max=1000000",)},
    "net.ipv4.ip_local_port_range": {"sysctl": ('sysctl -w net.ipv4.ip_local_port_range="1024 65535"',)},
}

_MARKS = (
    (NGINX, "server", "nginx"),
    (NGINX, "server", "openresty"),
    (APACHE, "server", "apache"),
    (CADDY, "server", "caddy"),
    (CADDY, "via", "caddy"),
    (VARNISH, "via", "varnish"),
    (VARNISH, "x-varnish", ""),
    (CLOUDFLARE, "server", "cloudflare"),
    (CLOUDFLARE, "cf-ray", ""),
    (AWS, "x-amz-cf-id", ""),
    (AWS, "server", "awselb"),
    (HAPROXY, "via", "haproxy"),
)


def recognised(headers: list[tuple[str, str]]) -> list[str]:
    """Returns the programs on the way that an answer's headers name. Some, such as HAProxy, add no header."""
    found = [
        program
        for program, name, word in _MARKS
        for given, value in headers
        if given.lower() == name and word in value.lower()
    ]
    return list(dict.fromkeys(found))
