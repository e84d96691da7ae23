"""The configuration that `velocity config init` writes: it lints clean, and serves."""

from __future__ import annotations

__all__ = ["PAGE", "STARTER"]

STARTER = """\
# Configuration of `velocity serve`. Changes take effect when this file is saved.
# Check it with `velocity config lint`, see what holds with `velocity config show --effective --origin`.

server:
  # Where to listen, for UDP and TCP. Addresses change with a restart.
  listen: 0.0.0.0:4433

  tls:
    # A certificate to try things out with. For a real one, take this line out and name the files:
    self_signed: true
    # certificate: /etc/velocity/certs/fullchain.pem
    # private_key: /etc/velocity/certs/privkey.pem

  # light, balanced or secure: what clients get that have no preference, and what they may ask for.
  profiles:
    default: balanced
    permit: [light, balanced, secure]

content:
  sites:
    # Without a hostname, a site answers for every name that no other site has.
    - root: public
      index: index.html
      listings: false
      cache_control: public, max-age=60

    # - hostname: [example.com, www.example.com]
    #   root: /srv/www/example
    #   spa: true
    #   error_pages: {404: 404.html}
    #   redirects:
    #     - {from: /old/*, to: "/new/{{ rest }}"}

  # proxies:
  #   - hostname: api.example.com
  #     path: /
  #     upstream: http://127.0.0.1:8080
  #     timeouts: {connect: 5s, response: 45s, idle: 2m}

  routes:
    - {path: /healthz, methods: [GET], text: ok}

telemetry:
  # structured_logs: true
  access_log: true
"""

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>It works</title>
<h1>It works</h1>
<p>This is <code>public/index.html</code>, served by Velocity.</p>
</html>
"""
